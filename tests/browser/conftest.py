"""Chromium, a seeded site, a live one, and pages that fail a test by any error on them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    WebSocketRoute,
    expect,
    sync_playwright,
)

from tests.browser.stack import Stack, running, seeded
from tests.conftest import NEEDS, find_program

FULL = bool(os.environ.get("SMC_FULL"))
# What is waited for comes at once on an idle machine; on a busy one nothing may fail because it came late.
expect.set_options(timeout=30_000)
# For every window Chromium prepares two pages of its own to suggest searches with, which cost more than most of ours.
# Of several such switches the last counts, so what Playwright switches off is switched off here again.
_WITHOUT = (
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup",
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades", "LensOverlay", "MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding",
    "PreconnectToSearch", "ThirdPartyStoragePartitioning",
)  # fmt: skip
DESKTOP, PHONE = ViewportSize(width=1440, height=900), ViewportSize(width=390, height=844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the session: while Playwright runs, its event loop runs in this thread, and other tests have their own.
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=find_program(NEEDS["browser"][0]),
            args=["--no-sandbox", "--disable-dev-shm-usage", f"--disable-features={','.join(_WITHOUT)}"],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The web process alone on a seeded store; the exchange cannot be reached."""
    folder = tmp_path_factory.getbasetemp()
    # Processes of pytest-xdist have folders side by side; the store is seeded once for all of them.
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with running("web", seed=seeded(shared)) as stack:
        yield stack


@dataclass
class Watcher:
    """What went wrong on the pages of a test. ``allowed`` are parts of messages that the test provokes."""

    origin: str
    problems: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    _ears: list[tuple[Page, str, Callable[[Any], None]]] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        ears: dict[str, Callable[[Any], None]] = {
            "pageerror": lambda error: self._note(f"page error: {error}"),
            "console": self._hear,
            "request": lambda request: self._follow(request.url),
        }
        for event, ear in ears.items():
            page.on(event, ear)  # type: ignore[call-overload]  # one overload an event, each a literal
            self._ears.append((page, event, ear))

    def leave(self) -> None:
        """Hear no more of the pages."""
        for page, event, ear in self._ears:
            page.remove_listener(event, ear)
        self._ears.clear()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(each in message.text for each in _LEFT_EARLY):
            self._note(f"console: {message.text} ({message.location.get('url', '')})")

    def _follow(self, url: str) -> None:
        if not url.startswith((self.origin, self.origin.replace("http", "ws"), "data:", "blob:")):
            self._note(f"request leaves the origin: {url}")

    def _note(self, text: str) -> None:
        self.problems.append(text)

    def check(self) -> None:
        left = [text for text in self.problems if not any(part in text for part in self.allowed)]
        assert not left, left


# Chromium's words for a page that is left while its socket still connects, and htmx's for one that is left while it
# still asks: nothing of ours failed. What does fail htmx tells by other events as well.
_LEFT_EARLY = ("WebSocket is closed before the connection is established", "htmx:sendAbort", "htmx:afterRequest")

Opener = Callable[..., Page]
SocketHandler = Callable[[WebSocketRoute], None]


@pytest.fixture
def watcher() -> Watcher:
    return Watcher("")


class Pages:
    """Pages of one browser, each in a context of its own, lent to one test after another.

    A new page costs a process, and a new context a cold cache.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[str, list[BrowserContext]] = {}
        self._lent: list[tuple[str, BrowserContext, ViewportSize]] = []
        self._altered: list[Page] = []

    def lend(self, options: dict[str, Any], *, is_altered: bool, socket: SocketHandler | None) -> Page:
        """Return a page that nobody has, without cookies, in a context with these options.

        One that is to be altered, by scripts or routes of the test, is new and is lent once. With ``socket`` the
        test is the server's end of the page's socket; such a page has had no other socket, and the last test's counts.
        """
        kind = repr((sorted(options.items()), socket is not None))
        free = self._free.get(kind)
        context = free.pop() if free else self._browser.new_context(**options)
        context.set_default_timeout(30_000)
        context.set_default_navigation_timeout(90_000)
        self._lent.append((kind, context, options["viewport"]))
        if is_altered:
            for page in context.pages:
                page.close()
        page = context.pages[0] if context.pages else context.new_page()
        if is_altered:
            self._altered.append(page)
        if socket is not None:
            page.route_web_socket("**/ws/live/", socket)
        return page

    def take_back(self) -> None:
        """End what the tests left open; what cannot be undone ends with its page or its context."""
        for kind, context, viewport in self._lent:
            kept = [page for page in context.pages[:1] if page not in self._altered]
            for page in context.pages[len(kept) :]:
                page.close()
            context.set_offline(False)
            for page in kept:
                page.unroute_all()
                page.goto("about:blank")
                page.mouse.move(0, 0)
                page.set_viewport_size(viewport)
            context.clear_cookies()
            self._free.setdefault(kind, []).append(context)
        self._lent.clear()
        self._altered.clear()


@pytest.fixture(scope="module")
def pages(browser: Browser) -> Pages:
    return Pages(browser)


@pytest.fixture
def open_page(pages: Pages, watcher: Watcher) -> Iterator[Opener]:
    """Return what opens a page of a stack in a context that no other page of the test has.

    ``before`` is called with the page before it goes anywhere, ``socket`` with the page's socket. The pages keep
    nothing but cookies.
    """

    def opened(
        stack: Stack,
        path: str,
        *,
        cookies: dict[str, str] | None = None,
        before: Callable[[Page], None] | None = None,
        socket: SocketHandler | None = None,
        **options: Any,
    ) -> Page:
        watcher.origin = stack.url
        kept = {"smc_intro": "seen", **(cookies or {})}
        options = {"viewport": DESKTOP, "accept_downloads": True, **options}
        page = pages.lend(options, is_altered=before is not None, socket=socket)
        page.context.add_cookies([{"name": name, "value": value, "url": stack.url} for name, value in kept.items()])
        watcher.watch(page)
        if before is not None:
            before(page)
        page.goto(stack.url + path)
        return page

    yield opened
    watcher.leave()
    pages.take_back()
    watcher.check()


def ready_chart(page: Page) -> None:
    """Wait until the chart has its candles and its signals."""
    page.locator("html[data-chart=ready]").wait_for(state="attached")
