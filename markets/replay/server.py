"""The replay exchange as one server: REST, streams and archive on one host and port."""

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from markets.errors import SmcError
from markets.replay.archive import Archive
from markets.replay.book import Book
from markets.replay.clock import VirtualClock
from markets.replay.control import Control
from markets.replay.director import Director
from markets.replay.faults import Faults
from markets.replay.feed import Feed
from markets.replay.intercept import Intercept
from markets.replay.limits import Weights
from markets.replay.market import Market
from markets.replay.rest import Rest
from markets.replay.streams import BadRequestError, Connection
from markets.replay.wire import RequestWire, Wire


class PortInUseError(SmcError):
    """Another program listens on the wanted port."""


class ReplayExchange:
    """The application and its parts, for the command and for tests in the same process.

    ``script`` are faults as JSON tells them, taken in before anyone connects.
    """

    def __init__(self, market: Market, clock: VirtualClock, *, script: Sequence[Mapping[str, Any]] = ()) -> None:
        self.market = market
        self.clock = clock
        self.faults = Faults(clock)
        self.book = Book(market, clock, self.faults)
        self.feed = Feed(self.book)
        self.director = Director(self.book, self.feed, self.faults)
        self.requests: Counter[str] = Counter()
        for fault in script:
            self.faults.add(fault)

    def application(self) -> ASGIApp:
        routes = [
            *Rest(self.book, Weights(self.faults)).routes(),
            *Archive(self.book, self.faults).routes(),
            *Control(
                self.market, self.clock, self.faults, self.feed, self.director, self.requests, self.clock.speed or 1.0
            ).routes(),
            WebSocketRoute("/ws", self._serve_socket),
            WebSocketRoute("/ws/{streams:path}", self._serve_socket),
            WebSocketRoute("/stream", self._serve_socket),
        ]
        return Intercept(Starlette(routes=routes, lifespan=self._lifespan), self.faults, self._count)

    def _count(self, path: str) -> None:
        self.requests[path] += 1

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        feed = asyncio.create_task(self.feed.run())
        yield
        feed.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feed

    async def _serve_socket(self, websocket: WebSocket) -> None:
        wire: Wire = websocket.scope["extensions"]["wire"]
        await websocket.accept()
        connection = Connection(
            wire,
            is_combined=websocket.url.path == "/stream",
            faults=self.faults,
            on_change=self._follow,
            opened_at=self.clock.now(),
        )
        try:
            if self.director.admit(connection):
                self._subscribe(websocket, connection)
            await self._converse(websocket, connection)
        except WebSocketDisconnect:
            pass
        finally:
            self.director.dismiss(connection)
            self.feed.follow(connection, ())

    def _subscribe(self, websocket: WebSocket, connection: Connection) -> None:
        names = websocket.path_params.get("streams") or websocket.query_params.get("streams", "")
        try:
            connection.subscribe([name for name in names.split("/") if name])
        except BadRequestError as error:
            connection.wire.close_with(1008, str(error))

    async def _converse(self, websocket: WebSocket, connection: Connection) -> None:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            connection.handle(message.get("text") or "")

    def _follow(self, connection: Connection) -> None:
        self.feed.follow(connection, connection.series)


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind the server's socket; port 0 takes a free one. Raises ``PortInUseError`` naming the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise PortInUseError(f"cannot listen on {host}:{port}: {reason}") from error
    return listener


def make_server(exchange: ReplayExchange, *, certificate: tuple[Path, Path] | None = None) -> uvicorn.Server:
    """Return the web server, ready to ``run(sockets=[...])``; ``certificate`` and its key make it speak TLS."""
    certificate_file, key_file = certificate if certificate is not None else (None, None)
    config = uvicorn.Config(
        exchange.application(),
        http=RequestWire,
        ws=Wire,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=60.0,
        ssl_certfile=certificate_file,
        ssl_keyfile=key_file,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
