"""A day of market time with the faults of a bad one; ``make soak`` runs it whole."""

import os
from pathlib import Path

import pytest

from tests.replaying import replay
from tests.signals.feed.processes import check_all, workers

IS_FULL = os.environ.get("SMC_FULL") == "1"
SYMBOLS, MINUTES, SPEED = (20, 1_440, 360) if IS_FULL else (3, 45, 180)
pytestmark = [pytest.mark.processes, pytest.mark.broker]


def memory_and_files(pid: int) -> tuple[int, int]:
    """Return a process's resident kB and its open files."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_soak_24h_accelerated(tmp_path: Path) -> None:
    """Cuts, silence and a shutdown: no candle is missing, no signal differs, memory and files stay as they are."""
    symbols = [f"PAIR{number:02d}USDT" for number in range(SYMBOLS)]
    with (
        replay(symbols=symbols, speed=SPEED) as exchange,
        workers(tmp_path, exchange, symbols=",".join(symbols), timeframes="1m") as rig,
    ):
        rig.await_live(worker := rig.start())
        start = exchange.time()
        faults = [("close", {}), ("freeze", {}), ("drop", {}), ("server_shutdown", {"seconds": 60}), ("garbage", {})]
        if IS_FULL:
            faults += [("freeze", {}), ("freeze", {}), ("rst", {})]
        early = (0, 0)
        for number, (verb, arguments) in enumerate(faults, start=1):
            moment = start + round(number / (len(faults) + 1) * MINUTES) * 60_000
            exchange.wait_until(moment, timeout_seconds=600)
            exchange.fault(verb, **arguments)
            if number == 2:
                early = memory_and_files(worker.pid)
        exchange.wait_until(start + MINUTES * 60_000, timeout_seconds=600)
        late = memory_and_files(worker.pid)
        rig.finish(worker)
        check_all(rig, exchange)
        assert min(len(rig.candles(series)) for series in rig.series) >= 1_440 + MINUTES - 1
        if IS_FULL:
            assert late[0] <= 1.1 * early[0]
            assert abs(late[1] - early[1]) <= 5
