"""What a run costs is told before it is asked for."""

import json
import os
import time
from typing import Any

import pytest
from django.test import Client

from backtests import selectors, tasks
from backtests.engine.spec import BacktestSpec
from backtests.models import Backtest
from backtests.selectors import MAX_CANDLES, MAX_CANDLES_NOW, settle
from backtests.services.running import run_now
from markets.moments import iso
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from tests.backtests.conftest import COUNT, store_walk

pytestmark = pytest.mark.django_db

FULL = os.environ.get("SMC_FULL") == "1"
SIZES = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 150_000, 199_000) if FULL else (500, 1_000, 2_000)


def ask(client: Client, body: dict[str, Any], query: str = "") -> Any:
    return client.post(f"/api/v1/backtests/{query}", json.dumps(body), content_type="application/json")


def test_cost_estimate(client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """S33: the candles are counted exactly, more of them cost more, and nothing is run or queued."""
    monkeypatch.setattr(tasks, "put_on_queue", lambda task, job_id: pytest.fail("it was queued"))
    if FULL:
        series = store_walk("LONGUSDT", count=200_000)
    settled = settle(BacktestSpec.of({"symbol": series.symbol, "timeframe": "15m"}), cap=MAX_CANDLES)
    assert settled.end is not None
    step, told = Timeframe.M15.milliseconds, []
    for size in SIZES:
        body = {"symbol": series.symbol, "timeframe": "15m", "from": iso(settled.end - size * step)}
        answer = ask(client, body, "?dry_run=1")
        assert answer.status_code == 200, answer.content
        assert answer.json() == ask(client, {**body, "dry_run": True}).json()
        assert (answer.json()["runs"], answer.json()["candles"]) == (1, size)
        told.append(answer.json()["seconds"])
        if FULL:
            began = time.process_time()
            run_now(BacktestSpec.of({**body, "stop_atr": 1.0 + size / 1e6}))
            taken = time.process_time() - began
            # The first run of a process loads the engine, which no run after it does.
            assert size == SIZES[0] or taken / 3 <= told[-1] <= taken * 3, (size, told[-1], taken)
    assert told == sorted(told)
    assert told[0] < told[-1]
    assert FULL or not Backtest.objects.exists()


def test_candles_are_counted_where_they_are_stored_whatever_the_range_that_is_asked_for(
    client: Client, series: SeriesKey
) -> None:
    store_walk("YOUNGUSDT", count=500)
    first = settle(BacktestSpec.of({"symbol": series.symbol, "timeframe": "15m"}), cap=MAX_CANDLES).start or 0
    year, quarter, minute = 365 * 86_400_000, Timeframe.M15.milliseconds, 60_000
    for symbols, start, end, count in (
        ([series.symbol], first - year, first + year, COUNT),
        ([series.symbol], first - year, first + 10 * quarter, 10),
        # Neither time is that of a candle.
        ([series.symbol], first + minute, first + quarter + minute, 1),
        ([series.symbol], first - minute, first + quarter + minute, 2),
        ([series.symbol, "YOUNGUSDT"], first - year, first + year, COUNT + 500),
    ):
        body = {"symbol": ",".join(symbols), "timeframe": "15m", "from": iso(start), "to": iso(end)}
        assert ask(client, body, "?dry_run=1").json()["candles"] == count, body
        sweep = {**body, "axes": {"stop_atr": [1.0, 2.0]}, "dry_run": True}
        answer = client.post("/api/v1/sweeps/", json.dumps(sweep), content_type="application/json")
        assert (answer.json()["runs"], answer.json()["candles"]) == (2, count), body


def test_a_range_that_begins_before_the_first_candle_gives_the_run_of_the_whole_series(
    client: Client, series: SeriesKey
) -> None:
    whole = {"symbol": series.symbol, "timeframe": "15m"}
    expected, early = (
        client.get("/api/v1/backtest/", body).json() for body in (whole, {**whole, "from": "2020-01-01"})
    )
    assert early["trades"] == expected["trades"]
    assert early["from"] == expected["from"] != "2020-01-01T00:00:00Z"
    page = client.get(early["reports"]["page"])
    assert f"from {COUNT * Timeframe.M15.minutes // 1440} days" in page.text


def test_a_cost_is_refused_where_a_run_would_be(client: Client, series: SeriesKey) -> None:
    inside = {"symbol": series.symbol, "timeframe": "15m"}
    for body, status in (
        ({"symbol": "NOSUCH", "timeframe": "15m"}, 404),
        ({"symbol": series.symbol, "timeframe": "1h"}, 422),
        ({"symbol": series.symbol, "timeframe": "15m", "from": "2099-01-01"}, 422),
        ({**inside, "from": "2023-11-15T12:01:00Z", "to": "2023-11-15T12:14:00Z"}, 422),
        ({"symbol": series.symbol, "timeframe": "15m", "magic": 1}, 400),
        ({"symbol": series.symbol, "timeframe": "15m", "strategy": ["breakout"]}, 400),
        ({"symbol": series.symbol, "timeframe": "15m", "strategy": {}}, 400),
    ):
        assert ask(client, body, "?dry_run=1").status_code == status, body
    assert ask(client, {"symbol": series.symbol, "timeframe": "15m"}, "?dry_run=perhaps").status_code == 400


def test_candles_before_the_range_and_finer_ones_count_against_what_may_be_read(
    client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day at the end of ten years reads all of them."""
    last = candle_store().last_time(series) or 0
    asked: dict[str, Any] = {"symbol": series.symbol, "timeframe": "15m", "from": iso(last - 50 * 900_000)}
    assert client.get("/api/v1/backtest/", asked).status_code == 200
    monkeypatch.setattr(selectors, "_READ_SHARE", (COUNT - 1) / MAX_CANDLES_NOW)
    answer = client.get("/api/v1/backtest/", {**asked, "swing_length": 7})
    assert answer.status_code == 413
    assert f"{COUNT:,} candles would be read" in answer.json()["detail"]
    assert "runs it as a job" in answer.json()["detail"]
    monkeypatch.setattr(selectors, "_READ_SHARE", (COUNT + 52) / MAX_CANDLES_NOW)
    assert client.get("/api/v1/backtest/", {**asked, "swing_length": 7}).status_code == 200
    finer = client.get("/api/v1/backtest/", {**asked, "detail_timeframe": "1m"})
    assert (finer.status_code, f"{COUNT + 51 * 15:,} candles would be read" in finer.json()["detail"]) == (413, True)
