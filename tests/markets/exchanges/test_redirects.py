"""An exchange that sends us elsewhere is not followed: what is elsewhere may be inside our own network."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from markets.errors import BadAnswerError
from markets.exchanges.binance_archive import BinanceArchive
from markets.exchanges.binance_connection import Connection, Ended
from markets.exchanges.binance_rest import BinanceRest
from markets.exchanges.limits import RequestBudget
from markets.series import SeriesKey
from tests.waiting import eventually

SERIES = SeriesKey.of("BTCUSDT", "1m")
DAY = 86_400_000


class Sender(http.server.BaseHTTPRequestHandler):
    """Sends everybody to ``server.target`` and notes who came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        server.visits.append(self.path)
        self.send_response(302)
        self.send_header("Location", server.target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def servers() -> Iterator[tuple[Any, Any]]:
    """An exchange that sends away, and the canary that nobody may reach."""
    made: list[Any] = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sender) for _ in range(2)]
    exchange, canary = made
    exchange.target, canary.target = f"http://127.0.0.1:{canary.server_port}/", "/"
    threads = [threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.01}) for each in made]
    for each, thread in zip(made, threads, strict=True):
        each.visits = []
        thread.start()
    yield exchange, canary
    for each, thread in zip(made, threads, strict=True):
        each.shutdown()
        each.server_close()
        thread.join()


@pytest.mark.parametrize(
    "target", ["", "http://169.254.169.254/latest/meta-data/", "//127.0.0.1:9/", "file:///etc/passwd"]
)
def test_redirect_not_followed(servers: tuple[Any, Any], budget: RequestBudget, target: str) -> None:
    """S31: not by REST, not by the archive, not by the stream."""
    exchange, canary = servers
    exchange.target = target or exchange.target
    url = f"http://127.0.0.1:{exchange.server_port}"
    rest = BinanceRest(url, budget=budget, sleep=lambda seconds: None)
    with pytest.raises(BadAnswerError, match="redirect"):
        rest.server_time(attempts=1)
    archive = BinanceArchive(url)
    files = archive.plan(SERIES, 1_672_531_200_000, 1_672_531_200_000 + DAY, 1_700_000_000_000)
    # What an archive does not have is left to REST; why, is told.
    reasons: list[str] = []
    assert [found for _, found in archive.fetch_all(files, lambda _, reason: reasons.append(reason))] == [None]
    assert "redirect" in reasons[0]
    ended: list[Any] = []
    connection = Connection(
        url.replace("http", "ws"),
        generation=1,
        deliver=ended.append,
    )
    connection.start()
    eventually(lambda: ended)
    connection.join(5)
    assert isinstance(ended[-1], Ended)
    assert "redirect" in ended[-1].reason
    assert exchange.visits
    assert canary.visits == []
