"""The page of a run's report: what it says of the candles that the run had not."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from django.test import Client

from backtests.engine.breakdowns import FEW
from backtests.engine.spec import IDENTITY, BacktestSpec
from backtests.models import Backtest
from backtests.reports import EQUITY, TRADES, read_columns
from backtests.selectors import report_folder, report_shelf
from backtests.services.running import run_now
from markets.candles import Candles
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from tests.factories import walk
from tests.markup import squeezed

pytestmark = pytest.mark.django_db

START = 1_700_000_100_000  # 2023-11-14 22:15


def run_with_holes(*holes: tuple[int, int], symbol: str = "BTCUSDT") -> Backtest:
    """Run over a day of quarter hours of which some (first, end) are missing."""
    series, made = SeriesKey(symbol, Timeframe.M15), walk(3, 96, timeframe=Timeframe.M15, start=START)
    is_there = np.ones(len(made), np.bool_)
    for first, end in holes:
        is_there[first:end] = False
    stored = Candles(
        made.open_time[is_there], made.open[is_there], made.high[is_there], made.low[is_there],
        made.close[is_there], made.volume[is_there],
    )  # fmt: skip
    candle_store().merge(series, stored, source=Source.FILE)
    ensure_series(series)
    run_now(BacktestSpec.of({"symbol": symbol, "timeframe": "15m"}))
    run = Backtest.objects.get()
    run.is_quick = False
    run.save()
    return run


def test_holes_are_told_with_their_times_and_how_much_is_missing(client: Client, data_root: Path) -> None:
    run = run_with_holes((4, 8), (40, 41))
    text = squeezed(client.get(f"/web/backtest/{run.pk}").text)
    assert "5 candles of the range are missing" in text
    assert "(5.21 %), in 2 holes" in text
    for stamp in ("2023-11-14T23:15:00Z", "2023-11-15T00:15:00Z", "2023-11-15T08:15:00Z", "2023-11-15T08:30:00Z"):
        assert f'datetime="{stamp}"' in text


def test_one_missing_candle_is_told_in_the_singular(client: Client, data_root: Path) -> None:
    run = run_with_holes((40, 41))
    text = squeezed(client.get(f"/web/backtest/{run.pk}").text)
    assert "1 candle of the range is missing" in text
    assert "in 1 hole." in text


def test_a_report_on_whole_candles_speaks_of_no_holes(client: Client, data_root: Path) -> None:
    run = run_with_holes()
    text = client.get(f"/web/backtest/{run.pk}").content.decode()
    assert 'data-testid="metric-card"' in text
    assert "missing" not in text


def test_parameters_of_a_run_at_random_are_told_with_those_of_the_compared_strategy(
    client: Client, series: SeriesKey
) -> None:
    run = run_now(
        BacktestSpec.of({"symbol": series.symbol, "timeframe": "15m", "strategy": "random", "compared": "fvg_retest"})
    )
    shown = {each.name for each in client.get(f"/web/backtest/{run.pk}?tab=parameters").context["parameters"]}
    assert shown == run.spec.keys() - set(IDENTITY)


def test_of_what_is_not_known_of_a_runs_origin_a_dash_is_told(client: Client, series: SeriesKey) -> None:
    run = run_now(BacktestSpec.of({"symbol": series.symbol, "timeframe": "15m"}))
    assert run.result is not None
    run.result["provenance"]["code_commit"] = ""
    run.save()
    text = squeezed(client.get(f"/web/backtest/{run.pk}?tab=parameters").text)
    assert "<dt>Code commit</dt><dd>–</dd>" in text
    assert f'<span class="mono">{run.result["provenance"]["data_digest"]}</span>' in text


def test_a_run_that_a_request_waited_for_can_be_run_again(client: Client, series: SeriesKey) -> None:
    run = run_now(BacktestSpec.of({"symbol": series.symbol, "timeframe": "15m", "stop_atr": 3.5}))
    again = re.search(r'href="([^"]*again=[^"]*)"', client.get(f"/web/backtest/{run.pk}").text)
    assert again is not None
    assert client.get(unescape(again.group(1))).context["form"].initial["stop_atr"] == 3.5


def test_months_and_curves_begin_with_the_capital_and_not_after_the_first_candle(
    client: Client, series: SeriesKey
) -> None:
    asked = {"symbol": series.symbol, "timeframe": "15m", "taker_fee_bps": 0}
    entry = read_columns(report_folder(run_now(BacktestSpec.of(asked))), TRADES)["entry_time"][0]
    # A run that enters at once: its first close is not its capital any more.
    run = run_now(BacktestSpec.of({**asked, "from": int(entry)}))
    other = run_now(BacktestSpec.of({**asked, "from": int(entry), "slippage_bps": 50}))
    metrics, capital = run.result or {}, 10_000.0
    first_close = read_columns(report_folder(run), EQUITY)["equity"][0]
    assert first_close != capital
    years = client.get(f"/web/backtest/{run.pk}?tab=monthly").context["months"]
    months = [value for year in years for value in year["months"] if value is not None]
    for returns in (months, [year["total"] for year in years]):
        assert 100 * (np.prod([1 + each / 100 for each in returns]) - 1) == pytest.approx(metrics["return_pct"])
    hold = client.get(f"/web/backtest/{run.pk}").context["curve"]["hold"]
    assert 100 * (hold[-1][1] / capital - 1) == pytest.approx(metrics["buy_hold_return_pct"], abs=1e-3)
    line = client.get("/web/backtest/compare", {"ids": [run.pk, other.pk]}).context["curves"]["lines"][0]
    assert line["points"][0][1] == pytest.approx(100 * first_close / capital, abs=1e-3)


def test_a_comparison_warns_of_runs_over_other_candles_and_outlives_their_reports(
    client: Client, series: SeriesKey
) -> None:
    asked = {"symbol": series.symbol, "timeframe": "15m"}
    first = run_now(BacktestSpec.of(asked))
    ids = {"ids": f"{first.pk},{run_now(BacktestSpec.of({**asked, 'stop_atr': 3.5})).pk}"}
    assert "not of the same candles" not in client.get("/web/backtest/compare", ids).text
    candle_store().merge(series, walk(6, 10, timeframe=series.timeframe), source=Source.ARCHIVE)
    ids = {"ids": f"{first.pk},{run_now(BacktestSpec.of({**asked, 'stop_atr': 3.6})).pk}"}
    page = client.get("/web/backtest/compare", ids)
    assert "not of the same candles" in page.text
    assert "different ranges" not in page.text
    told = client.get("/api/v1/backtests/compare/", ids).json()
    assert {name: page.context[name] for name in ("differences", "same_range", "same_candles")} == {
        name: told[name] for name in ("differences", "same_range", "same_candles")
    }
    report_shelf().remove(first.pk, symbol=series.symbol, timeframe="15m")
    assert client.get("/api/v1/backtests/compare/", ids).status_code == 404
    assert "not of the same candles" in client.get("/web/backtest/compare", ids).text


def test_few_trades_are_warned_of_in_the_report_and_in_every_group(client: Client, series: SeriesKey) -> None:
    asked, end = {"symbol": series.symbol, "timeframe": "15m"}, candle_store().last_time(series) or 0
    short = {**asked, "from": end - 200 * series.timeframe.milliseconds}
    whole, few = (run_now(BacktestSpec.of(each)) for each in (asked, short))
    assert (few.result or {})["trades"] < FEW <= (whole.result or {})["trades"]
    texts = [client.get(f"/web/backtest/{run.pk}").text for run in (whole, few)]
    assert ["too few to tell" in text for text in texts] == [False, True]
    assert f"Fewer than {FEW} trades" in client.get(f"/web/backtest/{few.pk}?tab=groups").text


@pytest.mark.parametrize("tab", ["overview", "trades", "monthly", "groups", "parameters"])
def test_a_run_whose_report_is_gone_says_so_on_every_tab(client: Client, series: SeriesKey, tab: str) -> None:
    run = run_now(BacktestSpec.of({"symbol": series.symbol, "timeframe": "15m"}))
    report_shelf().remove(run.pk, symbol=series.symbol, timeframe="15m")
    answer = client.get(f"/web/backtest/{run.pk}", {"tab": tab})
    assert answer.status_code == 200
    assert str(run.pk) in answer.context["problem"]
    assert answer.context["problem"] in unescape(answer.text)
    assert "No trade in this run" not in answer.text
