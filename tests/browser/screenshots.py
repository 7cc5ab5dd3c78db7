"""Takes the pictures of the README and the documentation: ``python -m tests.browser.screenshots``."""

import sys
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.stack import ROOT, Stack, running
from tests.conftest import NEEDS, find_program
from tests.waiting import eventually

FOLDER = ROOT / "docs" / "screenshots"
SHOTS: tuple[tuple[str, str, ViewportSize, dict[str, str]], ...] = (
    ("chart", "/web/chart/BTCUSDT/15m", ViewportSize(width=1600, height=900), {}),
    ("backtest", "/web/backtest/{run}", ViewportSize(width=1440, height=1000), {}),
    (
        "chart-light",
        "/web/chart/ETHUSDT/1h",
        ViewportSize(width=1600, height=900),
        {"smc_theme": "light", "smc_pair": "cb"},
    ),
    ("signals", "/web/signals?symbol=BTCUSDT", DESKTOP, {}),
    ("phone", "/web/chart/BTCUSDT/15m", PHONE, {}),
    # The last: by then it has more to tell than how the service came up.
    ("dashboard", "/web/", DESKTOP, {}),
)


def take(browser: Browser, site: Stack, folder: Path) -> None:
    """Take every picture into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    run = make_run(browser, site)
    for name, path, size, cookies in SHOTS:
        # Without motion no row is caught on its way in.
        context = browser.new_context(viewport=size, reduced_motion="reduce")
        kept = {"smc_intro": "seen", **cookies}
        context.add_cookies([{"name": key, "value": value, "url": site.url} for key, value in kept.items()])
        page = context.new_page()
        page.goto(site.url + path.format(run=run))
        page.locator("html[data-ready]").wait_for(state="attached")
        if "/chart/" in path:
            page.locator("html[data-chart=ready]").wait_for(state="attached")
        page.wait_for_timeout(2_000)  # a live page is never idle
        page.screenshot(path=folder / f"{name}.png")
        context.close()


def make_run(browser: Browser, site: Stack) -> str:
    """Start a backtest by its form, wait for its end, and return its number."""
    page = browser.new_page(viewport=DESKTOP)
    page.set_default_timeout(240_000)
    eventually(site.has_history, seconds=240, every=0.5)
    page.goto(f"{site.url}/web/backtest")
    page.locator("#estimate strong", has_text="candles").wait_for()
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator('[data-testid="run-row"][data-state="done"]').first.wait_for()
    number = page.get_by_test_id("run-row").first.get_attribute("data-job") or ""
    page.close()
    return number


def main() -> int:
    with running("serve", MARKET_SOURCE="replay") as site, sync_playwright() as playwright:
        executable = find_program(NEEDS["browser"][0])
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        take(browser, site, FOLDER)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
