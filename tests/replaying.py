"""A replay exchange for tests: a real server on a free port, in a thread of the test's own process.

::

    with replay(symbols=["BTCUSDT"], speed=60) as exchange:
        BinanceExchange(exchange.url, exchange.ws_url, exchange.url, ...)
        exchange.fault("rst")
        expected = exchange.oracle(series, start, end)
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from markets.candles import Candles
from markets.replay.clock import VirtualClock
from markets.replay.market import Market
from markets.replay.server import ReplayExchange, listening_socket, make_server
from markets.replay.synthetic import SyntheticMarket
from markets.series import SeriesKey

START = 1_717_243_200_000  # 2024-06-01T12:00:00Z
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")


@dataclass(frozen=True, slots=True)
class Replay:
    """A running exchange: its addresses, its clock, its faults, and the truth of its market."""

    server: ReplayExchange
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def time(self) -> int:
        """Return the exchange's time, UTC ms."""
        return self.server.clock.now()

    def set_clock(self, *, now: int | None = None, speed: float | None = None) -> None:
        """Set the exchange's time or its speed (0 stands still); candles in between are not streamed."""
        self._post("clock", {"now": now, "speed": speed})

    def fault(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Script a fault (docs/replay.md has the verbs) and return it with its id."""
        return self._post("faults", {"verb": verb, **arguments})

    def clear_faults(self) -> None:
        requests.delete(f"{self.url}/replay/faults", timeout=10).raise_for_status()

    def oracle(self, series: SeriesKey, start: int, end: int) -> Candles:
        """Return the true candles with ``start <= open_time < end``, without any fault."""
        return self.server.market.candles(series, start, end)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/replay/{path}", json=body, timeout=10)
        if answer.status_code >= 400:
            raise ValueError(answer.text)
        told: dict[str, Any] = answer.json()
        return told


@contextmanager
def replay(
    *,
    source: str | Market = "synthetic",
    symbols: Sequence[str] = DEFAULT_SYMBOLS,
    speed: float = 60.0,
    seed: int = 1,
    start: int = START,
) -> Iterator[Replay]:
    """Serve a market until the block ends: the synthetic one of ``seed``, or a ``Market`` of the test's own."""
    market = SyntheticMarket(symbols, seed=seed) if isinstance(source, str) else source
    exchange = ReplayExchange(market, VirtualClock(start, speed=speed))
    listener = listening_socket("127.0.0.1", 0)
    server = make_server(exchange)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="replay exchange", daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert server.started, "the replay exchange did not start"
    try:
        yield Replay(exchange, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
