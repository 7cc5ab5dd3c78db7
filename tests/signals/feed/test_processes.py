"""The stream worker as a process: killed, cut off from Redis, restarted, and right all the same."""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from smcsite.embedded import start_server
from tests.replaying import replay
from tests.signals.feed.processes import check_all, workers
from tests.waiting import eventually

IS_FULL = os.environ.get("SMC_FULL") == "1"
pytestmark = [pytest.mark.processes, pytest.mark.broker]


def test_stream_worker_kill9_at_random(tmp_path: Path) -> None:
    """Killed again and again: no candle missing or double, no signal missing, changed, or said twice."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with (
        replay(symbols=["BTCUSDT", "ETHUSDT"], speed=300) as exchange,
        workers(tmp_path, exchange, symbols="BTCUSDT,ETHUSDT", timeframes="1m,5m") as rig,
    ):
        rig.await_live(worker := rig.start())
        for _ in range(20 if IS_FULL else 4):
            time.sleep(chance.uniform(0.0, 2.0 if IS_FULL else 1.0))  # the moment of the kill is what is drawn
            rig.kill(worker)
            worker = rig.start()
            rig.await_role(worker, "leader")
        rig.await_live(worker)
        rig.await_signal()
        rig.finish(worker)
        assert check_all(rig, exchange)


def test_redis_killed_and_come_back_costs_no_candle_and_no_signal(tmp_path: Path) -> None:
    """While Redis is away candles are stored and judged on; what was found is said when it is back."""
    server = start_server(tmp_path / "redis")
    with (
        replay(symbols=["BTCUSDT"], speed=300) as exchange,
        workers(tmp_path / "data", exchange, symbols="BTCUSDT", timeframes="1m", redis_url=server.url) as rig,
    ):
        rig.await_live(worker := rig.start())
        series = rig.series[0]
        server.process.kill()
        server.process.wait()
        stored = len(rig.candles(series))
        eventually(lambda: len(rig.candles(series)) > stored + 20, seconds=20)
        again = subprocess.Popen(server.process.args)
        try:
            rig.await_live(worker)
            eventually(lambda: rig.ears.signals() and len(rig.ears.signals()) >= len(rig.ledger(series)), seconds=20)
            rig.finish(worker)
            check_all(rig, exchange)
        finally:
            rig.ears.close()
            again.kill()
            again.wait()
