"""How fast the API answers, beside a view that does nothing: ``python benchmarks/api.py [--quick]``.

A web process as in service serves a store of a million candles. An empty Django view is added to it, behind the same
middleware, so that what is left between the two is what the API does. Times are those of a client on this machine
that keeps its connection, so they include what the client itself takes.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._client import Connection, milliseconds
from benchmarks._markets import plain_walk
from benchmarks._service import ROOT, await_port, broker, migrate, variables
from benchmarks._table import show, show_head
from markets.series import SeriesKey
from markets.store import CandleStore, Source
from smcsite.embedded import free_port

SERIES = SeriesKey.of("BTCUSDT", "1m")
CONNECTIONS = 4
CANDLES = "/api/v1/candles/?symbol=BTCUSDT&timeframe=1m&limit=1000"


def serve(port: int) -> None:
    """Serve as ``smcsite.web`` does, with one view more."""
    import django  # noqa: PLC0415 - this process alone is a server
    import uvicorn  # noqa: PLC0415
    from django.http import HttpResponse  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    django.setup()
    from markets.services.pairs import ensure_series  # noqa: PLC0415
    from smcsite import urls  # noqa: PLC0415
    from smcsite.asgi import application  # noqa: PLC0415
    from smcsite.web import configuration  # noqa: PLC0415

    ensure_series(SERIES)
    urls.urlpatterns.insert(0, path("empty", lambda _request: HttpResponse()))
    uvicorn.Server(configuration(application, host="127.0.0.1", port=port)).run()


@contextlib.contextmanager
def service(rows: int) -> Iterator[tuple[int, int]]:
    """A web process on a store of its own; yields its port and its process id."""
    with tempfile.TemporaryDirectory(prefix="smc-bench-") as name, broker(Path(name)) as redis_url:
        folder, port = Path(name), free_port()
        CandleStore(folder / "data").merge(SERIES, plain_walk(rows), source=Source.ARCHIVE)
        around = variables(folder, REDIS_URL=redis_url, RATE_LIMIT="1000000/s")
        migrate(around)
        command = [sys.executable, __file__, "--serve", str(port)]
        web = subprocess.Popen(command, cwd=ROOT, env=around)
        try:
            await_port(port)
            yield port, web.pid
        finally:
            web.terminate()
            web.wait(20)


def rate(port: int, path: str, *, seconds: float) -> float:
    """Return how many requests a second are answered to some clients at once."""
    until, counts = time.perf_counter() + seconds, [0] * CONNECTIONS

    def ask(number: int) -> None:
        connection = Connection(port)
        while time.perf_counter() < until:
            connection.get(path)
            counts[number] += 1

    threads = [Thread(target=ask, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def memory(pid: int, name: str) -> float:
    """Return a process's memory in MB: ``VmRSS`` now, ``VmHWM`` at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc/{pid}/status has no {name}")


def download(port: int, pid: int, *, rows: int, format_: str) -> None:
    """Show how fast a million candles stream, and what that costs the server in memory."""
    before = memory(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the highest so far is forgotten
    path = f"/api/v1/candles/?symbol=BTCUSDT&timeframe=1m&from=2023-01-01&format={format_}"
    began, size, lines = time.perf_counter(), 0, 0
    for piece in Connection(port).stream(path):
        size, lines = size + len(piece), lines + piece.count(b"\n")
    seconds = time.perf_counter() - began
    if format_ == "csv" and lines < rows:
        raise SystemExit(f"{lines} lines of {rows} candles arrived")
    show(f"{rows:,} candles as {format_}, rows a second", rows / seconds, limit="200000" if format_ == "csv" else "")
    show(f"  of {size / 1e6:.0f} MB; memory of the server rises by, MB", memory(pid, "VmHWM") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    rows, times, seconds = (200_000, 200, 2.0) if options.quick else (1_000_000, 1_000, 5.0)
    show_head()
    with service(rows) as (port, pid):
        empty, full = (milliseconds(port, path, times=times) for path in ("/empty", CANDLES))
        show("empty view, ms, median", median(empty))
        show("1,000 candles as JSON, ms, median", median(full), limit="6")
        show("1,000 candles as JSON, ms, p95", quantiles(full, n=20)[-1])
        rates: dict[str, list[float]] = {path: [] for path in ("/empty", CANDLES)}
        for _ in range(3):  # in turn, so that both see the same neighbours
            for path, found in rates.items():
                found.append(rate(port, path, seconds=seconds))
        per_second = {path: median(found) for path, found in rates.items()}
        show("empty view, requests a second", per_second["/empty"])
        show("1,000 candles as JSON, requests a second", per_second[CANDLES])
        show("  share of the empty view's rate", per_second[CANDLES] / per_second["/empty"], limit="0.6")
        # Once to fill the store's cache, which has a cap of its own: what is left is what a download takes.
        for format_ in ("csv", "csv", "parquet"):
            download(port, pid, rows=rows, format_=format_)


if __name__ == "__main__":
    main()
