"""How fast the pages are: ``python benchmarks/web.py [--quick]``.

A web process as in service serves three pairs, seven timeframes and one year of candles with all their signals. Page
times are those of a client on this machine that keeps its connection. What the dashboard and the list of signals ask
for is measured with forty pairs too, as their cost grows with the number of series. The paint of pages and the
panning of the chart are measured in Chromium, where it is installed; it draws without a graphics card here.
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._browser import PAINT, PANNING, RUN
from benchmarks._client import milliseconds
from benchmarks._markets import swinging_walk
from benchmarks._service import ROOT, TIMEFRAMES, await_port, broker, variables
from benchmarks._table import show, show_head
from benchmarks._timing import seconds_of
from markets.series import SeriesKey, Timeframe
from smcsite.embedded import free_port

PAIRS = {"BTCUSDT": 60_000.0, "ETHUSDT": 2_400.0, "BNBUSDT": 550.0}
RUNS = 60
SCANNED, SCANNED_CANDLES = 400, 1_000
MANY, MANY_DAYS = 40, 30
LIMIT = "60"
PAGES = (
    "/web/", "/web/chart/BTCUSDT/15m", "/web/signals", "/web/signals?symbol=BTCUSDT&kind=FVG&status=active",
    "/web/scanner", "/web/backtest", "/web/backtest/1", "/web/backtest/1?tab=trades", "/web/pairs", "/web/data",
    "/web/status", "/web/settings", "/web/help", "/web/search?q=usd",
)  # fmt: skip


def seed(days: int) -> None:
    """Fill the folder that the environment names: candles, signals, runs."""
    import django  # noqa: PLC0415 - this process alone writes

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    from backtests.engine.spec import BacktestSpec  # noqa: PLC0415
    from backtests.models import Backtest  # noqa: PLC0415
    from backtests.services.running import run_now  # noqa: PLC0415
    from signals.selectors import SignalFilter, summary  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    store_pairs(PAIRS, days)
    found = summary(SignalFilter())
    print(f"{days} days of {len(PAIRS)} pairs and {len(TIMEFRAMES)} timeframes: {found['total']:,} signals", flush=True)
    run_now(BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1h"}))
    Backtest.objects.update(is_quick=False)
    run = Backtest.objects.get()
    names = ("kind", "state", "spec", "result", "symbol", "timeframe", "strategy", "start", "end", "folder")
    for _ in range(RUNS - 1):
        Backtest(**{name: getattr(run, name) for name in names}).save()


def store_pairs(prices: dict[str, float], days: int) -> None:
    """Store candles of every timeframe for each pair; the process must know the folder."""
    from markets.selectors import candle_store  # noqa: PLC0415
    from markets.services.pairs import ensure_series  # noqa: PLC0415
    from markets.store import Source  # noqa: PLC0415

    for number, (symbol, price) in enumerate(prices.items()):
        for name in TIMEFRAMES:
            series = SeriesKey(symbol, Timeframe(name))
            ensure_series(series, is_active=True)
            step = series.timeframe.milliseconds
            made = swinging_walk(days * 86_400_000 // step, price=price, step=step, seed=number)
            candle_store().merge(series, made, source=Source.ARCHIVE)


def look_at_many() -> None:
    """Show how long the parts take that look at every series, with many of them."""
    import django  # noqa: PLC0415

    django.setup()
    from django.conf import settings  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    from signals.selectors import SignalFilter, signal_log, signals, summary  # noqa: PLC0415
    from smcsite.dashboard import market  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    store_pairs({f"S{number:02}USDT": 100.0 for number in range(MANY)}, MANY_DAYS)
    what = f"{MANY} pairs, {MANY_DAYS} days"
    show(f"dashboard's market of {what}, ms", 1000 * seconds_of(market), limit=LIMIT)
    show(f"signals of {what}: first page, ms", 1000 * seconds_of(lambda: signals(SignalFilter())), limit=LIMIT)
    show("  held in memory, MB", signal_log(settings.DATA_ROOT).nbytes / 1e6, limit="20")
    show("  summary, ms", 1000 * seconds_of(lambda: summary(SignalFilter())), limit="300")


def scan_many() -> None:
    """Show how long a ranking of many pairs takes, read from disk."""
    import django  # noqa: PLC0415

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    from markets.selectors import candle_store  # noqa: PLC0415
    from markets.services.pairs import ensure_series  # noqa: PLC0415
    from markets.store import Source  # noqa: PLC0415
    from scanner.selectors import scan  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    step = Timeframe.M15.milliseconds
    for number in range(SCANNED):
        series = SeriesKey(f"S{number:03}USDT", Timeframe.M15)
        ensure_series(series, is_active=True)
        made = swinging_walk(SCANNED_CANDLES, price=100.0, step=step, seed=number)
        candle_store().merge(series, made, source=Source.FILE)
    taken = seconds_of(lambda: scan(Timeframe.M15), rounds=3)
    found = scan(Timeframe.M15)
    if len(found.measured) != SCANNED or found.skipped:
        raise SystemExit(f"{len(found.measured)} of {SCANNED} pairs were measured: {found.skipped[:1]}")
    show(f"scan of {SCANNED} pairs, {SCANNED_CANDLES:,} candles each, s", taken, limit="1.5")
    show("  again, nothing changed, s", seconds_of(lambda: scan(Timeframe.M15, former=found)), limit="0.3")


@contextlib.contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Yield the variables of a service in a folder of its own, its broker running."""
    with tempfile.TemporaryDirectory(prefix="smc-bench-") as name, broker(Path(name)) as redis_url:
        yield variables(Path(name), REDIS_URL=redis_url, RATE_LIMIT="1000000/s")


def run_self(around: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, __file__, *arguments], cwd=ROOT, env=around, check=True)


@contextlib.contextmanager
def service(around: dict[str, str]) -> Iterator[int]:
    """A web process, and a worker for backtests; yields the port."""
    port = free_port()
    celery = [sys.executable, "-m", "celery", "--quiet", "-A", "smcsite", "worker", "--queues", "backtest"]
    commands = [[sys.executable, "-m", "smcsite.web"], [*celery, "--concurrency", "1"]]
    running = [subprocess.Popen(each, cwd=ROOT, env={**around, "API_PORT": str(port)}) for each in commands]
    try:
        await_port(port)
        yield port
    finally:
        for each in running:
            each.terminate()
        for each in running:
            each.wait(20)


def show_pages(port: int, *, times: int) -> None:
    for path in PAGES:
        taken = milliseconds(port, path, times=times)
        show(f"{path}, ms, median", median(taken), limit=LIMIT)
        show("  p95", quantiles(taken, n=20)[-1])


def show_browser(url: str, *, days: int, times: int) -> None:
    """Show what Chromium says of the dashboard and of the chart, each time with an empty cache."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        print("Chromium is not installed; what it would tell is left out")
        return
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        for path, limit in (("/web/", "1500"), ("/web/chart/BTCUSDT/15m", "2500")):
            told = []
            for _ in range(times):
                context = browser.new_context(viewport={"width": 1440, "height": 900})
                page = context.new_page()
                page.goto(url + path, wait_until="networkidle")
                told.append(page.evaluate(PAINT))
                context.close()
            show(f"{path}, largest contentful paint, ms, median", median(each["paint"] for each in told), limit=limit)
            show("  layout shift, the worst", max(each["shift"] for each in told), limit="0.05")
            show("  weight without the chart library, kB", max(each["weight"] for each in told) / 1000, limit="120")
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{url}/web/chart/BTCUSDT/15m")
        page.locator("html[data-chart=ready]").wait_for(state="attached")
        panned = page.evaluate(PANNING, 120)
        show("pan over 20,000 candles, 10,000 zones: frames a second", 1000 / panned["median"], limit=">30")
        show("  ms of a frame that are ours", panned["own"])
        show_run(browser.new_page(), url, candles=days * 96)
        browser.close()


def show_run(page: Any, url: str, *, candles: int) -> None:
    """Show how a backtest over all quarter hours there are, started from the page, comes to its end."""
    told: list[dict[str, Any]] = []
    for _ in range(2):  # the worker's first run is its slowest
        page.goto(f"{url}/web/backtest")
        page.locator(f"#estimate:has-text('{candles:,} candles')").wait_for()
        told.append(page.evaluate(RUN))
    show(f"backtest of {candles:,} candles from the page: row, ms", max(each["row"] for each in told), limit="300")
    show("  done, s", max(each["done"] for each in told) / 1000, limit="10")
    show("  states of its row seen, the fewest", min(len(each["seen"]) for each in told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a month instead of a year, fewer rounds")
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--many", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scan", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seed:
        seed(options.seed)
        return
    if options.many:
        look_at_many()
        return
    if options.scan:
        scan_many()
        return
    with environment() as around:
        days = 30 if options.quick else 365
        run_self(around, "--seed", str(days))
        show_head()
        with service(around) as port:
            show_pages(port, times=20 if options.quick else 100)
            show_browser(f"http://127.0.0.1:{port}", days=days, times=3 if options.quick else 5)
    for case in ("--many", "--scan"):
        with environment() as around:
            run_self(around, case)


if __name__ == "__main__":
    main()
