"""What templates write once and keep: rows by their values, addresses by their names."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.template import engines
from django.test import RequestFactory
from django.urls import NoReverseMatch, reverse

from backtests.models import Backtest
from markets.models import Pair
from markets.series import Timeframe
from signals.log import SignalRow

pytestmark = pytest.mark.django_db

ENGINE: Any = engines["django"]
SIGNAL = SignalRow(
    "BTCUSDT.15m.internal.FVG.up.1700000000000.1700000900000", "BTCUSDT", Timeframe.M15, "internal", "FVG", 1,
    1_700_000_000_000, 1_700_001_800_000, 1_700_002_700_000, 35_000.0, 35_010.5, 35_000.0, 1_700_000_900_000, 61.4,
    None, "", "active", None, None, None, 1,
)  # fmt: skip


def signals() -> Iterator[SignalRow]:
    yield SIGNAL
    yield SIGNAL._replace(status="filled", filled_time=1_700_009_000_000)
    yield SIGNAL._replace(kind="BOS", top=None, bottom=None, direction=-1)
    yield SIGNAL._replace(strength=12.0, scale="swing", symbol="ETHUSDT", timeframe=Timeframe.H4)
    yield SIGNAL._replace(top=35_020.0, confirmed_at=SIGNAL.confirmed_at + 60_000)


def runs() -> Iterator[Backtest]:
    usual = {"pk": 7, "state": "done", "strategy": "breakout", "symbol": "BTCUSDT", "timeframe": "1h"}
    usual |= {"start": 1_700_000_000_000, "end": 1_702_000_000_000}
    for change in (
        {}, {"pk": 8}, {"state": "running"}, {"strategy": "ob_retest"}, {"symbol": "ETHUSDT"}, {"timeframe": "4h"},
        {"start": 1_600_000_000_000}, {"end": 1_710_000_000_000}, {"note": "second"}, {"state": "failed", "error": "x"},
        {"m_return_pct": "3.5"}, {"m_trades": "9"}, {"m_profit_factor": "1.2"}, {"m_max_drawdown_pct": "4"},
    ):  # fmt: skip
        run = Backtest()
        figures = {f"m_{name}": "1.5" for name in ("return_pct", "trades", "profit_factor", "max_drawdown_pct")}
        for name, value in {**usual, **figures, **change}.items():
            setattr(run, name, value)
        yield run


def contexts() -> Iterator[tuple[str, dict[str, Any]]]:
    for signal, late in product(signals(), (False, True)):
        yield "signals/_row.html", {"signal": signal, "late": late}
    for signal in signals():
        yield "signals/_results.html", {"rows": [signal], "given": {}, "total": 1, "errors": {}}
        yield "signals/_events.html", {"events": [signal]}
    for run in runs():
        yield "backtests/_run.html", {"run": run}


def test_what_is_kept_of_a_row_is_what_would_be_written_anew() -> None:
    written = set()
    for tick, zone, (name, context) in product((0.01, 0.5), ("UTC", "Asia/Tokyo"), list(contexts())):
        Pair.objects.update_or_create(symbol="BTCUSDT", defaults={"tick_size": tick})
        request = RequestFactory().get("/web/")
        request.COOKIES["smc_zone"] = zone
        fresh = ENGINE.from_string(Path(settings.BASE_DIR, "templates", name).read_text())
        expected = without_token(fresh.render(context, request))
        assert without_token(ENGINE.get_template(name).render(context, request)) == expected
        written.add(expected)
    assert len(written) > len(list(contexts()))


def without_token(text: str) -> str:
    head, found, rest = text.partition('name="csrfmiddlewaretoken" value="')
    return head + rest.partition('"')[2] if found else text


@pytest.mark.parametrize(
    ("tag", "address"),
    [
        ("{% url 'dashboard' %}", reverse("dashboard")),
        ("{% url 'chart' 'BTCUSDT' frame %}", reverse("chart", args=["BTCUSDT", "4h"])),
        ("{% url 'backtest' 1 %} {% url 'backtest' 2 %}", "/web/backtest/1 /web/backtest/2"),
        ("{% url 'chart' symbol='A&B' timeframe='1h' %}", "/web/chart/A&amp;B/1h"),
        ("{% url 'chart' 'A&B' '1h' %}", "/web/chart/A&amp;B/1h"),
        ("{% url 'signals' as there %}-{{ there }}", f"-{reverse('signals')}"),
        ("{% url 'nowhere' as there %}-{{ there }}", "-"),
        ("{% url 'admin:index' %}", reverse("admin:index")),
    ],
)  # fmt: skip
def test_addresses_are_those_of_django(tag: str, address: str) -> None:
    template = ENGINE.from_string(tag)
    for _ in range(2):
        assert template.render({"frame": "4h"}) == address


def test_an_address_of_nothing_is_an_error() -> None:
    with pytest.raises(NoReverseMatch):
        ENGINE.from_string("{% url 'nowhere' %}").render()
