"""Checks 3 to 6: the socket told by hand, so that every hole, repeat and silence can be made; and the whole once."""

import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from smcsite.embedded import start_server
from tests.browser.conftest import Opener, Watcher, ready_chart
from tests.browser.stack import Stack, running
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ROW = (
    '<li class="signal" id="s-{id}" data-testid="signal-row" data-signal-id="{id}" data-symbol="BTCUSDT" '
    'data-timeframe="15m" data-direction="1" data-status="active">'
    '<a class="signal-link" data-row href="#">BTCUSDT</a></li>'
)
BAR_COUNT = "() => window.chartPage.series.bars.length"


class Exchange:
    """The server's end of the page's socket, in the test's hand."""

    def __init__(self) -> None:
        self.routes: list[WebSocketRoute] = []
        self.heard: list[dict[str, Any]] = []

    def accept(self, route: WebSocketRoute) -> None:
        self.routes.append(route)
        route.on_message(lambda text: self.heard.append(json.loads(text)))

    def say(self, kind: str, channel: str, sequence: int, /, **fields: Any) -> None:
        self.routes[-1].send(json.dumps({"v": 1, "seq": sequence, "ch": channel, "t": kind, **fields}))

    def signal(self, number: int, sequence: int, *, scale: str = "internal", **fields: Any) -> str:
        """Tell a signal; return its id."""
        name = f"BTCUSDT.15m.{scale}.BOS.up.{number}.1"
        told = {"id": name, "symbol": "BTCUSDT", "timeframe": "15m", "kind": "BOS", "direction": 1, "strength": 80}
        self.say("signal", "signals", sequence, **told, html=ROW.format(id=name), late=False, **fields)
        return name

    def asked_since(self) -> list[int]:
        asked = [each["since"] for each in self.heard if each.get("op") == "sub" and "since" in each]
        return [number for each in asked for number in (each.values() if isinstance(each, dict) else [each])]


def open_with(exchange: Exchange, open_page: Opener, stack: Stack, path: str = "/web/", **options: Any) -> Page:
    """Open a page whose socket is the test's."""
    page = open_page(stack, path, socket=exchange.accept, **options)
    eventually(lambda: pump(page, lambda: any(each.get("op") == "sub" for each in exchange.heard)), seconds=30)
    return page


def pump(page: Page, condition: Callable[[], object]) -> object:
    page.wait_for_timeout(20)  # lets Playwright hand over what the page sent
    return condition()


def test_check_03_a_signal_is_on_screen_once_and_at_once(open_page: Opener, site: Stack) -> None:
    exchange = Exchange()
    page = open_with(exchange, open_page, site)
    name = exchange.signal(1, 100)
    row = page.locator(f'[data-signal-id="{name}"]')
    expect(row).to_have_count(1)
    exchange.signal(1, 100)
    exchange.signal(1, 101)
    twin = exchange.signal(1, 102, scale="swing")
    other = exchange.signal(2, 103)
    expect(page.locator(f'[data-signal-id="{other}"]')).to_have_count(1)
    expect(row).to_have_count(1)
    # Both scales tell of the same find.
    expect(page.locator(f'[data-signal-id="{twin}"]')).to_have_count(0)


def test_rows_wait_while_someone_reads_the_list(open_page: Opener, site: Stack) -> None:
    exchange = Exchange()
    page = open_with(exchange, open_page, site)
    page.locator("#signal-list").hover()
    name = exchange.signal(1, 100)
    button = page.get_by_role("button", name="1 new")
    expect(button).to_be_visible()
    expect(page.locator(f'[data-signal-id="{name}"]')).to_have_count(0)
    button.click()
    expect(page.locator(f'[data-signal-id="{name}"]')).to_have_count(1)


def test_a_hole_is_asked_for_again(open_page: Opener, site: Stack) -> None:
    exchange = Exchange()
    page = open_with(exchange, open_page, site)
    exchange.signal(1, 100)
    exchange.signal(3, 102)
    eventually(lambda: pump(page, lambda: 100 in exchange.asked_since()), seconds=30)
    expect(page.locator('[data-signal-id*="up.3."]')).to_have_count(0)
    exchange.signal(2, 101)
    exchange.signal(3, 102)
    expect(page.locator('[data-signal-id*="up.2."]')).to_have_count(1)
    expect(page.locator('[data-signal-id*="up.3."]')).to_have_count(1)


def test_check_04_without_network_the_pill_says_so(open_page: Opener, site: Stack, watcher: Watcher) -> None:
    watcher.allowed = ["ERR_INTERNET_DISCONNECTED", "WebSocket"]
    page = open_page(site, "/web/")
    pill = page.get_by_role("status", name="Connection")
    expect(pill).to_contain_text("Paused")
    page.context.set_offline(True)
    expect(pill).to_contain_text("Offline")
    page.context.set_offline(False)
    expect(pill).to_contain_text("Paused")


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012])
def test_check_05_every_end_of_a_connection_is_tried_again(
    open_page: Opener, site: Stack, watcher: Watcher, code: int
) -> None:
    watcher.allowed = ["WebSocket"]
    exchange = Exchange()
    page = open_with(exchange, open_page, site)
    name = exchange.signal(1, 100)
    expect(page.locator(f'[data-signal-id="{name}"]')).to_have_count(1)
    # 1006 is never sent: it is what a browser calls an end without a word.
    exchange.routes[-1].close(code=code if code != 1006 else 3006)
    eventually(lambda: pump(page, lambda: len(exchange.routes) == 2), seconds=30)
    eventually(lambda: pump(page, lambda: 100 in exchange.asked_since()), seconds=30)
    exchange.signal(1, 100)
    other = exchange.signal(2, 101)
    expect(page.locator(f'[data-signal-id="{other}"]')).to_have_count(1)
    expect(page.locator(f'[data-signal-id="{name}"]')).to_have_count(1)


def test_what_the_first_signals_of_a_quiet_channel_were_is_asked_for_after_an_outage(
    open_page: Opener, site: Stack, watcher: Watcher
) -> None:
    watcher.allowed = ["WebSocket"]
    exchange = Exchange()
    page = open_with(exchange, open_page, site)
    exchange.say("hb", "", 0, seqs={"signals": 99, "status": 7})
    exchange.say("status", "status", 8, state="live", source="binance", series=[])
    expect(page.get_by_role("status", name="Connection")).to_contain_text("Live")
    exchange.routes[-1].close(code=1012)
    eventually(lambda: pump(page, lambda: len(exchange.routes) == 2), seconds=30)
    eventually(lambda: pump(page, lambda: 99 in exchange.asked_since()), seconds=30)
    name = exchange.signal(1, 100)
    expect(page.locator(f'[data-signal-id="{name}"]')).to_have_count(1)


def test_check_06_a_silent_exchange_is_named(open_page: Opener, site: Stack) -> None:
    exchange = Exchange()
    page = open_with(exchange, open_page, site)
    pill = page.get_by_role("status", name="Connection")
    exchange.say("status", "status", 1, state="live", source="binance", series=[])
    expect(pill).to_contain_text("Live")
    exchange.say("status", "status", 2, state="down", source="binance", series=[])
    expect(pill).to_contain_text("Stale")
    expect(pill).to_have_attribute("title", "Socket connected, but the exchange's feed has fallen silent")
    expect(page.locator("[data-banner=stale]")).to_contain_text("Binance")
    # A web server that has started anew numbers its own messages from elsewhere; each tells the whole state.
    exchange.say("status", "status", 900, state="live", source="binance", series=[])
    expect(page.locator("[data-banner=stale]")).to_have_count(0)
    exchange.say("status", "status", 7, state="down", source="binance", series=[])
    expect(page.locator("[data-banner=stale]")).to_have_count(1)


def test_while_our_own_updates_are_paused_the_page_says_so_and_asks(open_page: Opener, site: Stack) -> None:
    """F77: it is not the exchange that is silent, and the list goes on without the socket."""
    exchange = Exchange()
    page = open_with(exchange, open_page, site)
    pill, banner = page.get_by_role("status", name="Connection"), page.locator("[data-banner=stale]")
    why = "live updates are paused: Redis does not answer"
    exchange.say("status", "status", 1, state="down", source="binance", paused=True, error=why, series=[])
    expect(pill).to_contain_text("Paused")
    expect(banner).to_have_text("Live updates are paused: Redis does not answer. Prices and signals below may be old.")
    with page.expect_request(lambda request: request.resource_type == "fetch", timeout=30_000):
        pass
    exchange.say("status", "status", 2, state="live", source="binance", paused=False, error="", series=[])
    expect(pill).to_contain_text("Live")
    expect(banner).to_have_count(0)


def test_a_redis_that_goes_and_comes_back_costs_no_page(open_page: Opener, site: Stack, tmp_path: Path) -> None:
    """F77 with a real one: the page tells who is silent, and each page is answered meanwhile."""
    server = start_server(tmp_path / "redis")
    try:
        with running("web", seed=site.folder / "data", REDIS_URL=server.url) as stack:
            page = open_page(stack, "/web/")
            banner = page.locator("[data-banner=stale]")
            expect(banner).to_contain_text("the stream process does not answer", timeout=30_000)
            server.process.send_signal(signal.SIGSTOP)
            expect(banner).to_contain_text("Redis does not answer", timeout=30_000)
            assert page.request.get(f"{stack.url}/web/").ok
            server.process.send_signal(signal.SIGCONT)
            expect(banner).to_contain_text("the stream process does not answer", timeout=30_000)
    finally:
        server.process.kill()
        server.process.wait()


def test_what_is_wrong_while_the_feed_lives_is_on_every_page(open_page: Opener, site: Stack) -> None:
    """F84: a clock that is wrong, for one."""
    exchange = Exchange()
    page = open_with(exchange, open_page, site, "/web/scanner")
    why = "this machine's clock is 118 s behind the exchange's"
    exchange.say("status", "status", 1, state="live", source="binance", error=why, series=[])
    expect(page.locator("[data-banner=stale]")).to_have_text("This machine's clock is 118 s behind the exchange's.")
    expect(page.get_by_role("status", name="Connection")).to_contain_text("Live")


def test_what_closes_while_history_is_loaded_is_on_the_chart_afterwards(open_page: Opener, site: Stack) -> None:
    exchange = Exchange()
    page = open_with(exchange, open_page, site, "/web/chart/BTCUSDT/5m")
    ready_chart(page)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(re.compile(r"/api/v1/candles/.*to="), hold)
    page.evaluate("() => void window.chartPage.series.loadOlder()")
    eventually(lambda: pump(page, lambda: held), seconds=30)
    last = page.evaluate("() => window.chartPage.series.bars.at(-1)")
    candle = dict.fromkeys(("open", "high", "low", "close"), last["close"])
    time = datetime.fromtimestamp(last["time"] + 300, UTC).isoformat().replace("+00:00", "Z")
    told = {"symbol": "BTCUSDT", "timeframe": "5m", "closed": True, "open_time": time, "volume": 1.0, **candle}
    exchange.say("kline", "k:BTCUSDT:5m", 1, signals=[], marks=[], **told)
    eventually(lambda: pump(page, lambda: page.evaluate("() => window.chartPage.series.early.length") == 1), seconds=30)
    held[0].continue_()
    eventually(lambda: pump(page, lambda: page.evaluate(BAR_COUNT) > 1_001), seconds=30)
    assert page.evaluate("() => window.chartPage.series.bars.at(-1).time") == last["time"] + 300


def test_check_11_a_new_bar_keeps_zoom_and_place(open_page: Opener, site: Stack) -> None:
    exchange = Exchange()
    page = open_with(exchange, open_page, site, "/web/chart/BTCUSDT/15m")
    ready_chart(page)
    scale = "window.chartPage.view.chart.timeScale()"

    def is_zoomed() -> bool:
        # The page's own first range may come a frame after the data.
        page.evaluate(f"() => {scale}.setVisibleLogicalRange({{ from: 500, to: 560 }})")
        page.evaluate("() => new Promise((done) => setTimeout(done, 300))")
        return abs(float(page.evaluate(f"() => {scale}.getVisibleLogicalRange().from")) - 500) < 1

    eventually(is_zoomed, seconds=30)
    before = page.evaluate(f"() => {scale}.getVisibleLogicalRange()")
    last = page.evaluate("() => window.chartPage.series.bars.at(-1)")
    stamp = page.evaluate("() => new Date((window.chartPage.series.bars.at(-1).time + 900) * 1000).toISOString()")
    candle = {"open": last["close"], "high": last["close"] + 5, "low": last["close"] - 5, "close": last["close"] + 1}
    fields = {"symbol": "BTCUSDT", "timeframe": "15m", "open_time": stamp, "volume": 3, "signals": [], "marks": []}
    exchange.say("kline", "k:BTCUSDT:15m", 5, closed=False, **candle, **fields)
    exchange.say("kline", "k:BTCUSDT:15m", 6, closed=True, **candle, **fields)
    eventually(lambda: pump(page, lambda: page.evaluate(BAR_COUNT) == 1_001), seconds=30)
    after = page.evaluate(f"() => {scale}.getVisibleLogicalRange()")
    assert after["from"] == pytest.approx(before["from"], abs=1)
    assert after["to"] == pytest.approx(before["to"], abs=1)
    told = page.evaluate("() => window.chartPage.view.bars.at(-1).close")
    assert told == last["close"] + 1


def test_alert_rules_call_only_for_what_fits(open_page: Opener, site: Stack) -> None:
    rules = json.dumps([{"symbol": "BTCUSDT", "timeframe": "", "kind": "BOS", "strength": 70, "sound": False}])
    from urllib.parse import quote

    exchange = Exchange()
    page = open_with(exchange, open_page, site, cookies={"smc_alerts": quote(rules, safe="")})
    exchange.say(
        "signal", "signals", 90, id="x", symbol="ETHUSDT", timeframe="1h", kind="BOS", direction=1, strength=99
    )
    exchange.signal(1, 91)
    toasts = page.locator("#toasts > *")
    expect(toasts).to_have_count(1)
    expect(toasts).to_contain_text("BOS BTCUSDT 15m")
    exchange.say(
        "signal",
        "signals",
        92,
        id="y",
        symbol="BTCUSDT",
        timeframe="1h",
        kind="BOS",
        direction=1,
        strength=99,
        late=True,
    )
    exchange.signal(2, 93)
    expect(toasts).to_have_count(2)


def test_sockets_that_are_blocked_give_way_to_polling(open_page: Opener, site: Stack, watcher: Watcher) -> None:
    watcher.allowed = ["WebSocket"]
    # Without luck the page waits no longer than it must between its attempts.
    blocked = """window.WebSocket = class {
      static OPEN = 1;
      readyState = 3;
      constructor() { setTimeout(() => this.onclose?.(), 5); }
      close() {}
    };
    Math.random = () => 0.1;"""
    page = open_page(site, "/web/", before=lambda page: page.add_init_script(blocked))
    expect(page.get_by_role("status", name="Connection")).to_contain_text("Polling")
