"""Checks 1, 20 and 21, and a web server that is killed: the whole service, as ``make run`` starts it."""

import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from markets.candles import Candles
from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Source
from tests.browser.conftest import Opener, Watcher
from tests.browser.stack import Stack, running
from tests.factories import walk
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.processes]


@pytest.fixture(scope="module")
def live() -> Iterator[Stack]:
    """One pair and two timeframes: what a newcomer sees of three pairs and seven, in a tenth of the work."""
    with running("serve", MARKET_SOURCE="replay", SYMBOLS="BTCUSDT", TIMEFRAMES="1m,15m", HISTORY_DAYS="1") as stack:
        yield stack


def pids(live: Stack, role: str) -> list[int]:
    return [each["pid"] for each in live.get("/api/v1/status")["processes"] if each["role"] == role]


@contextmanager
def frozen(live: Stack, role: str) -> Iterator[None]:
    """Let the processes of a role stand still, so that what they would do has not happened yet."""
    found = pids(live, role)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def signal_ids(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('[data-signal-id]')].map((row) => row.dataset.signalId)"
    )
    return found


def test_check_01_from_nothing_to_live_signals(open_page: Opener, live: Stack) -> None:
    """Everything as it is started for a newcomer: onboarding, the banner, then signals without a reload."""
    page = open_page(live, "/", cookies={"smc_intro": ""})
    expect(page).to_have_url(f"{live.url}/web/")
    expect(page.get_by_test_id("onboarding")).to_be_visible()
    expect(page.locator("[data-banner=replay]")).to_contain_text("Synthetic market")
    expect(page.get_by_test_id("signal-row").first).to_be_visible(timeout=180_000)
    expect(page.get_by_role("status", name="Connection")).to_contain_text("Live", timeout=120_000)
    first = page.get_by_test_id("signal-row").first.get_attribute("data-signal-id")
    page.mouse.move(1, 1)
    eventually(
        lambda: page.get_by_test_id("signal-row").first.get_attribute("data-signal-id") != first, seconds=120, every=0.2
    )
    ids = signal_ids(page)
    assert len(ids) == len(set(ids))


def test_a_web_server_that_is_killed_is_found_again(open_page: Opener, live: Stack, watcher: Watcher) -> None:
    watcher.allowed = ["WebSocket", "net::ERR_", "htmx:sendError"]
    page = open_page(live, "/web/")
    pill = page.get_by_role("status", name="Connection")
    expect(pill).to_contain_text("Live", timeout=120_000)
    (web,) = pids(live, "web")
    os.kill(web, signal.SIGKILL)
    expect(pill).to_contain_text("Reconnecting")
    expect(pill).to_contain_text("Live", timeout=120_000)
    assert pids(live, "web") != [web]
    ids = signal_ids(page)
    assert len(ids) == len(set(ids))


def open_form(open_page: Opener, live: Stack) -> tuple[Page, Locator]:
    """Return the page of backtests and its form, once there are candles to run on."""
    eventually(live.has_history, seconds=180, every=0.2)
    page = open_page(live, "/web/backtest")
    return page, page.get_by_role("form", name="New run")


def start(page: Page, form: Locator, note: str) -> Locator:
    """Start a run with a note of its own; return its row."""
    form.locator("#id_note").fill(note)
    form.get_by_role("button", name="Run").click()
    row = page.get_by_test_id("run-row").filter(has_text=note)
    expect(row).to_have_count(1)
    return row


def store_many(live: Stack) -> SeriesKey:
    """Store 35,000 candles of a timeframe that is not followed, as an import would."""
    series, made = SeriesKey("BTCUSDT", Timeframe.M5), walk(20, 35_000, timeframe=Timeframe.M5)
    raised = Candles(
        made.open_time, made.open + 1_000, made.high + 1_000, made.low + 1_000, made.close + 1_000, made.volume
    )
    CandleStore(live.folder / "data" / "demo").merge(series, raised, source=Source.FILE)
    return series


@contextmanager
def reporting(live: Stack, number: str) -> Iterator[Callable[[float, str, float], None]]:
    """Yield what reports the progress of a job as its worker would; the job waits again in the end.

    A run of 35,000 candles is over before anyone has seen how far it is.
    """

    def write(**values: Any) -> None:
        with sqlite3.connect(live.folder / "data" / "demo" / "db.sqlite3", timeout=30) as database:
            names = ", ".join(f"{name} = :{name}" for name in values)
            told = {"number": int(number), "now": datetime.now(UTC).isoformat(" "), **values}
            database.execute(f"UPDATE markets_job SET {names}, heartbeat_at = :now WHERE id = :number", told)  # noqa: S608
        database.close()

    yield lambda fraction, stage, eta: write(state="running", progress=fraction, stage=stage, eta_seconds=eta)
    write(state="queued", progress=0.0, stage="", eta_seconds=None)


def test_check_20_a_run_with_the_usual_values_is_followed_to_its_result(open_page: Opener, live: Stack) -> None:
    series = store_many(live)
    page, form = open_form(open_page, live)
    form.locator("#id_timeframe").select_option(series.timeframe.value)
    expect(form.locator("#estimate")).to_contain_text("35,000 candles")
    with frozen(live, "worker"):
        row = start(page, form, "the usual values")
        number = row.get_attribute("data-job") or ""
        expect(row.get_by_role("progressbar")).to_have_js_property("value", 0)
        with reporting(live, number) as report:
            for fraction, stage, eta, told in ((0.2, "trading", 8.0, "ETA 8 s"), (0.6, "measuring", 3.0, "ETA 3 s")):
                report(fraction, stage, eta)
                expect(row.get_by_role("progressbar")).to_have_js_property("value", round(100 * fraction))
                expect(row).to_contain_text(stage)
                expect(row).to_contain_text(told)
    expect(row).to_have_attribute("data-state", "done", timeout=120_000)
    row.locator("a.run-name").click()
    expect(page.get_by_test_id("metric-card")).to_have_count(8)
    expect(page.get_by_role("img", name="Equity and drawdown chart")).to_be_visible()
    toggle, legend = page.get_by_role("button", name="Monte Carlo bands"), page.get_by_text("drawn anew in blocks")
    for is_shown in (True, False):
        toggle.click()
        expect(toggle).to_have_attribute("aria-pressed", str(is_shown).lower())
        expect(legend).to_be_visible(visible=is_shown)


def test_check_23_a_sweep_is_made_with_the_form_and_its_cell_opens_the_form(
    open_page: Opener, live: Stack, watcher: Watcher
) -> None:
    watcher.allowed = ["422 (Unprocessable"]
    page, form = open_form(open_page, live)
    summary = form.locator("summary", has_text="Sweep")
    summary.focus()
    page.keyboard.press("Enter")
    form.get_by_label("First parameter").select_option("stop_atr")
    form.get_by_label("Values of the first").fill("1:2:0.5")
    form.get_by_label("Second parameter").select_option("stop_atr")
    form.get_by_label("Values of the second").fill("1, 2")
    form.get_by_role("button", name="Run").click()
    second = form.get_by_label("Second parameter")
    expect(second).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Values of the first")).to_have_value("1:2:0.5")
    second.select_option("target_r")
    expect(form.locator("#estimate")).to_contain_text("Sweep of 6 runs")
    form.get_by_role("button", name="Run").click()
    page.wait_for_url("**/web/backtest/sweep/*")
    expect(page.locator("main [data-job]")).to_have_attribute("data-state", "done", timeout=120_000)
    expect(page.locator("td.heat a")).to_have_count(6)
    page.locator("td.heat a").last.click()
    expect(form.get_by_label("Stop ATR", exact=True)).to_have_value("2.0")
    expect(form.get_by_label("Target R", exact=True)).to_have_value("2.0")


def test_an_estimate_follows_a_choice_made_while_the_one_before_is_on_its_way(open_page: Opener, live: Stack) -> None:
    series = store_many(live)
    page, form = open_form(open_page, live)
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/web/backtest/estimate*", hold_first)
    page.reload()
    # The browser hands requests over only while it is asked something.
    eventually(lambda: page.evaluate("() => 1") and held)
    form.locator("#id_timeframe").select_option(series.timeframe.value)
    expect(form.locator("#estimate")).to_contain_text("35,000 candles")


def ask(live: Stack, path: str, **body: Any) -> int:
    """Ask the API for a job; return its number."""
    request = Request(  # noqa: S310 - our own server
        live.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=20) as answer:  # noqa: S310
        number: int = json.load(answer)["id"]
    return number


def test_check_21_what_runs_long_is_followed_over_a_reload_and_cancelled(open_page: Opener, live: Stack) -> None:
    """A sweep of 900 runs over 35,000 candles: it takes far longer than all that is done to it here."""
    eventually(live.has_history, seconds=180, every=0.2)
    series = store_many(live)
    axes = {"stop_atr": [1 + i / 10 for i in range(60)], "target_r": [1 + i / 10 for i in range(15)]}
    number = ask(live, "/api/v1/sweeps/", symbol=series.symbol, timeframe=series.timeframe.value, axes=axes)
    page = open_page(live, f"/web/backtest/sweep/{number}")
    job, seen = page.locator(f"#job-{number}"), set()

    def moves() -> bool:
        seen.add(page.evaluate("() => document.querySelector('main progress')?.value"))
        return len(seen - {None}) >= 2

    expect(job).to_have_attribute("data-state", "running", timeout=120_000)
    eventually(moves, seconds=60, every=0.1)
    expect(job).to_contain_text("ETA")
    page.reload()
    expect(job).to_have_attribute("data-state", "running")
    assert page.evaluate("() => document.querySelector('main progress').value") >= min(seen - {None})
    job.get_by_role("button", name=f"Cancel job {number}").hover()
    page.mouse.down()
    for _ in range(2):
        with page.expect_response(f"**/web/backtest/sweep/{number}"):
            pass
    page.mouse.up()
    expect(job).to_have_attribute("data-state", "cancelled")
    expect(job).not_to_contain_text("60 of 60")
    following = ask(live, "/api/v1/backtests/", symbol="BTCUSDT", timeframe="15m")
    eventually(lambda: live.get(f"/api/v1/backtests/{following}/")["state"] == "done", seconds=120, every=0.2)


def test_check_21_a_run_survives_a_reload_and_can_be_cancelled(
    open_page: Opener, live: Stack, watcher: Watcher
) -> None:
    watcher.allowed = ["422 (Unprocessable"]
    page, form = open_form(open_page, live)
    with frozen(live, "worker"):
        row = start(page, form, "the one to cancel")
        number = row.get_attribute("data-job")
        page.reload()
        expect(row).to_have_attribute("data-job", number or "")
        expect(row.get_by_role("progressbar")).to_be_visible()
        row.get_by_role("button", name=f"Cancel job {number}").click()
        expect(row).to_have_attribute("data-state", "cancelled")
        following = start(page, form, "the next one")
    expect(following).to_have_attribute("data-state", "done", timeout=120_000)
    expect(row).to_have_attribute("data-state", "cancelled")

    form.locator("#id_from").fill("2026-01-02")
    form.locator("#id_to").fill("2026-01-01")
    form.get_by_role("button", name="Run").click()
    expect(form.locator("#id_to")).to_have_attribute("aria-invalid", "true")
    expect(form.locator("#id_from")).to_have_value("2026-01-02")
