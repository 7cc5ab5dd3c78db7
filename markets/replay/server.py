"""The replay exchange as one server: REST, streams and archive on one host and port."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from markets.errors import SmcError
from markets.replay.book import Book
from markets.replay.clock import VirtualClock
from markets.replay.feed import Feed
from markets.replay.limits import Weights
from markets.replay.market import Market
from markets.replay.rest import Rest, json_response
from markets.replay.streams import BadRequestError, Connection
from markets.replay.wire import Wire

CONNECTION_SECONDS = 86_400  # a connection lives 24 h of exchange time


class PortInUseError(SmcError):
    """Another program listens on the wanted port."""


@dataclass(slots=True)
class ReplayExchange:
    """The application and its parts, for the command and for tests in the same process."""

    market: Market
    clock: VirtualClock
    book: Book = field(init=False)
    feed: Feed = field(init=False)
    weights: Weights = field(default_factory=Weights)
    connections: set[Connection] = field(default_factory=set)
    connections_made: int = 0

    def __post_init__(self) -> None:
        self.book = Book(self.market, self.clock)
        self.feed = Feed(self.book)

    def application(self) -> Starlette:
        rest = Rest(self.book, self.weights)
        routes: list[BaseRoute] = [
            *rest.routes(),
            WebSocketRoute("/ws", self._serve_socket),
            WebSocketRoute("/ws/{streams:path}", self._serve_socket),
            WebSocketRoute("/stream", self._serve_socket),
            Route("/replay/clock", self._set_clock, methods=["GET", "POST"]),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

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
            wire, is_combined=websocket.url.path == "/stream", on_change=self._follow, opened_at=time.monotonic()
        )
        self.connections.add(connection)
        self.connections_made += 1
        try:
            await self._converse(websocket, connection)
        except WebSocketDisconnect:
            pass
        finally:
            self.connections.discard(connection)
            self.feed.follow(connection, ())

    async def _converse(self, websocket: WebSocket, connection: Connection) -> None:
        names = websocket.path_params.get("streams") or websocket.query_params.get("streams", "")
        try:
            connection.subscribe([name for name in names.split("/") if name])
        except BadRequestError as error:
            connection.wire.close_with(1008, str(error))
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            connection.handle(message.get("text") or "")

    def _follow(self, connection: Connection) -> None:
        self.feed.follow(connection, [series for series in connection.streams.values() if series])

    async def _set_clock(self, request: Request) -> Response:
        if request.method == "POST":
            wanted = await request.json()
            self.clock.set(now=wanted.get("now"), speed=wanted.get("speed"))
            self.feed.restart()
        return json_response({"now": self.clock.now(), "speed": self.clock.speed, "skew": self.clock.skew})


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind the server's socket; port 0 takes a free one. Raises ``PortInUseError`` naming the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortInUseError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def make_server(exchange: ReplayExchange) -> uvicorn.Server:
    """Return the web server, ready to ``run(sockets=[...])``."""
    config = uvicorn.Config(
        exchange.application(),
        ws=Wire,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=60.0,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
