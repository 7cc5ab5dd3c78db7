"""Whether the service stays as it is: ``python benchmarks/soak.py [--minutes 60] [--sockets 20] [--quick]``.

``manage.py serve`` runs as a user runs it, on its synthetic market at 60x; sockets listen as browsers do that show a
chart each. Of each process of the service (with those it forked) the resident memory and the open files are noted every
few seconds. Both, and the time from a candle's close to its signals' way out, must be at the end what they were after a
sixth of the run: memory within a tenth, files within five.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import websockets

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._service import READY_SECONDS, ROOT, TIMEFRAMES, variables
from smcsite.embedded import free_port

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
_NAMES = {
    "smcsite.web": "web",
    "runstream": "stream",
    "replay_exchange": "exchange",
    "--queues scan": "worker",
    "--queues exchange": "backfills",
    "--queues backtest": "backtests",
    " beat ": "beat",
    "valkey": "broker",
    "redis": "broker",
}


class Sample(NamedTuple):
    """One process and those it forked: kB resident, open files, and its number, which a restart changes."""

    resident: int
    files: int
    pid: int


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, int]]:
    """Run the service; give the supervisor's process number and the web server's port."""
    port = free_port()
    around = variables(
        folder,
        MARKET_SOURCE="replay",
        REDIS_URL="",
        API_PORT=str(port),
        WORKER_PORT=str(free_port()),
        SYMBOLS=",".join(SYMBOLS),
        TIMEFRAMES=",".join(TIMEFRAMES),
        HISTORY_DAYS="2",
        LOG_LEVEL="INFO",  # as a user runs it
    )
    with (folder / "service.log").open("wb") as log:
        command = [sys.executable, "manage.py", "serve"]
        process = subprocess.Popen(command, cwd=ROOT, env=around, stdout=log, stderr=log)
        try:
            _await_live(port)
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(30)


def _await_live(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            told = status(port)
        except OSError:
            told = {}
        if told.get("state") == "live":
            return
        time.sleep(0.5)
    raise SystemExit(f"not live after {READY_SECONDS} s")


def status(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=10) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def processes(supervisor: int) -> dict[str, Sample]:
    """Return what each of the supervisor's processes holds now, by its name."""
    parents = {int(path.name): _parent(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = {"supervisor": _hold([supervisor])}
    for child in [pid for pid, parent in parents.items() if parent == supervisor]:
        command = _read(Path(f"/proc/{child}/cmdline")).replace("\0", " ")
        name = next((name for part, name in _NAMES.items() if part in command), "")
        if name:
            forked = [pid for pid, parent in parents.items() if parent == child]
            found[name] = _hold([child, *forked])
    return found


def _hold(pids: list[int]) -> Sample:
    resident = files = 0
    for pid in pids:
        # What forks share counts once between them.
        match = re.search(r"^Pss:\s+(\d+)", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE)
        resident += int(match[1]) if match else 0
        try:
            files += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
    return Sample(resident, files, pids[0])


def _parent(folder: Path) -> int:
    fields = _read(folder / "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _read(path: Path) -> str:
    """Return a file's text; nothing once its process has ended."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


async def listen(port: int, heard: dict[str, int], *, chart: str) -> None:
    """Listen as a browser with one chart does; connect again when the connection ends."""
    channels = ["signals", "status", f"k:{chart}"]
    async for socket in websockets.connect(f"ws://127.0.0.1:{port}/ws/live/", max_size=None):
        heard["connected"] += 1
        try:
            await socket.send(json.dumps({"op": "sub", "ch": channels}))
            async for text in socket:
                heard[str(text).partition('"t":"')[2].partition('"')[0]] += 1
        except websockets.ConnectionClosed:
            continue


async def watch(
    supervisor: int, port: int, *, seconds: float, sockets: int
) -> tuple[dict[str, list[Sample]], list[Any]]:
    """Return the samples of each process and the lags, in order."""
    heard: dict[str, int] = defaultdict(int)
    charts = cycle(f"{symbol}:{each}" for symbol in SYMBOLS for each in TIMEFRAMES)
    tasks = [asyncio.create_task(listen(port, heard, chart=chart)) for chart in islice(charts, sockets)]
    samples: dict[str, list[Sample]] = defaultdict(list)
    lags: list[Any] = []
    began = said = time.monotonic()
    every = max(2.0, min(15.0, seconds / 120))
    while (passed := time.monotonic() - began) < seconds:
        for name, sample in processes(supervisor).items():
            samples[name].append(sample)
        lags.append((await asyncio.to_thread(status, port))["lag_ms"])
        if time.monotonic() - said > 300:
            said = time.monotonic()
            held = ", ".join(
                f"{name} {all_[-1].resident // 1024} MB {all_[-1].files}" for name, all_ in samples.items()
            )
            print(f"  {passed / 60:.0f} min: {lags[-1]}, {held}", flush=True)
        await asyncio.sleep(every)
    print(f"  {sockets} sockets heard {dict(heard)}")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return samples, lags


def judge(samples: dict[str, list[Sample]], lags: list[Any]) -> bool:
    """Print how each process was early and late; return whether all stayed as they were."""
    is_flat = True
    for name, all_ in samples.items():
        early, late = all_[len(all_) // 6 : len(all_) // 4 + 1], all_[-max(1, len(all_) // 12) :]
        memory = [median(each.resident for each in part) / 1024 for part in (early, late)]
        files = [round(median(each.files for each in part)) for part in (early, late)]
        pids = len({each.pid for each in all_})
        flat = memory[1] <= 1.1 * memory[0] and files[1] <= files[0] + 5 and pids == 1
        is_flat &= flat
        print(
            f"  {name:<10} {memory[0]:7.1f} MB -> {memory[1]:7.1f} MB ({memory[1] / memory[0] - 1:+.1%}), "
            f"{files[0]:3} files -> {files[1]:3}, started {pids} x{'' if flat else '   NOT FLAT'}"
        )
    for share in ("p50", "p99"):
        told = [each[share] for each in lags if each[share] is not None]
        first, last = told[len(told) // 6 : len(told) // 4 + 1], told[-max(1, len(told) // 12) :]
        print(f"  lag {share}: {median(first):.1f} ms -> {median(last):.1f} ms")
    return is_flat


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--sockets", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="one minute: a look, not a measurement")
    options = parser.parse_args()
    minutes = 1.0 if options.quick else options.minutes
    with tempfile.TemporaryDirectory(prefix="smc-soak-") as folder, served(Path(folder)) as (supervisor, port):
        print(f"{minutes:g} minutes at 60x, {len(SYMBOLS)} pairs x {len(TIMEFRAMES)} timeframes:", flush=True)
        samples, lags = asyncio.run(watch(supervisor, port, seconds=60 * minutes, sockets=options.sockets))
    return 0 if judge(samples, lags) else 1


if __name__ == "__main__":
    raise SystemExit(main())
