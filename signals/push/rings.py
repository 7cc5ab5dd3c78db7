"""The last messages of a channel, and where each socket stands in them."""

import asyncio
from collections import deque
from collections.abc import Iterable

from signals.push.channels import KEPT, is_candles
from signals.push.messages import reset_body, with_head

# A socket that is this far behind in candles is better served by fetching them: the newest is what it wants.
_CANDLES_BEHIND = 64


class Ring:
    """The newest messages of one channel, numbered without a hole, as this process knows them."""

    def __init__(self, channel: str, *, is_streamed: bool) -> None:
        self.channel = channel
        self.is_streamed = is_streamed
        self.is_candles = is_candles(channel)
        self.opened = asyncio.Event()
        # Whether what was kept before us was read; until then ``last`` may be 0 though there are messages.
        self.is_known = False
        self.last = 0
        self._texts: deque[str] = deque()

    @property
    def first(self) -> int:
        """Number of the oldest message kept; one more than ``last`` when there is none."""
        return self.last - len(self._texts) + 1

    def append(self, sequence: int, rest: str) -> None:
        """Add the next message. After a break in the numbers nothing older is kept."""
        if sequence != self.last + 1:
            self._texts.clear()
        self._texts.append(with_head(sequence, rest))
        self.last = sequence
        if len(self._texts) > KEPT:
            self._texts.popleft()

    def begin_at(self, sequence: int) -> None:
        """Number the first message one higher than ``sequence``."""
        self.last, self.is_known = sequence, True

    def after(self, sequence: int, limit: int) -> list[str] | None:
        """Return up to ``limit`` messages that follow ``sequence``; None when they are not all here any more."""
        if sequence > self.last or sequence + 1 < self.first:
            return None
        start = sequence + 1 - self.first
        return [self._texts[index] for index in range(start, min(start + limit, len(self._texts)))]


class Reader:
    """Where one socket stands in the channels it asked for.

    A socket holds no messages of its own, only a number a channel: a slow one costs nothing, delays nobody, and goes
    on where it stopped. When what it lacks is not kept any more it gets a ``reset``.
    """

    def __init__(self) -> None:
        self.rings: dict[str, Ring] = {}
        self._at: dict[str, int] = {}
        self._own: deque[str] = deque()
        self._news = asyncio.Event()

    def follow(self, ring: Ring, *, since: int | None) -> None:
        """Read on after message ``since``, or from now on."""
        self.rings[ring.channel] = ring
        # No number is below 0, so -1 is behind everything: what it asked for is gone and it gets a reset.
        known = since is None or ring.first - 1 <= since <= ring.last
        self._at[ring.channel] = (ring.last if since is None else since) if known else -1
        self._news.set()

    def begin(self, ring: Ring) -> None:
        """Read a channel that was empty from its first message on."""
        if self._at.get(ring.channel) == 0:
            self._at[ring.channel] = ring.first - 1

    def leave(self, channel: str) -> None:
        self.rings.pop(channel, None)
        self._at.pop(channel, None)

    def tell(self, text: str) -> None:
        """Send a message of no channel: an answer, an error, a heartbeat."""
        self._own.append(text)
        self._news.set()

    def wake(self) -> None:
        self._news.set()

    @property
    def unsent(self) -> int:
        """How many messages of its own wait."""
        return len(self._own)

    async def next_messages(self, limit: int = 32) -> list[str]:
        """Wait for news and return some of it: answers first, then signals, jobs and status, candles last."""
        while True:
            self._news.clear()
            texts = self._take(limit)
            if texts:
                return texts
            await self._news.wait()

    def _take(self, limit: int) -> list[str]:
        texts = [self._own.popleft() for _ in range(min(limit, len(self._own)))]
        for ring in self._by_urgency():
            if len(texts) >= limit:
                break
            texts += self._take_from(ring, limit - len(texts))
        return texts

    def _by_urgency(self) -> Iterable[Ring]:
        return sorted(self.rings.values(), key=lambda ring: ring.is_candles)

    def _take_from(self, ring: Ring, limit: int) -> list[str]:
        at = self._at[ring.channel]
        if at == ring.last:
            return []
        is_far = ring.is_candles and ring.last - at > _CANDLES_BEHIND and at + 1 > ring.first
        found = None if is_far else ring.after(at, limit)
        if found is None:
            self._at[ring.channel] = ring.last
            return [with_head(ring.last, reset_body(ring.channel))]
        self._at[ring.channel] = at + len(found)
        return found
