"""Checks 8 to 14: the chart shows what the API says, in every zone, and forgets nothing on the way."""

import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks._browser import PANNING
from tests.browser.conftest import FULL, Opener, ready_chart
from tests.browser.seeding import LAST_TIME, STEP
from tests.browser.stack import Stack
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

CHART = "/web/chart/BTCUSDT/15m"


def painted(page: Page) -> list[str]:
    """Return a digest of each canvas of the chart, as it is painted now."""
    page.mouse.move(2, 2)
    settle(page)
    digests: list[str] = page.evaluate(
        """async () => Promise.all([...document.querySelectorAll('#chart canvas')].map(async (each) => {
          const copy = new OffscreenCanvas(each.width || 1, each.height || 1);
          const context = copy.getContext('2d', { willReadFrequently: true });
          if (each.width && each.height) context.drawImage(each, 0, 0);
          const { data } = context.getImageData(0, 0, copy.width, copy.height);
          const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
          return Array.from(digest.slice(0, 8), (byte) => byte.toString(16)).join(' ');
        }))"""
    )
    return digests


def settle(page: Page) -> None:
    """Wait for two frames, so that what was asked for is painted."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def state(page: Page, expression: str) -> Any:
    return page.evaluate(f"() => window.chartPage.{expression}")


def test_a_link_to_a_moment_long_ago_shows_that_moment(open_page: Opener, site: Stack) -> None:
    """Three thousand bars back: more than the newest that are loaded first."""
    moment = (LAST_TIME - 3_000 * STEP) // 1_000
    page = open_page(site, f"/web/chart/BTCUSDT/5m?as_of={text_of(moment)}")
    ready_chart(page)
    assert state(page, "view.bars.length") > 100
    assert state(page, "view.bars.at(-1).time") == moment - STEP // 1_000


def test_a_link_that_was_copied_shows_what_it_showed(open_page: Opener, site: Stack) -> None:
    start, end = ((LAST_TIME - back * STEP) // 1_000 for back in (2_000, 1_900))
    page = open_page(site, f"/web/chart/BTCUSDT/5m?from={text_of(start)}&to={text_of(end)}")
    ready_chart(page)
    settle(page)
    shown = page.locator("#chart")
    assert abs(int(shown.get_attribute("data-visible-from") or 0) - start) <= 2 * STEP // 1_000
    assert abs(int(shown.get_attribute("data-visible-to") or 0) - end) <= 2 * STEP // 1_000


def text_of(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def test_check_08_chart_draws_candles_zones_and_structure(open_page: Opener, site: Stack) -> None:
    page = open_page(site, CHART)
    ready_chart(page)
    share = page.evaluate(
        """() => {
          const area = (each) => each.width * each.height;
          const canvas = [...document.querySelectorAll('#chart canvas')].sort((a, b) => area(b) - area(a));
          let drawn = 0, all = 0;
          for (const each of canvas.slice(0, 2)) {
            const data = each.getContext('2d').getImageData(0, 0, each.width, each.height).data;
            for (let i = 0; i < data.length; i += 4) {
              all += 1;
              const away = Math.abs(data[i] - 16) + Math.abs(data[i + 1] - 20) + Math.abs(data[i + 2] - 28);
              if (data[i + 3] && away > 12) drawn += 1;
            }
          }
          return drawn / all;
        }"""
    )
    assert share > 0.05
    assert state(page, "view.layer.shapes.zones.length") >= 1
    table = page.get_by_role("table", name="Events")
    expect(
        table.get_by_role("row").filter(has_text="CHoCH").or_(table.get_by_role("row").filter(has_text="BOS")).first
    ).to_be_visible()
    expect(page.get_by_role("link", name="TradingView, Inc.")).to_be_visible()


def test_check_09_overlays_toggle_and_stay(open_page: Opener, site: Stack) -> None:
    page = open_page(site, CHART)
    ready_chart(page)
    group = page.get_by_role("group", name="Overlays")
    usual = painted(page)
    for name in ("Structure", "Blocks", "FVG"):
        button = group.get_by_role("button", name=name)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "false")
        assert painted(page) != usual, name
        expect(page).to_have_url(re.compile("ov="))
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        assert painted(page) == usual, name
    group.get_by_role("button", name="FVG").click()
    page.reload()
    ready_chart(page)
    expect(group.get_by_role("button", name="FVG")).to_have_attribute("aria-pressed", "false")


def test_check_10_timeframe_by_click_key_and_back(open_page: Opener, site: Stack) -> None:
    page = open_page(site, CHART)
    ready_chart(page)
    before = page.locator("#chart").get_attribute("data-visible-from")
    with page.expect_response(lambda answer: "/api/v1/candles/" in answer.url and "timeframe=1h" in answer.url):
        page.get_by_role("radiogroup", name="Timeframe").get_by_role("radio", name="1h").click()
    expect(page).to_have_url(f"{site.url}/web/chart/BTCUSDT/1h")
    expect(page.get_by_role("radio", name="1h")).to_have_attribute("aria-checked", "true")
    with page.expect_response(lambda answer: "/api/v1/candles/" in answer.url and "timeframe=30m" in answer.url):
        page.keyboard.press("3")
    expect(page).to_have_url(f"{site.url}/web/chart/BTCUSDT/30m")
    page.go_back()
    expect(page.get_by_role("radio", name="1h")).to_have_attribute("aria-checked", "true")
    page.go_back()
    expect(page.get_by_role("radio", name="15m", exact=True)).to_have_attribute("aria-checked", "true")
    expect(page.locator("#chart")).to_have_attribute("data-visible-from", before or "")


def test_check_12_legend_api_and_csv_have_the_same_numbers(open_page: Opener, site: Stack) -> None:
    page = open_page(site, CHART)
    ready_chart(page)
    newest = site.get("/api/v1/candles/?symbol=BTCUSDT&timeframe=15m&limit=1")["results"][0]
    told = page.get_by_test_id("legend").inner_text().replace(",", "").split()
    numbers = dict(zip(told[0:8:2], told[1:8:2], strict=True))
    text = page.context.request.get(
        f"{site.url}/api/v1/candles/?symbol=BTCUSDT&timeframe=15m&limit=1&format=csv"
    ).text()
    row = next(csv.DictReader(io.StringIO(text)))
    for letter, name in zip("OHLC", ("open", "high", "low", "close"), strict=True):
        assert numbers[letter] == f"{newest[name]:.2f}"
        assert float(row[name]) == newest[name]


def sees(host: Locator, moment: int) -> bool:
    """Say whether a moment is within what the chart shows."""
    first, last = (int(host.get_attribute(f"data-visible-{each}") or 0) for each in ("from", "to"))
    return first <= moment <= last


def test_check_13_signal_rows_lead_to_their_bar(open_page: Opener, site: Stack) -> None:
    page = open_page(site, CHART)
    ready_chart(page)
    row = page.get_by_role("table", name="Events").locator("tr[data-sig]").nth(20)
    signal = row.get_attribute("data-sig") or ""
    row.locator("td").last.click()
    expect(page).to_have_url(f"{site.url}{CHART}#sig={signal}")
    event = int(signal.split(".")[-2]) // 1000
    host = page.locator("#chart")
    eventually(lambda: sees(host, event), seconds=30, every=0.05)
    settle(page)
    box = page.evaluate(
        """() => { const { layer, host } = window.chartPage.view;
          const hit = layer.hits.find((each) => each.x1 - each.x0 > 20 && each.y1 - each.y0 > 4);
          const at = host.getBoundingClientRect();
          return { x: at.x + (Math.max(hit.x0, 0) + Math.min(hit.x1, 900)) / 2, y: at.y + (hit.y0 + hit.y1) / 2 }; }"""
    )
    page.locator("#chart").scroll_into_view_if_needed()
    page.mouse.move(box["x"], box["y"])
    tip = page.locator("#tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("–")
    page.mouse.click(box["x"], box["y"])
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_be_visible()


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_check_14_zones_agree_and_lose_no_bar(open_page: Opener, site: Stack, zone: str) -> None:
    """Daylight saving ends within the data: two bars read 01:00 in New York, and both are there."""
    page = open_page(site, "/web/chart/BTCUSDT/30m", cookies={"smc_zone": zone.replace("/", "%2F")})
    ready_chart(page)
    answer = site.get("/api/v1/candles/?symbol=BTCUSDT&timeframe=30m&limit=1000")
    times = page.evaluate(BAR_TIMES)
    assert times == [each["open_time"] for each in answer["results"]]
    expect(page.locator("[data-zone]")).to_have_text(zone)
    marks = page.evaluate(
        """async () => { const { tickText } = await import('/static/js/chart_time.js');
          const midnights = window.chartPage.series.bars.filter((bar) => tickText(bar.time, 3) === '00:00');
          return midnights.map((bar) => tickText(bar.time, 2)); }"""
    )
    assert len(marks) == len(set(marks)) > 5
    if zone == "America/New_York":
        twice = page.evaluate(
            """async () => { const { barText } = await import('/static/js/chart_time.js');
              const { bars } = window.chartPage.series;
              return bars.filter((bar) => barText(bar.time).startsWith('01 Nov 2026 01:')).length; }"""
        )
        assert twice == 4


def test_replay_shows_only_what_was_known(open_page: Opener, site: Stack) -> None:
    """The fold of the page and the API's own ``as_of`` agree, signal by signal."""
    page = open_page(site, CHART)
    ready_chart(page)
    page.get_by_role("button", name="Replay").click()
    slider = page.get_by_role("slider", name="As of")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("PageDown")
    moment = state(page, "asOf")
    assert moment is not None
    expect(page).to_have_url(re.compile("as_of="))
    known = page.evaluate(
        """async () => { const { foldTo } = await import('/static/js/smc_shapes.js');
          const { asOf, series } = window.chartPage;
          const first = series.bars[0].time;
          return foldTo(series.signals.values(), asOf, series.step).filter((each) => each.confirm >= first)
            .map((each) => [each.id, each.mitigated, each.filled, each.invalidated].join('|')).sort(); }"""
    )
    first = page.evaluate("() => new Date(window.chartPage.series.bars[0].time * 1000).toISOString()")
    stamp = page.evaluate("() => new Date(window.chartPage.asOf * 1000).toISOString()")
    told, url = [], f"/api/v1/signals/?symbol=BTCUSDT&timeframe=15m&limit=1000&from={first}&as_of={stamp}"
    while url:
        answer = site.get(url)
        told += answer["results"]
        url = (answer["next"] or "").removeprefix(site.url)
    assert known == sorted("|".join([row["id"], *(seconds(row[name]) for name in MARKS)]) for row in told)
    assert page.evaluate("() => window.chartPage.view.bars.at(-1).time + window.chartPage.series.step") == moment
    page.get_by_role("button", name="Now").click()
    assert state(page, "asOf") is None


@pytest.mark.parametrize("back", [None, 2_000])
def test_every_zone_that_is_open_at_the_moment_shown_is_on_the_chart(
    open_page: Opener, site: Stack, back: int | None
) -> None:
    """Those touched already too, and, of the past, those that were filled only later."""
    stamp = "" if back is None else f"&as_of={text_of((LAST_TIME - back * STEP) // 1_000)}"
    page = open_page(site, f"/web/chart/BTCUSDT/5m?{stamp}")
    ready_chart(page)
    drawn = page.evaluate(
        """async () => { const { foldTo } = await import('/static/js/smc_shapes.js'); const page = window.chartPage;
          return foldTo(page.series.signals.values(), page.asOf, page.series.step)
            .filter((each) => ['FVG', 'IFVG', 'OB', 'BREAKER'].includes(each.kind))
            .filter((each) => each.filled === null && each.invalidated === null).map((each) => each.id).sort(); }"""
    )
    url = f"/api/v1/signals/?symbol=BTCUSDT&timeframe=5m&kind=FVG,IFVG,OB,BREAKER&limit=1000{stamp}&status="
    told = [row["id"] for status in ("active", "mitigated") for row in site.get(f"{url}{status}")["results"]]
    assert len(told) > 50
    assert drawn == sorted(told)


@pytest.mark.parametrize("written", ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H"])
def test_a_link_inside_the_page_leaves_the_moment_that_the_address_names(
    open_page: Opener, site: Stack, written: str
) -> None:
    """To those far from Greenwich too: a moment without a zone is UTC."""
    asked = datetime.fromtimestamp((LAST_TIME - 500 * STEP) / 1000 // 3_600 * 3_600, UTC)
    page = open_page(site, f"/web/chart/BTCUSDT/5m?as_of={asked:{written}}", timezone_id="Asia/Kolkata")
    ready_chart(page)
    assert state(page, "asOf") == asked.timestamp()
    page.evaluate("() => { window.moved = 0; addEventListener('popstate', () => { window.moved += 1; }); }")
    page.evaluate("() => { location.hash = 'main'; }")
    page.wait_for_function("() => window.moved === 1")
    assert state(page, "asOf") == asked.timestamp()


def test_back_shows_the_moment_that_the_address_names(open_page: Opener, site: Stack) -> None:
    page = open_page(site, CHART)
    ready_chart(page)
    page.get_by_role("button", name="Replay").click()
    page.get_by_role("slider", name="As of").focus()
    page.keyboard.press("PageDown")
    moment, address, told = state(page, "asOf"), page.url, page.locator("#as-of-text").inner_text()
    assert "as_of=" in address
    page.get_by_role("radio", name="1h").click()
    expect(page).to_have_url(re.compile("/1h.as_of="))
    page.get_by_role("button", name="Now").click()
    expect(page).to_have_url(f"{site.url}/web/chart/BTCUSDT/1h")
    with page.expect_response(lambda answer: "/15m?as_of=" in answer.url):
        page.go_back()
    expect(page).to_have_url(address)
    expect(page.locator("#as-of-text")).to_have_text(told)
    last_close = "view.bars.at(-1).time + window.chartPage.series.step"
    eventually(lambda: state(page, last_close) == moment, seconds=30, every=0.05)
    page.go_forward()
    expect(page.locator("#as-of-text")).to_have_text("now")
    assert state(page, "asOf") is None


MARKS = ("mitigated_time", "filled_time", "invalidated_time")


def seconds(text: str | None) -> str:
    from datetime import datetime

    return "" if text is None else str(round(datetime.fromisoformat(text).timestamp()))


def test_of_ten_thousand_zones_those_in_sight_are_drawn(open_page: Opener, site: Stack) -> None:
    page = open_page(site, CHART)
    ready_chart(page)
    told = page.evaluate(PANNING, 90 if FULL else 10)
    # How quick it is depends on who else is on the machine; it is told, and not asked for.
    print(f"{told['median']:.1f} ms a frame, {told['own']:.1f} ms of them ours")
    assert told["drawn"] > 100


BAR_TIMES = """() => window.chartPage.series.bars
  .map((bar) => new Date(bar.time * 1000).toISOString().replace('.000', ''))"""
