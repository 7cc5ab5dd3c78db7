"""How fast the log of signals answers, on a year of minutes: ``python benchmarks/signal_log.py [--quick]``.

Times are the processor's. "first" is with nothing of the log in memory, or not the part that is asked; "warm" the best
of five more.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django

from benchmarks._markets import walk
from benchmarks._service import migrate, variables
from benchmarks._timing import best

FOLDER = tempfile.TemporaryDirectory(prefix="smc-bench-")
AROUND = variables(Path(FOLDER.name), LOG_LEVEL="ERROR")
os.environ |= AROUND
django.setup()

from django.conf import settings  # noqa: E402

from markets.candles import Candles  # noqa: E402
from markets.selectors import candle_store  # noqa: E402
from markets.series import SeriesKey, Timeframe  # noqa: E402
from markets.store import Source  # noqa: E402
from signals import selectors  # noqa: E402
from signals.engine import Detector  # noqa: E402
from signals.selectors import SignalFilter  # noqa: E402
from signals.services import Tracker  # noqa: E402

SERIES = SeriesKey.of("BTCUSDT", "1m")


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the log of signals.")
    parser.add_argument("--quick", action="store_true", help="a month of minutes: a look, not a measurement")
    n = 43_200 if parser.parse_args().quick else 525_600
    migrate(AROUND)
    candles = walk(n)
    Detector().run(candles.first(100))
    candle_store().merge(SERIES, candles.first(n - 1_000), source=Source.FILE)
    print(f"built from {n - 1_000:,} stored candles, both scales: {best(_built, times=1):.2f} s")
    show_lists(int(candles.open_time[n // 2]))
    show_advance(candles.take(slice(n - 1_000, None)))
    FOLDER.cleanup()


def _built() -> None:
    selectors.fresh_view(SERIES)


def show_lists(moment: int) -> None:
    every = SignalFilter(symbol="BTCUSDT", timeframe=Timeframe.M1)
    then = replace(every, as_of=moment)
    blocks = replace(then, status="active", kinds=frozenset({"OB"}))
    for what, wanted, limit in (
        ("newest 100", every, 100),
        ("newest 1,000", every, 1_000),
        ("100 as of the middle", then, 100),
        ("1,000 as of the middle", then, 1_000),
        ("blocks open at the middle", blocks, 1_000),
        ("every open block", replace(every, status="active", kinds=frozenset({"OB"})), 1_000),
    ):
        first = best(lambda wanted=wanted, limit=limit: selectors.signals(wanted, limit=limit), times=1)  # type: ignore[misc]
        warm = best(lambda wanted=wanted, limit=limit: selectors.signals(wanted, limit=limit), times=5)  # type: ignore[misc]
        print(f"{what:<28} first {first * 1e3:7.1f} ms   warm {warm * 1e3:6.1f} ms")


def show_advance(candles: Candles) -> None:
    """Time what the feed asks for each closed candle: judge it, log it, name what it told."""
    tracker = Tracker(SERIES, store=candle_store(), root=settings.DATA_ROOT)
    tracker.catch_up()
    taken = []
    for at in range(len(candles)):
        one = candles.take(slice(at, at + 1))
        merged = candle_store().merge(SERIES, one, source=Source.STREAM)
        began = time.process_time()
        tracker.advance(one, edit=merged.edit)
        taken.append(time.process_time() - began)
    p50, p99 = np.quantile(taken, [0.5, 0.99]) * 1e3
    print(f"a candle closed, judged and logged: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    main()
