"""Several stream workers on one data folder: one leads, or each its own part of the pairs."""

import os
import signal
from pathlib import Path

import pytest

from tests.replaying import replay
from tests.signals.feed.processes import check_all, workers
from tests.waiting import eventually

IS_FULL = os.environ.get("SMC_FULL") == "1"
# What is promised, and what a machine that runs other tests beside these is given.
TAKE_OVER_SECONDS = 15 if IS_FULL else 120
pytestmark = [pytest.mark.processes, pytest.mark.broker]


def test_two_streams_one_leader(tmp_path: Path) -> None:
    """One leads and one stands by; when the leader is killed the other leads, and nothing is done twice."""
    with (
        replay(symbols=["BTCUSDT"], speed=300) as exchange,
        workers(tmp_path, exchange, symbols="BTCUSDT", timeframes="1m,5m") as rig,
    ):
        leader, standby = rig.start(), rig.start()
        eventually(lambda: "leader" in (rig.role(leader), rig.role(standby)), seconds=120, every=0.1)
        if rig.role(leader) != "leader":
            leader, standby = standby, leader
        rig.await_live(leader)
        rig.await_role(standby, "standby")
        for _ in range(20 if IS_FULL else 1):
            rig.await_signal()
            rig.kill(leader)
            rig.await_role(standby, "leader", seconds=TAKE_OVER_SECONDS)
            leader, standby = standby, rig.start()
            rig.await_live(leader)
        rig.await_signal()
        rig.await_role(standby, "standby")
        assert len(exchange.status()["connections"]) == 1
        rig.finish(leader)
        assert rig.terminate(standby) == 0
        assert check_all(rig, exchange)


def test_paused_leader_fenced(tmp_path: Path) -> None:
    """A leader that was stopped loses the lead; woken, it stands by and has written and said nothing."""
    with (
        replay(symbols=["BTCUSDT"], speed=300) as exchange,
        workers(tmp_path, exchange, symbols="BTCUSDT", timeframes="1m,5m") as rig,
    ):
        rig.await_live(leader := rig.start())
        rig.await_role(standby := rig.start(), "standby")
        rig.await_signal()
        leader.send_signal(signal.SIGSTOP)
        rig.await_role(standby, "leader", seconds=TAKE_OVER_SECONDS)
        rig.await_live(standby)
        epoch = rig.epoch
        leader.send_signal(signal.SIGCONT)
        rig.await_role(leader, "standby")
        assert rig.epoch == epoch
        assert rig.role(standby) == "leader"
        rig.await_signal()
        rig.finish(standby)
        rig.terminate(leader)
        assert check_all(rig, exchange)


def test_two_shards_share_the_pairs(tmp_path: Path) -> None:
    """Each follows pairs of its own; together they follow all, and number what they say on one channel."""
    symbols = ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"]
    with (
        replay(symbols=symbols, speed=300) as exchange,
        workers(tmp_path, exchange, symbols=",".join(symbols), timeframes="1m") as rig,
    ):
        shards = [rig.start("--shard", f"{number}/2") for number in (1, 2)]
        for shard in shards:
            rig.await_live(shard)
        counts = [rig.health(shard)["series"] for shard in shards]
        assert sum(counts) == len(symbols)
        assert min(counts) > 0
        for shard in shards:
            rig.finish(shard)
        check_all(rig, exchange)


def test_live_backtest_parity(tmp_path: Path) -> None:
    """Live candles with clean restarts and lost connections give the signals of one batch, with equal times."""
    count = 1_500 if IS_FULL else 150
    with (
        replay(symbols=["BTCUSDT"], speed=600 if IS_FULL else 1_200) as exchange,
        workers(tmp_path, exchange, symbols="BTCUSDT", timeframes="1m,5m,15m") as rig,
    ):
        rig.await_live(worker := rig.start())
        start = exchange.time()
        for part in (0.3, 0.6, 1.0) if IS_FULL else (0.5, 1.0):
            exchange.wait_until(start + round(part * count) * 60_000, timeout_seconds=300)
            if part < 1.0:
                exchange.fault("rst")
                assert rig.terminate(worker) == 0
                rig.await_live(worker := rig.start())
        rig.finish(worker)
        assert check_all(rig, exchange)
