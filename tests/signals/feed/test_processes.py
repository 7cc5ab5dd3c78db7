"""The stream worker as a process: killed, stopped, doubled, and right all the same."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.replaying import replay
from tests.signals.feed.processes import check_all, workers
from tests.waiting import eventually

IS_FULL = os.environ.get("SMC_FULL") == "1"
pytestmark = [pytest.mark.processes, pytest.mark.broker]


def test_stream_worker_kill9_at_random(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Killed again and again: no candle missing or double, no signal missing, changed, or said twice."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with (
        replay(symbols=["BTCUSDT", "ETHUSDT"], speed=300) as exchange,
        workers(tmp_path, exchange, symbols="BTCUSDT,ETHUSDT", timeframes="1m,5m") as rig,
    ):
        rig.await_live(rig_process := rig.start())
        for _ in range(20 if IS_FULL else 6):
            time.sleep(chance.uniform(0.0, 2.0))  # the moment of the kill is what is drawn
            rig.kill(rig_process)
            rig_process = rig.start()
            rig.await_role(rig_process, "leader")
        rig.await_live(rig_process)
        exchange.set_clock(speed=0)
        rig.await_live(rig_process)
        eventually(lambda: rig.health(rig_process)["queue_depth"] == 0)
        assert rig.terminate(rig_process) == 0
        assert check_all(rig, exchange) > 50
