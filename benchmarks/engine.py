"""How fast the signal engine is: ``python benchmarks/engine.py [--quick]``.

The engine finds all nine kinds with their life cycle. Beside it stands ``smartmoneyconcepts`` (five functions, no life
cycle but the gap's), where it is installed: ``pip install --no-deps smartmoneyconcepts==0.0.27``. Each of its functions
runs in a process of its own, and is ended after ``--cap`` seconds.

Times are the processor's, the best of a few runs, so that a busy machine does not count; "clock" says otherwise.
"""

import argparse
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._markets import MINUTE, walk
from benchmarks._timing import best
from markets.candles import Candles
from signals.engine import Detector

THEIR_FUNCTIONS = ("fvg", "swing_highs_lows", "bos_choch", "ob", "liquidity")


def show_batch(sizes: list[int]) -> dict[int, float]:
    taken = {}
    for n in sizes:
        candles = walk(n)
        taken[n] = best(lambda candles=candles: Detector().run(candles), times=5 if n < 5_000_000 else 3)  # type: ignore[misc]
        found = len(Detector().run(candles).table)
        print(f"  {n:>9,} candles   {taken[n]:7.3f} s   {taken[n] / n * 1e9:5.0f} ns a candle   {found:>9,} signals")
    return taken


def show_step(candles_behind: int, steps: int) -> None:
    candles = walk(candles_behind + steps)
    detector = Detector()
    detector.run(candles.first(candles_behind))
    clock, processor = [], []
    for candle in candles.take(slice(candles_behind, None)):
        began, computed = time.perf_counter(), time.process_time()
        detector.step(candle)
        processor.append(time.process_time() - computed)
        clock.append(time.perf_counter() - began)
    for what, taken in (("processor", processor), ("clock", clock)):
        p50, p99 = np.quantile(taken, [0.5, 0.99]) * 1e6
        print(
            f"  step, {candles_behind:,} candles behind: p50 {p50:.0f} µs, p99 {p99:.0f} µs ({what}, {steps:,} steps)"
        )
    blob = detector.to_bytes()
    print(f"  state: {len(blob):,} bytes; to bytes {best(detector.to_bytes, times=5) * 1e3:.1f} ms")


def show_memory(batch: int, stream: int) -> None:
    candles = walk(batch)
    tracemalloc.start()
    run = Detector().run(candles)
    peak, kept = tracemalloc.get_traced_memory()[1], run.table.rows.nbytes + run.table.packed_marks.nbytes
    tracemalloc.stop()
    print(
        f"  batch of {batch:,}: {peak / batch:.0f} bytes a candle at the peak; the table is {kept / batch:.0f} of them"
    )
    part = walk(200_000)
    detector, span = Detector(), len(part) * MINUTE
    resident = []
    for i in range(stream // len(part)):
        # A market that comes back to its prices again and again, so that what it leaves open stays bounded.
        times = part.open_time + i * span
        detector.run(Candles(times, part.open, part.high, part.low, part.close, part.volume))
        resident.append(_resident())
    early, late = resident[len(resident) // 10], resident[-1]
    print(f"  stream of {stream:,}: {early:.0f} MB resident after a tenth, {late:.0f} MB at the end")


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize() / 2**20


def show_start() -> None:
    script = (
        "from markets.candles import Candles\nimport numpy as np\nfrom signals.engine import Detector\n"
        "n = 10_000\nx = 100 + np.sin(np.arange(n) / 9.0)\n"
        "c = Candles(np.arange(n) * 60_000 + 60_000, x, x + 0.5, x - 0.5, x, x)\nprint(len(Detector().run(c).table))\n"
    )
    root = Path(__file__).resolve().parent.parent
    clock, processor = [], []
    for _ in range(3):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script], cwd=root, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        clock.append(time.perf_counter() - began)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(
        f"  process start to first signals, machine code cached: {min(processor):.2f} s (processor), "
        f"{min(clock):.2f} s (clock)"
    )


def show_theirs(sizes: list[int], ours: dict[int, float], cap: int) -> None:
    if importlib.util.find_spec("smartmoneyconcepts") is None:
        print("  smartmoneyconcepts is not installed: nothing to stand beside")
        return
    for n in sizes:
        total, is_capped = 0.0, False
        for name in THEIR_FUNCTIONS:
            taken = their_seconds(name, n, cap)
            total += cap if taken is None else taken
            is_capped |= taken is None
            print(f"  {n:>9,} candles   {name:<17} {f'over {cap} s, ended' if taken is None else f'{taken:8.2f} s'}")
        bound = "more than " if is_capped else ""
        times = f"{bound}{total / ours[n]:,.0f} times"
        print(f"  {n:>9,} candles   all five {bound}{total:.1f} s, ours {ours[n]:.3f} s: {times}")


def their_seconds(name: str, n: int, cap: int) -> float | None:
    """Return the processor's seconds of one of their functions; None when it took more than ``cap``."""
    command = [sys.executable, str(Path(__file__).with_name("_theirs.py")), name, str(cap)]
    candles = walk(n)
    run = Detector().run(candles).table
    is_swing = run.column("kind") == "SWING"
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        prices = {name: getattr(candles, name) for name in ("open", "high", "low", "close", "volume")}
        # Their functions get our pivots: finding their own takes longer than the cap on long series.
        pivots = {each: run.column(each)[is_swing] for each in ("event_idx", "direction", "level")}
        np.savez(file, **prices, **pivots)
        file.flush()
        quiet = {**os.environ, "SMC_CREDIT": "0"}
        ended = subprocess.run([*command, file.name], capture_output=True, text=True, check=False, env=quiet)
    if ended.returncode == -signal.SIGALRM:
        return None
    if ended.returncode:
        raise SystemExit(f"{name} failed on {n} candles:\n{ended.stderr}")
    return float(json.loads(ended.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the signal engine.")
    parser.add_argument("--quick", action="store_true", help="small sizes: a look, not a measurement")
    parser.add_argument("--cap", type=int, default=120, help="seconds after which one of their functions is ended")
    options = parser.parse_args()
    sizes = [10_000, 100_000] if options.quick else [100_000, 1_000_000, 5_000_000]
    Detector().run(walk(1_000))  # the machine code, from disk or made now
    print("batch, all nine kinds with life cycle, one core")
    ours = show_batch(sizes)
    print("live")
    show_step(sizes[1], 2_000 if options.quick else 20_000)
    print("memory")
    show_memory(sizes[1], 1_000_000 if options.quick else 10_000_000)
    print("start")
    show_start()
    print("beside smartmoneyconcepts")
    show_theirs(sizes[:1] if options.quick else sizes[:2], ours, options.cap)


if __name__ == "__main__":
    main()
