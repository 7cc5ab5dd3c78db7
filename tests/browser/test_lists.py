"""Checks 19 and 22 to 25: filters as addresses, numbers that add up, downloads, and everything that goes wrong."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Opener, Watcher, ready_chart
from tests.browser.stack import Stack
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

HOSTILE = "<script>alert(1)</script>"


def ids(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('#results [data-signal-id]')].map((row) => row.dataset.signalId)"
    )
    return found


@pytest.fixture
def scriptless(browser: Browser, site: Stack) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


def test_check_19_filters_live_in_the_address(open_page: Opener, site: Stack, scriptless: Page) -> None:
    page = open_page(site, "/web/signals")
    page.locator("html[data-ready]").wait_for(state="attached")
    everything = ids(page)
    with page.expect_response(lambda answer: "kind=SWEEP" in answer.url):
        page.locator("label.toggle", has_text="Sweep").click()
    page.wait_for_url("**kind=SWEEP**")
    with page.expect_response(lambda answer: "timeframe=1h" in answer.url):
        page.get_by_label("Timeframe").select_option("1h")
    page.wait_for_url("**timeframe=1h**")
    filtered = ids(page)
    assert filtered
    assert filtered != everything
    other = open_page(site, page.url.removeprefix(site.url))
    assert ids(other) == filtered
    scriptless.goto(page.url)
    told = scriptless.locator("#results [data-signal-id]")
    assert [each.get_attribute("data-signal-id") for each in told.all()] == filtered
    page.go_back()
    page.wait_for_url(lambda url: "timeframe=1h" not in url)
    expect(page.get_by_label("Timeframe")).to_have_value("")
    assert ids(page) != filtered
    page.locator("html[data-ready]").wait_for(state="attached")
    page.locator("#results [data-signal-id] [data-main]").first.click()
    expect(page.locator("#drawer")).to_be_visible()


def test_without_scripts_every_list_filter_form_and_download_works(scriptless: Page, site: Stack) -> None:
    page = scriptless
    page.goto(f"{site.url}/web/signals")
    page.get_by_label("Direction").select_option("1")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page).to_have_url(re.compile("direction=1"))
    page.get_by_role("link", name="Next page").click()
    expect(page).to_have_url(re.compile("cursor="))
    row = page.locator("#results tr[data-row] a").first
    symbol = row.inner_text()
    row.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(symbol)
    page.goto(f"{site.url}/web/settings")
    page.get_by_label("Time zone").select_option("Asia/Tokyo")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("[data-zone]")).to_have_text("Asia/Tokyo")
    page.goto(f"{site.url}/web/scanner")
    page.get_by_label("Timeframe").select_option("1h")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(4)
    page.goto(f"{site.url}/web/backtest")
    page.get_by_role("button", name="Show its fields").click()
    expect(page.get_by_role("form", name="New run")).to_be_visible()
    page.goto(f"{site.url}/web/")
    page.get_by_role("button", name="Watch BTCUSDT").click()
    expect(page.get_by_role("button", name="Watch BTCUSDT")).to_have_attribute("aria-pressed", "true")
    answer = page.context.request.get(f"{site.url}/api/v1/signals/?limit=5&format=csv")
    assert answer.ok
    assert len(answer.text().splitlines()) == 6


def test_check_22_the_numbers_of_a_run_add_up(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/backtest/1")
    told = " ".join(page.get_by_test_id("metric-card").all_inner_texts())
    assert not any(word in told for word in ("NaN", "Infinity", "None"))
    result = site.folder / "data" / "backtests" / "1"
    metrics = json.loads((result / "metrics.json").read_text())
    trades = list(csv.DictReader(io.StringIO((result / "trades.csv").read_text())))
    closed = [each for each in trades if each["exit_reason"] not in ("", "end_of_data", "open")]
    expect(page.locator('[data-metric="return_pct"]')).to_contain_text(f"{abs(metrics['return_pct']):,.2f}")
    assert len(closed) >= metrics["trades"] - 1
    equity = [float(row["equity"]) for row in csv.DictReader(io.StringIO((result / "equity.csv").read_text()))]
    peak, deepest = -math.inf, 0.0
    for value in equity:
        peak = max(peak, value)
        deepest = max(deepest, 100 * (1 - value / peak))
    assert deepest == pytest.approx(metrics["max_drawdown_pct"], abs=0.01)
    expect(page.locator('[data-metric="max_drawdown_pct"]')).to_contain_text(f"{deepest:.2f}")
    expect(page.get_by_role("img", name="Equity and drawdown chart")).to_be_visible()


def test_a_run_without_trades_says_so(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/backtest/4")
    expect(page.get_by_test_id("metric-card")).to_have_count(8)
    text = page.locator("main").inner_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    expect(page.locator("main")).to_contain_text("No trade in this run")


def test_the_fields_of_a_random_run_follow_the_compared_strategy(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/backtest?from=2026-01-02T12:15:00Z")
    form = page.get_by_role("form", name="New run")
    form.get_by_label("Strategy", exact=True).select_option("random")
    compared = form.get_by_label("Compared")
    compared.select_option("fvg_retest")
    expect(form.get_by_label("TTL bars")).to_be_visible()
    compared.select_option("breakout")
    expect(form.get_by_label("Stop ATR")).to_be_visible()
    expect(form.get_by_label("From")).to_have_value("2026-01-02T12:15")


def test_a_field_that_has_just_come_answers_from_its_first_moment(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/backtest?from=2026-01-02T12:15:00Z")
    form = page.get_by_role("form", name="New run")
    page.evaluate(
        """() => new MutationObserver((_, observer) => {
            const compared = document.querySelector("#id_compared");
            if (!compared) return;
            observer.disconnect();
            compared.value = "fvg_retest";
            compared.dispatchEvent(new Event("change", { bubbles: true }));
        }).observe(document.body, { childList: true, subtree: true })"""
    )
    form.get_by_label("Strategy", exact=True).select_option("random")
    expect(form.get_by_label("TTL bars")).to_be_visible()


def test_check_23_compare_shows_curves_differences_and_warnings(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/backtest")
    page.get_by_role("checkbox", name="Compare run 1", exact=True).check()
    page.get_by_role("checkbox", name="Compare run 3", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("img", name="Equity chart of 2 runs")).to_be_visible()
    expect(page.get_by_text("different pairs or timeframes")).to_be_visible()
    expect(page.get_by_role("row", name="strategy")).to_contain_text("sweep_reversal")


def test_check_23_a_trade_opens_on_the_chart(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/backtest/1?tab=trades")
    page.get_by_role("table", name="Trades").locator("tr[data-trade]").nth(2).locator("td").nth(3).click()
    page.wait_for_url("**/web/chart/BTCUSDT/5m?run=1#t=3")
    ready_chart(page)
    trade = site.get("/api/v1/backtests/1/trades/?limit=3")["results"][2]
    told = page.evaluate(
        """() => { const { layer, bars, host } = window.chartPage.view;
          const [from, to] = [host.dataset.visibleFrom, host.dataset.visibleTo].map(Number);
          return { entry: bars[layer.trade.from].time, price: layer.trade.entry, from, to }; }"""
    )
    assert told["price"] == trade["entry_price"]
    assert told["entry"] == round(datetime.fromisoformat(trade["entry_time"]).timestamp())
    assert told["from"] <= told["entry"] <= told["to"]


def test_check_25_unknown_symbol_suggests_near_ones(open_page: Opener, site: Stack, watcher: Watcher) -> None:
    watcher.allowed = ["404 (Not Found)"]
    page = open_page(site, "/web/chart/BTCUSD/15m")
    expect(page.get_by_role("alert")).to_contain_text("unknown symbol", ignore_case=True)
    page.get_by_role("link", name="BTCUSDT").click()
    expect(page).to_have_url(f"{site.url}/web/chart/BTCUSDT/15m")


def test_check_25_dead_api_offers_another_try(open_page: Opener, site: Stack, watcher: Watcher) -> None:
    watcher.allowed = ["ERR_FAILED"]
    page = open_page(
        site, "/web/chart/BTCUSDT/15m", before=lambda page: page.route("**/api/v1/**", lambda route: route.abort())
    )
    note = page.locator("#chart-note")
    expect(note).to_contain_text("could not be loaded")
    expect(page.get_by_role("table", name="Events")).to_be_visible()
    page.unroute("**/api/v1/**")
    note.get_by_role("button", name="Try again").click()
    ready_chart(page)
    expect(note).to_be_hidden()


def test_check_25_failed_part_leaves_the_page_standing(open_page: Opener, site: Stack, watcher: Watcher) -> None:
    watcher.allowed = ["500 (Internal", "Response Status Error Code 500"]
    page = open_page(site, "/web/signals")
    page.locator("html[data-ready]").wait_for(state="attached")
    page.route(
        "**/web/signals?*", lambda route: route.fulfill(status=500, headers={"X-Request-ID": "abc12345"}, body="x")
    )
    page.get_by_label("Timeframe").select_option("1h")
    expect(page.locator("#toasts")).to_contain_text("abc12345")
    expect(page.locator("#results")).to_be_visible()


@pytest.mark.parametrize(
    "path",
    [
        "/web/chart/{}/15m",
        "/web/search?q={}",
        "/web/signals?symbol={}",
        "/web/scanner?q={}",
        "/web/backtest?strategy={}",
    ],
)
def test_check_25_hostile_text_is_only_text(open_page: Opener, site: Stack, watcher: Watcher, path: str) -> None:
    from urllib.parse import quote

    watcher.allowed = ["(Not Found)", "(Unprocessable", "(Bad Request)"]
    page = open_page(site, path.format(quote(HOSTILE, safe="")))
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("() => [...document.scripts].some((each) => each.textContent.includes('alert(1)'))") is False


def test_check_24_downloads_hold_the_same_rows(open_page: Opener, site: Stack) -> None:
    import pyarrow.parquet as pq

    page = open_page(site, "/web/signals?symbol=BTCUSDT&timeframe=4h")
    group = page.get_by_role("group", name="Download")
    told: dict[str, Any] = {}
    for name in ("CSV", "Parquet"):
        with page.expect_download() as download:
            group.get_by_role("link", name=name).click()
        told[name] = download.value.path()
    rows = list(csv.DictReader(io.StringIO(told["CSV"].read_text())))
    with pq.ParquetFile(told["Parquet"]) as file:
        table = file.read().to_pylist()
    answer = page.context.request.get(
        f"{site.url}{group.get_by_role('link', name='JSON').get_attribute('href')}"
    ).json()
    assert len(rows) == len(table)
    assert [row["id"] for row in rows] == [row["id"] for row in table]
    assert [row["id"] for row in answer["results"]] == [row["id"] for row in rows][: len(answer["results"])]
    assert all(row["confirm_time"].endswith("Z") for row in rows)


# Notes every text that a canvas is told to write.
WRITTEN = """() => {
  window.written = new Set();
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    window.written.add(text);
    return fillText.call(this, text, ...rest);
  };
}"""


def test_a_drawdown_is_drawn_in_percent_below_an_equity_in_money(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/backtest/1", before=lambda page: page.add_init_script(f"({WRITTEN})()"))
    written = "() => [...window.written].join('|')"
    eventually(lambda: " %" in page.evaluate(written), seconds=30)
    told = page.evaluate(written).split("|")
    assert any(re.fullmatch(r"\u2212\d+\.\d %", text) for text in told), told
    assert any(re.fullmatch(r"\d+,\d{3}\.\d\d", text) for text in told), told
