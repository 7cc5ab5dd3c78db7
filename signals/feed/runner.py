"""The stream of this process: leads or stands by, starts again what fails, ends when told."""

import logging
import threading
import time
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connections
from redis import Redis
from redis.exceptions import RedisError

from markets.errors import FencedError
from markets.services.exchange import open_exchange
from markets.services.pairs import track_first_pairs
from signals.feed.amends import make_amends
from signals.feed.feed import Feed
from signals.feed.fence import Fence
from signals.feed.lead import Lead
from signals.feed.lease import RENEW_SECONDS, Lease
from signals.feed.report import feed_status
from signals.feed.vitals import Vitals
from signals.feed.wishes import Shard, read_wishes
from signals.push.sender import Sender
from signals.push.status import write_status

logger = logging.getLogger(__name__)

_STANDBY_SECONDS = 1.0
_STOP_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


class StreamRunner:
    """Owns the stream's thread. Every method may be called at any time, from any thread, and again.

    ``role`` is ``starting``, ``standby``, ``leader``, ``down`` or ``stopped``.
    """

    def __init__(self, shard: Shard | None = None) -> None:
        self.shard = shard or Shard()
        self.role = "starting"
        self.error = ""
        self.restarts = 0
        self.vitals = Vitals()
        self.feed: Feed | None = None
        self.sender: Sender | None = None
        self.epoch = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._lease = Lease(Redis.from_url(settings.REDIS_URLS[3], **settings.REDIS_SOCKET), shard=str(self.shard))

    def ensure(self) -> None:
        """See to it that the stream's threads live."""
        with self._lock:
            for work in (self._run, self._tell):
                thread = self._threads.get(work.__name__)
                if not self._stopping.is_set() and (thread is None or not thread.is_alive()):
                    thread = threading.Thread(target=work, name=f"stream{work.__name__}", daemon=True)
                    self._threads[work.__name__] = thread
                    thread.start()

    def sync(self) -> None:
        """Look now which series are wanted."""
        if self.feed is not None:
            self.feed.sync()

    def stop(self) -> None:
        """End the stream and give up the lead; returns when that is done, or takes too long."""
        self._stopping.set()
        if self.feed is not None:
            self.feed.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def status(self) -> dict[str, Any]:
        """Return what ``/api/v1/status`` tells of this process."""
        return feed_status(self)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                if not self._lease.acquire():
                    self.role, self.error = "standby", ""
                    self._stopping.wait(_STANDBY_SECONDS)
                    continue
                self._lead()
                self.error = ""
            except (RedisError, OSError) as error:
                self.role, self.error = "down", f"no lease without Redis: {error}"[:200]
            except Exception as error:
                logger.exception("the stream fails")
                self.role, self.error = "down", f"{type(error).__name__}: {error}"[:300]
            finally:
                connections.close_all()
            self.restarts += not self._stopping.is_set()
            pause = _FIRST_PAUSE if time.monotonic() - began > _LONGEST_PAUSE else min(_LONGEST_PAUSE, 2 * pause)
            self._stopping.wait(pause)
        self.role = "stopped"

    def _lead(self) -> None:
        """Follow the market for as long as the lead is ours."""
        # One a lead: what the lead before left under way is to be stopped by it like anybody else's.
        fence = Fence(settings.VAR_ROOT / f"stream-{self.shard}.epoch")
        self.epoch = fence.take()
        self.role = "leader"
        logger.info("leading", extra={"epoch": self.epoch, "shard": str(self.shard)})
        lost = threading.Event()
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(ended, lost), name="stream-lease", daemon=True)
        renewing.start()
        sender = self.sender = Sender(settings.REDIS_URLS[1], epoch=self.epoch, shard=str(self.shard))
        sender.start()
        try:
            self._follow(sender, fence, lost)
        except FencedError as error:
            logger.warning("the lead is lost", extra={"why": str(error)})
        finally:
            ended.set()
            self.feed = None
            sender.close()
            self._lease.release()

    def _follow(self, sender: Sender, fence: Fence, lost: threading.Event) -> None:
        track_first_pairs()
        lead = Lead(exchange=open_exchange(), fence=fence, check=lambda: self._check(fence))
        self._make_amends(sender)
        self.feed = Feed(lead, sender, self.vitals, wishes=lambda: read_wishes(self.shard))
        if lost.is_set() or self._stopping.is_set():
            self.feed.stop()
        self.feed.run()

    def _make_amends(self, sender: Sender) -> None:
        try:
            with Redis.from_url(settings.REDIS_URLS[1], **settings.REDIS_SOCKET) as redis:
                count = make_amends(redis, sender, self.shard)
        except (RedisError, OSError) as error:
            logger.warning("what was not said cannot be known", extra={"error": str(error)})
        else:
            logger.info("said what was entered and not said", extra={"count": count})

    def _renew(self, ended: threading.Event, lost: threading.Event) -> None:
        while not ended.wait(RENEW_SECONDS):
            if self._lease.renew() is False:
                logger.warning("another stream worker has the lease")
                lost.set()
                if self.feed is not None:
                    self.feed.stop()
                return

    def _check(self, fence: Fence) -> None:
        """Raise when the work under way is to end."""
        fence.check()
        if self._stopping.is_set():
            raise FencedError("the stream is stopping")

    def _tell(self) -> None:
        """Say once a second how the stream is, as long as it is this process's to say."""
        while not self._stopping.wait(1.0):
            if self.role in ("leader", "down"):
                write_status(self.status(), shard=self.shard.number)


@cache
def stream_runner() -> StreamRunner:
    """Return the stream of this process."""
    return StreamRunner(_shard)


_shard = Shard()


def set_shard(shard: Shard) -> None:
    """Choose which part of the pairs this process's stream follows; before it is first asked for."""
    global _shard  # noqa: PLW0603 - the command's choice, made once, for the consumer that Channels builds
    _shard = shard
