"""One connection to Binance's streams: a thread that receives, and a way to send. It never reconnects.

websocket-client is used as its measured behaviour allows: one ``WebSocketApp`` for one attempt, no dispatcher, no
reconnect of its own, and a callback that only enqueues, since a slow callback delays the answer to the server's ping.
"""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from websocket import ABNF, WebSocketApp, WebSocketException

from markets.exchanges.binance_frames import FRAME_LIMIT

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
# A peer that freezes in the middle of a frame is found by this alone: pings are only looked at between frames.
_SOCKET_SECONDS = 15.0
_PING_INTERVAL_SECONDS = 20
_PING_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Opened:
    generation: int


@dataclass(frozen=True, slots=True)
class Ended:
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """What came, as it came; None for what is no text or too long to look at."""

    generation: int
    received_at: float
    raw: bytes | None


Deliver = Callable[[Opened | Ended | Message], None]


class Connection:
    """A connection in its own thread, named by its generation so that what an old one says can be told apart.

    ``deliver`` is called with ``Opened`` at most once, then with every ``Message``, and with ``Ended`` exactly once.
    """

    def __init__(self, url: str, *, generation: int, deliver: Deliver) -> None:
        self.generation = generation
        self._url = url
        self._deliver = deliver
        self._is_closed = False
        self._reason = ""
        self._socket: socket.socket | None = None
        self._app: WebSocketApp | None = None
        self._thread = threading.Thread(target=self._run, name=f"binance-stream-{generation}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, text: str) -> bool:
        """Send a message; False when the connection is not up (its ``Ended`` comes, or came)."""
        app = self._app
        if app is None or self._is_closed:
            return False
        try:
            app.send(text)
        except (WebSocketException, OSError):
            return False
        return True

    def close(self, reason: str = "closed") -> None:
        """End the connection without waiting for the other side, which may be frozen."""
        self._is_closed = True
        self._reason = self._reason or reason
        app, connected = self._app, self._socket
        if app is not None:
            app.keep_running = False
            with suppress(WebSocketException, OSError, AttributeError):
                app.sock.send_close()  # type: ignore[union-attr]  # None before the handshake: AttributeError
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def join(self, timeout_seconds: float) -> None:
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            self._socket = _dial(self._url)
            if not self._is_closed:
                self._receive(self._socket)
        except (OSError, WebSocketException) as error:
            self._reason = self._reason or _explain(error)
        finally:
            if self._socket is not None:
                self._socket.close()
            self._is_closed = True
            self._deliver(Ended(self.generation, self._reason or "the connection was lost"))

    def _receive(self, connected: socket.socket) -> None:
        self._app = WebSocketApp(
            self._url,
            socket=_Unredirected(connected),  # type: ignore[arg-type]  # all that is asked of it is a socket's
            on_open=self._on_open,
            on_data=self._on_data,
            on_error=self._on_error,
        )
        # skip_utf8_validation: checking in Python is the bottleneck, and the JSON reader checks anyway.
        self._app.run_forever(
            reconnect=0,
            ping_interval=_PING_INTERVAL_SECONDS,
            ping_timeout=_PING_TIMEOUT_SECONDS,
            skip_utf8_validation=True,
        )

    def _on_open(self, app: Any) -> None:
        app.sock.sock = self._socket
        self._deliver(Opened(self.generation))

    def _on_data(self, _: Any, data: bytes, kind: int, __: bool) -> None:
        is_readable = kind == ABNF.OPCODE_TEXT and len(data) <= FRAME_LIMIT
        self._deliver(Message(self.generation, time.monotonic(), data if is_readable else None))

    def _on_error(self, _: Any, error: Exception) -> None:
        self._reason = self._reason or _explain(error)


def _dial(url: str) -> socket.socket:
    """Connect to the host of ``url``: never by a proxy of the environment, and for wss with its certificate checked."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_secure = parts.scheme == "wss"
    plain = socket.create_connection((host, parts.port or (443 if is_secure else 80)), timeout=_CONNECT_SECONDS)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected = plain
        if is_secure:
            # The trust store of the REST client.
            trust = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
            connected = trust.wrap_socket(plain, server_hostname=host)
        connected.settimeout(_SOCKET_SECONDS)
    except BaseException:
        plain.close()
        raise
    return connected


class _Unredirected:
    """The socket during the handshake. websocket-client follows redirects and cannot be told not to; this refuses."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._head = b""

    def recv(self, size: int) -> bytes:
        data = self._socket.recv(size)
        if len(self._head) < 10:
            self._head += data
            if self._head[9:10] == b"3":
                raise WebSocketException("the server answers with a redirect; not followed")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def _explain(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error}"
    return str(error) or type(error).__name__
