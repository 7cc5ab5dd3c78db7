"""How fast the candle store is, beside what one would write first: ``python benchmarks/store.py [--quick]``.

Each figure is a median unless it says p95, in milliseconds, on a disk that syncs for real. The last column says how
many times longer the plain way takes: pandas reading its file, or rewriting it for each candle. The plain way neither
syncs, nor locks, nor checks what it reads. On a busy machine look at "processor": what this process computed itself.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._markets import MINUTE, plain_walk
from markets.candles import COLUMNS, Candles
from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Source

DAY = 1_440
SERIES = SeriesKey.of("BTCUSDT", "1m")


def frame(part: Candles) -> pd.DataFrame:
    return pd.DataFrame({name: getattr(part, name) for name in COLUMNS})


class Taken(NamedTuple):
    """What calls took, in milliseconds: by the clock, and of the processor."""

    clock: list[float]
    processor: list[float]


def timed(work: Callable[[], object], times: int) -> Taken:
    taken = Taken([], [])
    for _ in range(times):
        began, computed = time.perf_counter(), time.process_time()
        work()
        taken.clock.append((time.perf_counter() - began) * 1000)
        taken.processor.append((time.process_time() - computed) * 1000)
    return taken


def p95(taken: list[float]) -> float:
    return quantiles(taken, n=20)[-1]


def show(
    what: str,
    ours: Taken,
    *,
    limit: float | None = None,
    plain: Taken | None = None,
    measure: Callable[[list[float]], float] = median,
) -> None:
    told = f"{what:<58}{measure(ours.clock):>10.2f}{measure(ours.processor):>11.2f}"
    told += f"{limit:>9.0f}" if limit is not None else " " * 9
    told += f"{measure(plain.clock) / measure(ours.clock):>9.1f}x" if plain is not None else ""
    print(told.rstrip(), flush=True)


def reads(root: Path, whole: Candles, rounds: int) -> None:
    plain = root / "plain.parquet"
    frame(whole).to_parquet(plain, compression="snappy")
    start = int(whole.open_time[-40 * DAY])
    end = start + 7 * DAY * MINUTE
    filters = [("open_time", ">=", start), ("open_time", "<", end)]

    def cold(read: Callable[[CandleStore], object]) -> Taken:
        return timed(lambda: read(CandleStore(root)), rounds)

    def plainly(**options: object) -> Taken:
        return timed(lambda: pd.read_parquet(plain, **options), max(3, rounds // 4))  # type: ignore[call-overload]  # noqa: TID251  # the plain way

    store = CandleStore(root)
    week = plainly(filters=filters)
    show(
        "7 days of 3 years, first read",
        cold(lambda each: each.read(SERIES, start=start, end=end)),
        limit=15,
        plain=week,
    )
    show(
        "7 days of 3 years, read before",
        timed(lambda: store.read(SERIES, start=start, end=end), rounds),
        plain=week,
    )
    all_of_it = plainly()
    show("newest 1,000, first read", cold(lambda each: each.newest(SERIES, 1000)), limit=5, plain=all_of_it)
    show("newest 1,000, read before", timed(lambda: store.newest(SERIES, 1000), rounds), plain=all_of_it)
    show("all 3 years", cold(lambda each: each.read(SERIES, start=None, end=None)), plain=all_of_it)
    show("coverage of 3 years, first asked", cold(lambda each: each.coverage(SERIES)))
    show("last time, asked before", timed(lambda: store.last_time(SERIES), rounds))


def writes(root: Path, rounds: int) -> None:
    year = plain_walk(365 * DAY)
    fresh = iter(range(1000))
    taken = timed(lambda: CandleStore(root / f"year{next(fresh)}").merge(SERIES, year, source=Source.ARCHIVE), 3)
    show("a year of 1m merged", taken, limit=2000)

    # The last day of a month, where the plain way rewrites the most.
    month, store = plain_walk(31 * DAY), CandleStore(root / "live")
    store.merge(SERIES, month.first(30 * DAY + 100), source=Source.ARCHIVE)
    at = iter(range(30 * DAY + 100, 31 * DAY))

    def append() -> None:
        index = next(at)
        store.merge(SERIES, month.take(slice(index, index + 1)), source=Source.STREAM)

    plain = root / "month.parquet"
    table = frame(month)
    table.iloc[: 30 * DAY].to_parquet(plain, compression="snappy")

    def rewrite() -> None:
        stored = pd.read_parquet(plain)  # noqa: TID251  # the plain way
        pd.concat([stored, table.iloc[[len(stored)]]]).to_parquet(plain, compression="snappy")

    taken, naive = timed(append, rounds * 10), timed(rewrite, max(5, rounds // 2))
    show("one closed candle made durable", taken, plain=naive)
    show("one closed candle made durable, p95", taken, limit=30, plain=naive, measure=p95)


def many(root: Path) -> None:
    keys = [SeriesKey(f"PAIR{number}USDT", Timeframe.M1) for number in range(400)]
    day, store = plain_walk(1_442), CandleStore(root)
    for key in keys:
        store.merge(key, day.first(1_438), source=Source.ARCHIVE)

    def close(key: SeriesKey, at: int) -> None:
        store.merge(key, day.take(slice(at, at + 1)), source=Source.STREAM)

    show(
        "400 series close at once, one after the other",
        timed(lambda: list(map(close, keys, [1_438] * 400)), 1),
        limit=2000,
    )
    with ThreadPoolExecutor(8) as pool:
        show(
            "400 series close at once, 8 threads",
            timed(lambda: list(pool.map(close, keys, [1_439] * 400)), 1),
            limit=2000,
        )
        midnight = timed(lambda: list(pool.map(close, keys, [1_440] * 400)), 1)
    show("400 series close at once, first candle of a day", midnight, limit=2000)
    show("start-up recovery of 400 series, a day of each to merge", timed(CandleStore(root).clear_up, 1))
    show("damaged files of 400 series, of which there are none", timed(CandleStore(root).set_aside, 1), limit=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's folder for temporary files")
    options = parser.parse_args()
    rounds = 10 if options.quick else 40
    print(f"{'milliseconds':<58}{'clock':>10}{'processor':>11}{'limit':>9}{'plain':>10}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        whole = plain_walk(3 * 365 * DAY)
        CandleStore(root / "years").merge(SERIES, whole, source=Source.ARCHIVE)
        reads(root / "years", whole, rounds)
        writes(root / "writes", rounds)
        many(root / "many")


if __name__ == "__main__":
    main()
