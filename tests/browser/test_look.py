"""Checks 2 and 15 to 18: quick, in every theme, by keyboard, on a phone, readable to everyone."""

import re
from itertools import pairwise
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it ships no types
from playwright.sync_api import Page, Route, expect

from benchmarks._browser import PAINT
from tests.browser.conftest import FULL, PHONE, Opener
from tests.browser.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SIGNAL = "/web/signals?symbol=BTCUSDT&kind=OB"
PAGES = (
    "/web/", "/web/chart/BTCUSDT/15m", SIGNAL, "/web/scanner", "/web/backtest", "/web/backtest/1",
    "/web/backtest/1?tab=trades", "/web/backtest/1?tab=groups", "/web/backtest/compare?ids=1,2", "/web/evidence",
    "/web/pairs", "/web/data", "/web/status", "/web/settings", "/web/help", "/web/search?q=zzz", "/login/",
    "/web/chart/NOPE/15m",
)  # fmt: skip
LOOKS = (("dark", "classic"), ("light", "classic"), ("dark", "cb"), ("light", "cb"))
MISSING = ["404 (Not Found)"]


def violations(page: Page, look: tuple[str, str] | None = None) -> list[str]:
    """Return what axe calls serious: every rule but contrast, or with ``look`` contrast alone, in that look."""
    found: list[str] = page.evaluate(AXE, look)
    return found


@pytest.mark.parametrize("path", PAGES)
def test_check_17_axe_finds_nothing_serious_in_any_look(
    open_page: Opener, site: Stack, watcher: Any, path: str
) -> None:
    watcher.allowed = MISSING if "NOPE" in path else []
    page = open_page(site, path, reduced_motion="reduce")
    page.locator("html[data-ready]").wait_for(state="attached")
    page.evaluate(Axe().axe_script)
    assert violations(page) == []
    for look in LOOKS:
        assert violations(page, look) == [], look
    assert page.evaluate("() => document.getAnimations().filter((each) => each.playState === 'running').length") == 0
    page.set_viewport_size(PHONE)
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0


# Contrast is asked of one element of each kind, where a kind is everything that contrast depends on: the text's colour,
# size and weight and all that is painted behind it. A table of a hundred rows has a few dozen kinds, not a thousand.
AXE = """async (look) => {
  const root = document.documentElement;
  const options = { resultTypes: ['violations'], preload: false, rules: { 'color-contrast': { enabled: false } } };
  let context = document;
  if (look) {
    [root.dataset.theme, root.dataset.pair] = look;
    const behind = new Map([[null, '']]);
    const ground = (each) => {
      if (!behind.has(each)) {
        const { backgroundColor, backgroundImage, opacity } = getComputedStyle(each);
        const own = `${backgroundColor} ${backgroundImage} ${opacity};`.replace('rgba(0, 0, 0, 0) none 1;', '');
        behind.set(each, ground(each.parentElement) + own);
      }
      return behind.get(each);
    };
    const kinds = new Map();
    for (const each of document.querySelectorAll('body *')) {
      const hasText = [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!(hasText || each.matches('input, select, textarea')) || !each.checkVisibility()) continue;
      const { color, fontSize, fontWeight, textShadow } = getComputedStyle(each);
      kinds.set([each.localName, color, fontSize, fontWeight, textShadow, ground(each)].join('|'), each);
    }
    context = { include: [...kinds.values()] };
    options.runOnly = { type: 'rule', values: ['color-contrast'] };
    delete options.rules;
  }
  const { violations } = await axe.run(context, options);
  return violations.filter((each) => ['serious', 'critical'].includes(each.impact)).flatMap((each) => (
    each.nodes.slice(0, 3).map((node) => `${each.id} (${each.impact}): ${node.target} ${node.html.slice(0, 160)}`)));
}"""


@pytest.mark.parametrize("path", PAGES if FULL else PAGES[:2])
def test_check_18_phone_needs_no_sideways_scroll(open_page: Opener, site: Stack, watcher: Any, path: str) -> None:
    watcher.allowed = MISSING if "NOPE" in path else []
    page = open_page(site, path, viewport=PHONE, has_touch=True, is_mobile=True)
    page.locator("html[data-ready]").wait_for(state="attached")
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    small = page.evaluate(
        """() => [...document.querySelectorAll('.btn, .ib, .input, .select, .toggle, .seg > *, .bottom-nav a')]
          .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 37)
          .map((each) => each.outerHTML.slice(0, 100))"""
    )
    assert small == []


def test_check_02_pages_are_light_and_stand_still(open_page: Opener, site: Stack) -> None:
    for path in ("/web/", "/web/chart/BTCUSDT/15m"):
        page = open_page(site, path, color_scheme="dark")  # options of no other test: its cache is cold
        page.wait_for_load_state("networkidle")
        told = page.evaluate(PAINT)
        # How quick it is depends on who else is on the machine; it is told, and not asked for.
        print(f"{path}: largest paint after {told['paint']:.0f} ms")
        assert told["shift"] < 0.05, (path, told)
        assert told["weight"] < 120_000, (path, told)


def test_check_15_theme_and_colours_stay_without_a_flash(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/settings")
    page.get_by_label("Theme", exact=True).select_option("light")
    page.get_by_label("Colours").select_option("cb")
    page.get_by_role("button", name="Save").click()
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    expect(root).to_have_attribute("data-pair", "cb")
    first = page.context.request.get(f"{site.url}/web/").text()
    assert 'data-theme="light" data-pair="cb"' in first
    page.goto(f"{site.url}/web/chart/BTCUSDT/15m")
    page.locator("html[data-chart=ready]").wait_for(state="attached")
    before = page.evaluate("() => window.chartPage.view.palette.ground")
    page.get_by_role("button", name="Switch theme").click()
    page.get_by_role("button", name="Switch theme").click()
    expect(root).to_have_attribute("data-theme", "dark")
    assert page.evaluate("() => window.chartPage.view.palette.ground") != before


def test_check_16_keyboard_reaches_everything_and_focus_comes_back(open_page: Opener, site: Stack) -> None:
    page = open_page(site, SIGNAL)
    page.locator("html[data-ready]").wait_for(state="attached")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    seen = set()
    for _ in range(24):
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => { const at = document.activeElement;
              const isSeen = getComputedStyle(at).outlineStyle !== 'none' || at.matches('.toggle input');
              return [at.outerHTML.slice(0, 400), isSeen]; }"""
        )
        assert told[1], told
        seen.add(told[0])
    assert len(seen) >= 20
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("j")
    row = page.locator("main tr[data-row]").nth(1)
    expect(row).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row.get_by_role("link").first).to_be_focused()
    page.evaluate("() => { window.left = 0; navigation.addEventListener('navigate', () => { window.left += 1; }); }")
    page.locator("#search").focus()
    page.keyboard.type("gd")
    assert page.evaluate("() => window.left") == 0
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.type("ge")
    page.wait_for_url("**/web/evidence")


@pytest.mark.parametrize("path", ["/web/", "/web/chart/BTCUSDT/15m", "/web/backtest/1", "/web/settings"])
def test_a_button_that_scripts_answer_cannot_be_pressed_before_they_listen(
    open_page: Opener, site: Stack, path: str
) -> None:
    page = open_page(site, "/web/help")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile(r"/(app|chart_page|equity)\b[\w.]*\.js$"), hold)  # all that a page names itself
    page.goto(site.url + path, wait_until="commit")
    page.locator("#announcer").wait_for(state="attached")
    buttons = page.locator("button[type=button]:visible")
    assert buttons.count() > 0
    assert [each.inner_text() for each in buttons.all() if each.is_enabled()] == []
    for route in held:
        route.continue_()
    page.locator("html[data-ready]").wait_for(state="attached")
    assert [each.inner_text() for each in buttons.all() if each.is_disabled()] == []


def test_check_07_search_by_keys_opens_the_chart(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/")
    page.locator("html[data-ready]").wait_for(state="attached")
    page.keyboard.press("/")
    page.keyboard.type("btc")
    expect(page.get_by_role("option", name="BTCUSDT")).to_be_visible()
    page.keyboard.press("Enter")
    page.wait_for_url("**/web/chart/BTCUSDT/**")
    expect(page.get_by_role("heading", level=1)).to_contain_text("BTCUSDT")


def test_between_phone_and_desk_every_page_is_in_the_bar(open_page: Opener, site: Stack) -> None:
    page = open_page(site, "/web/help")
    page.locator("html[data-ready]").wait_for(state="attached")
    for width in (1_001, 1_180, 1_181):
        page.set_viewport_size({"width": width, "height": 768})
        edges = page.evaluate(
            """() => [...document.querySelectorAll('.nav a, .top .search, .top .pill, .top .ib')]
              .map((each) => each.getBoundingClientRect()).map((box) => [box.left, box.right])"""
        )
        assert all(right > left for left, right in edges), width
        assert all(before[1] <= after[0] for before, after in pairwise(edges)), width
        assert edges[-1][1] <= width
