"""What all sockets of a web process share: a subscription and a memory for each channel, and the pollers."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from markets.models import Job
from markets.moments import iso
from markets.serializers import JobSerializer
from signals.push.channels import KEPT, STATUS, ChannelName, channel_layer, group_of, stream_key
from signals.push.messages import body, reset_body, with_head
from signals.push.rings import Reader, Ring
from signals.push.status import read_status
from signals.push.watching import note_watched

logger = logging.getLogger(__name__)

# Whatever the channel layer lost is found this much later in the stream.
_HEAL_SECONDS = 2.0
_JOB_SECONDS = 0.5
_STATUS_SECONDS = 2.0
HEARTBEAT_SECONDS = 10.0
_PROBLEMS = (RedisError, OSError, RuntimeError)


class Hub:
    """The sockets of one event loop and what they follow. All methods are called on that loop."""

    def __init__(self) -> None:
        self._layer = channel_layer()
        self._redis = Redis.from_url(settings.REDIS_URLS[1], **settings.REDIS_SOCKET)
        self._name = ""
        self._rings: dict[str, Ring] = {}
        self._readers: dict[str, set[Reader]] = {}
        self._all: set[Reader] = set()
        self._jobs: dict[str, int] = {}
        self._job_states: dict[str, tuple[Any, ...]] = {}
        self._status: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._healing = asyncio.Lock()

    def join(self) -> Reader:
        """Return a new socket's reader. The first one starts the hub's tasks."""
        if not self._tasks:
            work: tuple[tuple[Callable[[], Awaitable[None]], float], ...] = (
                (self._listen, 0.5),
                (self._heal, _HEAL_SECONDS),
                (self._poll_jobs, _JOB_SECONDS),
                (self._poll_status, _STATUS_SECONDS),
                (self._beat, HEARTBEAT_SECONDS),
            )
            self._tasks = [asyncio.create_task(self._keep(each, pause)) for each, pause in work]
        reader = Reader()
        self._all.add(reader)
        return reader

    async def follow(self, reader: Reader, channel: ChannelName, *, since: int | None = None) -> int:
        """Let a socket read a channel; return the number of its newest message."""
        name = channel.text
        ring = self._rings.get(name)
        self._readers.setdefault(name, set()).add(reader)
        if ring is None:
            ring = self._rings[name] = Ring(name, is_streamed=channel.is_streamed)
            await self._open(ring, channel)
        await ring.opened.wait()
        if channel.is_streamed:
            reader.follow(ring, since=since)
        else:
            # Each message is the whole state, so there is nothing to resume: the newest is all there is to know. The
            # numbers are this process's own; who counted on with another's begins anew.
            reader.follow(ring, since=None)
            if since not in (None, ring.last):
                reader.tell(with_head(ring.last, reset_body(name)))
            await self._show(reader, channel)
        return ring.last

    async def unfollow(self, reader: Reader, channel: str) -> None:
        reader.leave(channel)
        readers = self._readers.get(channel, set())
        readers.discard(reader)
        if readers:
            return
        self._readers.pop(channel, None)
        self._rings.pop(channel, None)
        self._jobs.pop(channel, None)
        self._job_states.pop(channel, None)
        if self._name:
            await self._quietly(self._layer.group_discard(group_of(channel), self._name))

    async def leave(self, reader: Reader) -> None:
        self._all.discard(reader)
        for channel in list(reader.rings):
            await self.unfollow(reader, channel)

    async def close(self) -> None:
        """End the tasks and the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._quietly(self._layer.flush())
        await self._redis.aclose()

    def heartbeat(self, sequences: dict[str, int] | None = None) -> str:
        """Return a heartbeat: our time, what the live path says of itself, and the newest number of each channel."""
        fields = {
            "time": iso(time.time_ns() // 1_000_000),
            "feed": self._status.get("state", "down"),
            "exchange_time": self._status.get("exchange_time"),
            **({"seqs": sequences} if sequences is not None else {}),
        }
        return with_head(0, body("", "hb", fields))

    async def _open(self, ring: Ring, channel: ChannelName) -> None:
        """Hear of a channel's messages from now on, then read those that are kept."""
        try:
            if channel.is_streamed:
                await self._quietly(self._add_to_group(ring.channel))
                await self._quietly(self._note_watched([ring]))
                await self._quietly(self._read_kept(ring))
                return
            ring.begin_at(time.time_ns() // 1_000_000)
            if channel.job is not None:
                self._jobs[ring.channel] = channel.job
        finally:
            ring.opened.set()

    async def _add_to_group(self, channel: str) -> None:
        if self._name:
            await self._layer.group_add(group_of(channel), self._name)

    async def _note_watched(self, rings: list[Ring]) -> None:
        await note_watched(self._redis, [ring.channel for ring in rings if ring.is_candles])

    async def _read_kept(self, ring: Ring) -> None:
        rows: list[Any] = await self._redis.xrevrange(stream_key(ring.channel), count=KEPT) or []
        self._append(ring, reversed(rows))
        ring.is_known = True

    def _append(self, ring: Ring, rows: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for key, fields in rows:
            self._put(ring, int(key.partition(b"-")[0]), fields[b"m"].decode())

    def _put(self, ring: Ring, sequence: int, rest: str) -> None:
        if sequence <= ring.last:
            return
        is_first = ring.last == 0
        ring.append(sequence, rest)
        for reader in self._readers.get(ring.channel, ()):
            if is_first and ring.is_known:
                reader.begin(ring)
            reader.wake()

    def _wake(self, channel: str) -> None:
        for reader in self._readers.get(channel, ()):
            reader.wake()

    async def _listen(self) -> None:
        """Take what the channel layer brings, until the layer fails."""
        if not self._name:
            self._name = await self._layer.new_channel()
            for ring in self._streamed():
                await self._layer.group_add(group_of(ring.channel), self._name)
        while True:
            message = await self._layer.receive(self._name)
            found = self._rings.get(message["ch"])
            if found is not None:
                # A stream process of another version, amid an upgrade, may tell otherwise: then healing finds it.
                for sequence, text in message.get("items", ()):
                    await self._take(found, sequence, text)

    async def _take(self, ring: Ring, sequence: int, text: str) -> None:
        if sequence <= ring.last:
            return
        if sequence == ring.last + 1 or (ring.is_known and not ring.last):
            self._put(ring, sequence, text)
        else:
            await self._quietly(self._catch_up([ring]))

    async def _heal(self) -> None:
        """Read what the layer did not bring: it delivers at most once."""
        rings = self._streamed()
        if rings:
            await self._note_watched(rings)
            await self._catch_up(rings)

    def _streamed(self) -> list[Ring]:
        return [ring for ring in self._rings.values() if ring.is_streamed]

    async def _catch_up(self, rings: list[Ring]) -> None:
        async with self._healing, self._redis.pipeline(transaction=False) as pipeline:
            for ring in rings:
                pipeline.xrange(stream_key(ring.channel), min=f"({ring.last}-0", count=KEPT)
            answers = await pipeline.execute()
        for ring, rows in zip(rings, answers, strict=True):
            self._append(ring, rows)
            ring.is_known = True

    async def _poll_jobs(self) -> None:
        if self._jobs:
            for name, fields in (await _read_jobs(dict(self._jobs))).items():
                state = (fields["state"], fields["progress"], fields["stage"])
                if name in self._rings and self._job_states.get(name) != state:
                    self._job_states[name] = state
                    self._append_own(name, body(name, "job", fields))

    async def _poll_status(self) -> None:
        if self._all:
            self._status = await _read_status()
            if STATUS in self._rings:
                self._append_own(STATUS, body(STATUS, "status", self._status))

    async def _beat(self) -> None:
        text = self.heartbeat()
        for reader in self._all:
            # A socket that has not taken the last ones yet needs no more of them.
            if reader.unsent < 3:
                reader.tell(text)

    async def _show(self, reader: Reader, channel: ChannelName) -> None:
        """Tell a socket that has just come the state as it is."""
        name = channel.text
        ring = self._rings[name]
        if channel.job is not None:
            fields = (await _read_jobs({name: channel.job})).get(name, {})
            self._job_states[name] = (fields.get("state"), fields.get("progress"), fields.get("stage"))
            text = body(name, "job", fields)
        else:
            self._status = await _read_status()
            text = body(name, "status", self._status)
        if reader.rings.get(name) is ring:
            self._append_own(name, text)

    def _append_own(self, channel: str, rest: str) -> None:
        """Add a message of a channel that no stream keeps, under a number of our own."""
        ring = self._rings[channel]
        ring.append(ring.last + 1, rest)
        self._wake(channel)

    async def _keep(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        """Do ``work`` again and again; what fails is tried again."""
        while True:
            await self._quietly(work())
            await asyncio.sleep(pause)

    async def _quietly(self, work: Awaitable[None]) -> None:
        try:
            await work
        except _PROBLEMS as error:
            logger.warning("the live channels are disturbed", extra={"error": f"{type(error).__name__}: {error}"[:200]})
        except Exception:
            logger.exception("a task of the live channels failed")


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


@database_sync_to_async
def _read_jobs(wanted: dict[str, int]) -> dict[str, dict[str, Any]]:
    names = {job: name for name, job in wanted.items()}
    return {names[row.pk]: dict(JobSerializer(row).data) for row in Job.objects.filter(pk__in=names)}


@database_sync_to_async
def _read_status() -> dict[str, Any]:
    return read_status()
