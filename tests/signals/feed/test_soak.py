"""A day of market time with the faults of a bad one; ``make soak`` runs it whole."""

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from smcsite.embedded import start_server
from tests.replaying import replay
from tests.signals.feed.processes import Workers, check_all, workers

IS_FULL = os.environ.get("SMC_FULL") == "1"
SYMBOLS, MINUTES, SPEED = (20, 1_440, 360) if IS_FULL else (3, 45, 360)
pytestmark = [pytest.mark.processes, pytest.mark.broker]


def memory_and_files(pid: int) -> tuple[int, int]:
    """Return a process's resident kB and its open files."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def delay_ms(rig: Workers) -> float:
    """Return the 99th percentile, over the ledger, of the time from a closing frame to its signals' way out.

    What was found while catching up after a fault is late by nature and left out.
    """
    rows = [row for series in rig.series for row in rig.ledger(series)]
    delays = sorted(row["latency_ms"] for row in rows if not row["is_late"])
    return float(delays[round(0.99 * (len(delays) - 1))])


def test_soak_24h_accelerated(tmp_path: Path) -> None:
    """P08: cuts, silence, restarts: no candle is missing, no signal differs; memory, files and delay stay the same."""
    symbols = [f"PAIR{number:02d}USDT" for number in range(SYMBOLS)]
    faults: list[tuple[str, dict[str, Any]]] = [
        ("close", {}), ("freeze", {}), ("drop", {}), ("server_shutdown", {"seconds": 60}), ("garbage", {}),
    ]  # fmt: skip
    if IS_FULL:
        faults = [("restart", {}), ("redis", {}), *faults, ("freeze", {}), ("freeze", {}), ("rst", {})]
    with ExitStack() as ends:
        redis = start_server(tmp_path / "redis")
        ends.callback(redis.process.wait)
        ends.callback(redis.process.kill)
        exchange = ends.enter_context(replay(symbols=symbols, speed=SPEED))
        options = {"symbols": ",".join(symbols), "timeframes": "1m", "redis_url": redis.url}
        rig = ends.enter_context(workers(tmp_path / "data", exchange, **options))
        rig.await_live(worker := rig.start())
        start = exchange.time()
        early = (0, 0)
        for number, (verb, arguments) in enumerate(faults, start=1):
            moment = start + round(number / (len(faults) + 1) * MINUTES) * 60_000
            exchange.wait_until(moment, timeout_seconds=600)
            if verb == "restart":
                assert rig.terminate(worker) == 0
                rig.await_live(worker := rig.start())
            elif verb == "redis":
                redis.process.kill()
                redis.process.wait()
                again = subprocess.Popen(redis.process.args)
                ends.callback(again.wait)
                ends.callback(again.kill)
            else:
                exchange.fault(verb, **arguments)
            if number == (3 if IS_FULL else 2):
                early = memory_and_files(worker.pid)
        exchange.wait_until(start + MINUTES * 60_000, timeout_seconds=600)
        late = memory_and_files(worker.pid)
        assert worker.poll() is None
        rig.finish(worker)
        signals = check_all(rig, exchange)
        restarts = rig.log.count("the stream fails")
        delay = delay_ms(rig)
        print(
            f"{MINUTES} minutes of {SYMBOLS} pairs at {SPEED}x: {signals} signals, p99 {delay:.0f} ms, "
            f"{restarts} restarts, {early[0] >> 10} to {late[0] >> 10} MB, {early[1]} to {late[1]} files"
        )
        assert min(len(rig.candles(series)) for series in rig.series) >= 1_440 + MINUTES - 1
        assert restarts == 0
        if IS_FULL:
            assert delay <= 2_000
            assert late[0] <= 1.1 * early[0]
            assert abs(late[1] - early[1]) <= 5
