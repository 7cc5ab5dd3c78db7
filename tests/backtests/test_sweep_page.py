"""The page of an analysis: an empty heatmap while it waits, the whole one when it is done, cancelled when asked."""

import re

import pytest
from django.test import Client

from backtests.engine.spec import BacktestSpec
from backtests.models import Analysis
from backtests.services.analysing import new_analysis, save_analysis
from backtests.tasks import run_analysis
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from tests.factories import walk

pytestmark = pytest.mark.django_db

COPIED = ("method", "spec", "symbol", "timeframe", "strategy", "start", "end")


@pytest.fixture
def sweep() -> Analysis:
    series = SeriesKey.of("SWEPTUSDT", "15m")
    candle_store().merge(series, walk(6, 2_000, timeframe=Timeframe.M15), source=Source.FILE)
    ensure_series(series)
    spec = BacktestSpec.of({"symbol": "SWEPTUSDT", "timeframe": "15m"})
    axes = {"stop_atr": [1.0, 2.0], "target_r": [1.0, 2.0, 3.0]}
    return save_analysis(new_analysis("sweep", spec, {"axes": axes, "metric": "expectancy_r"}))


def test_a_sweep_that_waits_shows_its_empty_cells(sweep: Analysis, client: Client) -> None:
    answer = client.get(f"/web/backtest/sweep/{sweep.pk}")
    assert answer.status_code == 200
    assert answer.text.count("…</span>") == 6
    assert "queued" in answer.text


def test_a_sweep_that_is_done_shows_every_cell_and_the_best(sweep: Analysis, client: Client) -> None:
    run_analysis(sweep.pk)
    text = client.get(f"/web/backtest/sweep/{sweep.pk}").text
    assert "…</span>" not in text
    assert "robust best" in text
    assert 'data-state="done"' in text


def test_a_sweep_can_be_cancelled_and_listed(sweep: Analysis, client: Client) -> None:
    client.post(f"/web/backtest/sweep/{sweep.pk}/cancel")
    sweep.refresh_from_db()
    assert sweep.state == "cancelled"
    assert f"/web/backtest/sweep/{sweep.pk}" in client.get("/web/backtest").text


def test_every_sweep_is_reached_from_the_list_however_many_there_are(sweep: Analysis, client: Client) -> None:
    later = [Analysis.objects.create(**{name: getattr(sweep, name) for name in COPIED}) for _ in range(10)]
    address, found = "/web/backtest", []
    while address:
        text = client.get(address).text
        found += [int(number) for number in re.findall(r'href="/web/backtest/sweep/(\d+)"', text)]
        older = re.search(r'href="([^"]*)">Older analyses', text)
        address = older.group(1) if older else ""
    assert found == [each.pk for each in reversed([sweep, *later])]


def test_an_analysis_that_is_not_there_is_a_page_that_says_so(client: Client) -> None:
    assert client.get("/web/backtest/sweep/999999").status_code == 404
