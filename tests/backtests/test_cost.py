"""What a run costs is told before it is asked for."""

import json
import os
import time
from typing import Any

import pytest
from django.test import Client

from backtests import tasks
from backtests.engine.spec import BacktestSpec
from backtests.models import Backtest
from backtests.selectors import MAX_CANDLES, settle
from backtests.services.running import run_now
from markets.moments import iso
from markets.series import SeriesKey, Timeframe
from tests.backtests.conftest import store_walk

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


def test_a_cost_is_refused_where_a_run_would_be(client: Client, series: SeriesKey) -> None:
    for body, status in (
        ({"symbol": "NOSUCH", "timeframe": "15m"}, 404),
        ({"symbol": series.symbol, "timeframe": "1h"}, 422),
        ({"symbol": series.symbol, "timeframe": "15m", "from": "2099-01-01"}, 422),
        ({"symbol": series.symbol, "timeframe": "15m", "magic": 1}, 400),
        ({"symbol": series.symbol, "timeframe": "15m", "strategy": ["breakout"]}, 400),
        ({"symbol": series.symbol, "timeframe": "15m", "strategy": {}}, 400),
    ):
        assert ask(client, body, "?dry_run=1").status_code == status, body
    assert ask(client, {"symbol": series.symbol, "timeframe": "15m"}, "?dry_run=perhaps").status_code == 400
