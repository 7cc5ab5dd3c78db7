"""The Channels consumers: browsers' sockets, and the channel that keeps the stream alive. Both only pass on."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import orjson
from channels.consumer import AsyncConsumer
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError

from markets.errors import InvalidInputError, ServiceUnavailableError, SmcError, TooLargeError
from markets.models import Job, Series
from signals.feed.runner import stream_runner
from signals.push.channels import ChannelName, read_channel
from signals.push.hub import hub
from signals.push.messages import body, with_head
from signals.push.rings import Reader

logger = logging.getLogger(__name__)

_LONGEST_MESSAGE = 16_384
_MOST_CHANNELS = 600
# A page that opens asks for much at once; after that, one message is one click.
_MESSAGES_A_SECOND, _MESSAGES_AT_ONCE = 5.0, 60
_RECHECK_SECONDS = 30.0
_POLICY_VIOLATION, _TOO_BIG, _SIGNED_OUT = 1008, 1009, 4401


class LiveConsumer(AsyncWebsocketConsumer):
    """One browser's or program's socket at ``/ws/live/``.

    Who may open it was decided before it got here (``smcsite.asgi``). Everything it says comes from the hub.
    """

    # Not a channel of its own: the hub has one for all sockets of the process.
    channel_layer_alias = "none"

    reader: Reader
    _tasks: list["asyncio.Task[None]"]

    async def connect(self) -> None:
        await self.accept()
        self.reader = hub().join()
        self._allowance, self._refilled_at = float(_MESSAGES_AT_ONCE), time.monotonic()
        self._tasks = [asyncio.create_task(self._write())]
        scope: Any = self.scope
        if "recheck" in scope:
            self._tasks.append(asyncio.create_task(self._watch_session(scope["recheck"])))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # However it ends: after an error Channels calls no ``disconnect``.
            for task in getattr(self, "_tasks", ()):
                task.cancel()
            if hasattr(self, "reader"):
                await hub().leave(self.reader)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            self._spend()
            await self._obey(_read(text_data if text_data is not None else bytes_data or b""))
        except SmcError as error:
            self._refuse(error)
            if isinstance(error, TooLargeError):
                await self._end(_TOO_BIG)
        except DatabaseError as error:
            logger.warning("a socket cannot be answered", extra={"error": f"{type(error).__name__}: {error}"[:200]})
            self._refuse(ServiceUnavailableError("the database does not answer now; ask again in a moment"))

    async def _obey(self, message: dict[str, Any]) -> None:
        operation = message.get("op")
        if operation == "ping":
            self.reader.tell(hub().heartbeat())
        elif operation == "sub":
            await self._subscribe(_names(message), message.get("since"))
        elif operation == "unsub":
            for name in _names(message):
                await hub().unfollow(self.reader, str(name))
        else:
            raise InvalidInputError(f"unknown op {str(operation)[:40]!r}: sub, unsub or ping", field="op")

    async def _subscribe(self, names: list[object], since: object) -> None:
        """Follow each channel that exists; say of the others why not."""
        followed: dict[str, int] = {}
        for name in names:
            try:
                from_number = _since(since, name)
                channel = await self._existing(name)
                followed[channel.text] = await hub().follow(self.reader, channel, since=from_number)
            except SmcError as error:
                self._refuse(error, channel=name)
        if followed:
            self.reader.tell(hub().heartbeat(followed))

    async def _existing(self, name: object) -> ChannelName:
        channel = read_channel(name)
        if channel.text not in self.reader.rings:
            if len(self.reader.rings) >= _MOST_CHANNELS:
                raise InvalidInputError(f"a socket follows at most {_MOST_CHANNELS} channels", field="ch")
            if not await _exists(channel):
                raise InvalidInputError(f"unknown channel {channel.text!r}: there is no such series or job", field="ch")
        return channel

    def _spend(self) -> None:
        """Count a message against what this socket may say."""
        now = time.monotonic()
        self._allowance = min(
            float(_MESSAGES_AT_ONCE), self._allowance + (now - self._refilled_at) * _MESSAGES_A_SECOND
        )
        self._refilled_at = now
        self._allowance -= 1.0
        if self._allowance < 0:
            raise TooManyMessagesError(f"more than {_MESSAGES_A_SECOND:g} messages a second")

    def _refuse(self, error: SmcError, *, channel: object = "") -> None:
        fields = {"code": error.code, "detail": str(error)}
        self.reader.tell(with_head(0, body(str(channel)[:60], "error", fields)))
        if isinstance(error, TooManyMessagesError) and self._allowance < -_MESSAGES_AT_ONCE:
            self._tasks.append(asyncio.create_task(self._end(_POLICY_VIOLATION)))

    async def _end(self, code: int) -> None:
        """Close once what was said last is sent."""
        deadline = time.monotonic() + 1.0
        while self.reader.unsent and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await self.close(code)

    async def _watch_session(self, recheck: Callable[[], Awaitable[bool]]) -> None:
        """Close when the session that opened this socket has ended."""
        while True:
            await asyncio.sleep(_RECHECK_SECONDS)
            try:
                is_open = await recheck()
            except DatabaseError as error:
                logger.warning(
                    "a session cannot be asked for", extra={"error": f"{type(error).__name__}: {error}"[:200]}
                )
                continue
            if not is_open:
                self._refuse(SessionEndedError("the session has ended; sign in again"))
                await self._end(_SIGNED_OUT)
                return

    async def _write(self) -> None:
        """Send what the reader has, as fast as the other end takes it."""
        with contextlib.suppress(OSError, RuntimeError):
            while True:
                for text in await self.reader.next_messages():
                    await self.send(text_data=text)


class TooManyMessagesError(SmcError):
    """A socket says more than it may."""

    code = "too-many-messages"
    title = "Too many messages"


class SessionEndedError(SmcError):
    """The session that opened a socket is over."""

    code = "session-ended"
    title = "Session ended"


class StreamConsumer(AsyncConsumer):
    """The worker channel ``binance-stream``. Its messages are nudges: lost or told twice, they do no harm.

    Channels makes a new instance after any error, so the stream itself belongs to the process, not to the instance.
    """

    channel_layer_alias = "none"

    async def stream_ensure(self, message: dict[str, Any]) -> None:
        """See to it that the stream runs."""
        await asyncio.to_thread(stream_runner().ensure)

    async def stream_sync(self, message: dict[str, Any]) -> None:
        """Look now which series are wanted."""
        await asyncio.to_thread(stream_runner().sync)

    async def stream_stop(self, message: dict[str, Any]) -> None:
        """End the stream and give up the lead."""
        await asyncio.to_thread(stream_runner().stop)


def _read(raw: str | bytes) -> dict[str, Any]:
    if len(raw) > _LONGEST_MESSAGE:
        raise TooLargeError(f"a message has at most {_LONGEST_MESSAGE} bytes")
    try:
        message = orjson.loads(raw)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        raise InvalidInputError('a message is a JSON object such as {"op": "sub", "ch": ["signals"]}')
    return message


def _names(message: dict[str, Any]) -> list[object]:
    names = message.get("ch")
    if not isinstance(names, list) or not names:
        raise InvalidInputError("ch must be a list of channels", field="ch")
    unique: Iterable[object] = dict.fromkeys(name if isinstance(name, str) else str(name) for name in names)
    return list(unique)


def _since(since: object, name: object) -> int | None:
    """Return the number after which to go on: one for all channels, or one a channel."""
    wanted = since.get(name) if isinstance(since, dict) else since
    if wanted is None:
        return None
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise InvalidInputError("since must be the last seq seen on the channel", field="since")
    return wanted


@database_sync_to_async
def _exists(channel: ChannelName) -> bool:
    if channel.series is not None:
        wanted = channel.series
        return Series.objects.filter(pair__symbol=wanted.symbol, timeframe=wanted.timeframe.value).exists()
    return channel.job is None or Job.objects.filter(pk=channel.job).exists()
