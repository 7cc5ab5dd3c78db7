"""Messages on their way from the stream process to everyone: numbered, kept for a while, told."""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from signals.push.channels import KEPT, channel_layer, group_of, is_candles, stream_key
from signals.push.messages import reset_body
from signals.push.watching import read_watched

logger = logging.getLogger(__name__)

# One step for a batch: is the sender still the leader, and of each message: was it numbered before (its answer got
# lost), which number is next, and keep it. A stream that is new, or was lost, begins at the time in ms: above all its
# former numbers. Keys: the leader's, then each message's stream. Values: epoch, time, how many and for how many
# seconds to keep, then each message's number of ours and its text.
_NUMBER = """
local epoch = tonumber(ARGV[1])
local held = redis.call('HMGET', KEYS[1], 'epoch', 'sent')
local leader = tonumber(held[1] or '0')
if leader > epoch then return false end
local sent = leader == epoch and tonumber(held[2] or '0') or 0
local last, answers = {}, {}
for at = 1, #KEYS - 1 do
  local key, number = KEYS[at + 1], ARGV[3 + 2 * at]
  answers[at] = '0'
  if tonumber(number) > sent then
    if not last[key] then
      local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
      last[key] = newest[1] and tonumber(string.match(newest[1][1], '^%d+')) or tonumber(ARGV[2]) - 1
    end
    last[key] = last[key] + 1
    answers[at] = string.format('%.0f', last[key])
    redis.call('XADD', key, 'MAXLEN', '~', ARGV[3], answers[at] .. '-0', 'm', ARGV[4 + 2 * at])
    redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'sent', number)
  end
end
for key in pairs(last) do redis.call('EXPIRE', key, ARGV[4]) end
return answers
"""
_EXPIRE_SECONDS = 86_400
_BATCH = 200
_WAITING_LIMIT = 20_000
_RETRY_SECONDS = 0.5
# Forming candles of all channels go together this often: each costs less so, and signals find the way free.
_FORMING_SECONDS = 0.1
_WATCH_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class _Message:
    number: int
    channel: str
    text: str


class Sender:
    """Sends messages in the order they were given, from one thread with one connection. Never blocks its callers.

    While Redis is away messages wait; of forming candles only the newest of a channel does.

    Parameters
    ----------
    url
        The Redis database of the channels.
    epoch
        The leader's fencing number. Once a higher one has sent a message, nothing of this one goes out.
    shard
        Which leader this is: leaders of different shards do not fence each other.
    """

    def __init__(self, url: str, *, epoch: int, shard: str) -> None:
        self._url = url
        self._epoch = str(epoch)
        self._shard_key = f"smc:live:leader:{shard}"
        self._lock = threading.Lock()
        self._lasting: deque[tuple[str, str]] = deque()
        self._forming: dict[str, str] = {}
        self._numbered = 0
        self._forming_at = 0.0
        self._wake: Callable[[], object] = lambda: None
        self._watched: frozenset[str] = frozenset()
        self._is_closing = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send_all()), name="sender", daemon=True)
        self.sent = 0
        self.is_fenced = False
        self.error = ""

    def start(self) -> None:
        self._thread.start()

    def send(self, channel: str, text: str, *, is_forming: bool = False) -> None:
        """Send a message (from ``messages``). A forming one gives way to whatever comes after it on its channel."""
        with self._lock:
            # To wake a thread costs as much as a message; who waits for the first of its kind is awake for the rest.
            is_first = not (self._forming if is_forming else self._lasting)
            if is_forming:
                self._forming[channel] = text
            else:
                self._forming.pop(channel, None)
                self._lasting.append((channel, text))
                if len(self._lasting) > _WAITING_LIMIT:
                    self._shed()
        if is_first:
            # The loop may be closing just now; then there is nobody to wake.
            with contextlib.suppress(RuntimeError):
                self._wake()

    def is_watched(self, channel: str) -> bool:
        """Whether anybody follows a channel of candles; known a moment after they began."""
        return channel in self._watched

    @property
    def waiting(self) -> int:
        return len(self._lasting) + len(self._forming)

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Send what waits, as far as the time allows, and end the thread."""
        self._is_closing = True
        if self._thread.is_alive():
            self._wake()
            self._thread.join(timeout_seconds)

    def _shed(self) -> None:
        """Give up the messages about candles, and old ones; who reads their channels is told to fetch anew."""
        candles = {channel for channel, _ in self._lasting if is_candles(channel)}
        others = [each for each in self._lasting if not is_candles(each[0])]
        old, kept = others[: -_WAITING_LIMIT // 2], others[-_WAITING_LIMIT // 2 :]
        lost = {channel for channel, _ in old}
        self._lasting = deque([*_resets(lost), *kept, *_resets(candles)])

    async def _send_all(self) -> None:
        news, loop = asyncio.Event(), asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(news.set)
        redis = Redis.from_url(self._url, **settings.REDIS_SOCKET)
        layer = channel_layer()
        number = redis.register_script(_NUMBER)
        batch: list[_Message] = []
        watching = asyncio.create_task(self._watch(redis))
        while not self.is_fenced:
            news.clear()
            batch = batch or self._take()
            if not batch:
                if self._is_closing:
                    break
                pause = self._forming_at - time.monotonic() if self._forming else None
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), pause)
                continue
            try:
                batch = await self._send_batch(number, layer, batch)
                self.error = ""
            except (RedisError, OSError) as error:
                self._complain(error)
                if self._is_closing:
                    break
                await asyncio.sleep(_RETRY_SECONDS)
        self._wake = lambda: None
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await layer.flush()
        await redis.aclose()

    async def _watch(self, redis: Redis) -> None:
        while True:
            # While Redis is away nobody hears anything, and who watched before will again.
            with contextlib.suppress(RedisError, OSError):
                self._watched = await read_watched(redis)
            await asyncio.sleep(_WATCH_SECONDS)

    def _take(self) -> list[_Message]:
        with self._lock:
            pairs = [self._lasting.popleft() for _ in range(min(_BATCH, len(self._lasting)))]
            now = time.monotonic()
            if not self._lasting and (now >= self._forming_at or self._is_closing):
                pairs += self._forming.items()
                self._forming.clear()
                self._forming_at = now + _FORMING_SECONDS
        messages = []
        for channel, text in pairs:
            self._numbered += 1
            messages.append(_Message(self._numbered, channel, text))
        return messages

    async def _send_batch(self, number: Any, layer: Any, batch: list[_Message]) -> list[_Message]:
        """Number, keep and tell a batch; return what is left to do."""
        now = time.time_ns() // 1_000_000
        pairs = ((message.number, message.text) for message in batch)
        answers: list[bytes] | None = await number(
            keys=[self._shard_key, *(stream_key(message.channel) for message in batch)],
            args=[self._epoch, now, KEPT, _EXPIRE_SECONDS, *chain.from_iterable(pairs)],
        )
        if answers is None:
            self.is_fenced = True
            logger.error("another leader sends; nothing more goes out", extra={"epoch": self._epoch})
            return []
        told: dict[str, list[tuple[int, str]]] = {}
        for message, answer in zip(batch, answers, strict=True):
            self.sent += 1
            if sequence := int(answer):
                told.setdefault(message.channel, []).append((sequence, message.text))
        for channel, items in told.items():
            # Whoever misses it finds it in the stream, so a failure here is no reason to number it again; nor does it
            # hurt when somebody has begun to follow a series just now, and is not known to.
            if is_candles(channel) and not self.is_watched(channel):
                continue
            await layer.group_send(group_of(channel), {"type": "live.messages", "ch": channel, "items": items})
        return []

    def _complain(self, error: Exception) -> None:
        if not self.error:
            logger.warning("nothing can be sent for now", extra={"error": str(error)})
        self.error = f"{type(error).__name__}: {error}"


def _resets(channels: set[str]) -> list[tuple[str, str]]:
    return [(channel, reset_body(channel)) for channel in sorted(channels)]
