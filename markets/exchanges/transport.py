"""HTTP with bounds: one deadline for a whole answer, a cap on its body, no redirects, no proxies from outside."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from markets.errors import BadAnswerError, ExchangeError, ExchangeUnavailableError, InvalidInputError

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer. ``body`` is decoded; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long an answer may take, and how large it may be once decoded."""

    connect_seconds: float = 5.0
    total_seconds: float = 15.0
    body_bytes: int = 10 * MEBIBYTE


def require_secure(url: str, schemes: tuple[str, str]) -> None:
    """Let ``url`` pass when it is encrypted (the first of ``schemes``), or plain (the second) on loopback."""
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == schemes[0] or (parts.scheme == schemes[1] and _is_loopback(parts.hostname))):
        return
    raise InvalidInputError(f"{url!r:.80} must start with {schemes[0]}://; {schemes[1]}:// is for loopback only")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Transport:
    """GET requests to one base URL. Safe to use from several threads: each has its own connections."""

    def __init__(
        self, base_url: str, *, bounds: Bounds | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        require_secure(base_url, ("https", "http"))
        self._base_url = base_url.rstrip("/")
        self._bounds = bounds if bounds is not None else Bounds()
        self._headers = {"Accept-Encoding": "gzip", "User-Agent": "smc-signal-service", **(headers or {})}
        self._sessions = threading.local()
        self.host = urlsplit(base_url).netloc

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Answer:
        """Return the answer, whatever its status.

        Raises
        ------
        ExchangeUnavailableError
            No connection, or no whole answer in time.
        BadAnswerError
            The answer is a redirect, or larger than it may be.
        """
        with _deadline(self._bounds.total_seconds) as deadline:
            try:
                answer = self._get(path, params)
            except (requests.RequestException, HTTPError, OSError) as error:
                # A connection that failed half way is in an unknown state.
                self._session().close()
                raise self._explained(error, is_late=deadline.is_over) from error
        # A body without a length seems whole when the deadline cuts it.
        if deadline.is_over:
            raise self._late()
        return answer

    def _get(self, path: str, params: Mapping[str, str | int] | None) -> Answer:
        with self._session().get(
            f"{self._base_url}{path}",
            params=params,
            timeout=(self._bounds.connect_seconds, self._bounds.total_seconds),
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.is_redirect:
                raise BadAnswerError(
                    f"{self.host}{path} answers with a redirect ({response.status_code}); not followed"
                )
            body = bytearray()
            while chunk := response.raw.read1(65_536, decode_content=True):
                body += chunk
                if len(body) > self._bounds.body_bytes:
                    raise BadAnswerError(f"the answer of {self.host}{path} is over {self._bounds.body_bytes:,} bytes")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, headers, bytes(body))

    def _explained(self, error: Exception, *, is_late: bool) -> ExchangeError:
        if is_late:
            return self._late()
        if isinstance(error, requests.exceptions.SSLError):
            return ExchangeUnavailableError(f"cannot reach {self.host}: TLS: {_root(error)}")
        if isinstance(error, requests.exceptions.InvalidURL):
            return BadAnswerError(f"cannot ask {self.host}: {_root(error)}")
        return ExchangeUnavailableError(f"cannot reach {self.host}: {_root(error)}")

    def _late(self) -> ExchangeUnavailableError:
        return ExchangeUnavailableError(f"no whole answer of {self.host} in {self._bounds.total_seconds:g} s")

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._sessions, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False
            session.headers.update(self._headers)
            for scheme in ("https://", "http://"):
                session.mount(scheme, _TimedAdapter())
            self._sessions.session = session
        return session


def _root(error: BaseException) -> str:
    """Return the innermost reason: requests wraps urllib3, which wraps the system's own words."""
    reason = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    if isinstance(reason, BaseException) and reason is not error:
        return _root(reason)
    return str(error)[:200] or type(error).__name__


class _Deadline:
    """Shuts the connection of this thread's request when its time is over.

    A read timeout starts anew with every byte, so a server that drips would hold us for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def start(self) -> None:
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()

    def watch(self, connection: socket.socket | None) -> None:
        self._socket = connection
        if self.is_over:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


_running = threading.local()


@contextmanager
def _deadline(seconds: float) -> Iterator[_Deadline]:
    deadline = _Deadline(seconds)
    _running.deadline = deadline
    deadline.start()
    try:
        yield deadline
    finally:
        deadline.cancel()
        _running.deadline = None


class _TimedConnection(HTTPConnection):
    def getresponse(self) -> Any:
        _running.deadline.watch(self.sock)
        return super().getresponse()


class _TimedSecureConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        _running.deadline.watch(self.sock)
        return super().getresponse()


class _TimedPool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TimedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _TimedSecureConnection


class _TimedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _TimedPool, "https": _TimedSecurePool}
