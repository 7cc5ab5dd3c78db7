"""The content security policy as a browser enforces it."""

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Opener, Watcher, ready_chart
from tests.browser.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PAGES = ("/web/", "/web/signals", "/web/scanner", "/web/backtest", "/web/settings", "/web/help", "/login/", "/docs")
LISTEN = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


def listen(page: Page) -> None:
    page.add_init_script(LISTEN)


def test_csp_browser_clean(open_page: Opener, site: Stack) -> None:
    """S15: no page of ours breaks its own policy, the chart draws under it, and what is foreign does not run."""
    page = open_page(site, "/web/chart/BTCUSDT/15m", before=listen)
    ready_chart(page)
    assert page.locator("#chart canvas").count() > 0
    assert page.evaluate("window.violations") == []
    for path in PAGES:
        page.goto(site.url + path)
        page.wait_for_load_state()
        assert page.evaluate("window.violations") == [], path


def test_the_policy_is_enforced(open_page: Opener, site: Stack, watcher: Watcher) -> None:
    """S15: the same ears hear what is forbidden."""
    watcher.allowed = ["Content Security Policy"]
    page = open_page(site, "/web/help", before=listen)
    page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = 'window.ran = true';
          document.body.append(script);
          const image = document.createElement('img');
          image.setAttribute('onerror', 'window.ran = true');
          image.src = 'data:,';
          document.body.append(image);
        }"""
    )
    page.wait_for_function("window.violations.length >= 2")
    assert page.evaluate("window.ran") is None
