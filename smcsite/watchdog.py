"""Watches a Celery worker from within: gives its sign of life, and ends it when it has gone deaf.

After a lost connection a worker may look connected and take nothing any more (celery#8030, celery#9054). It cannot
be talked back to life, but whoever supervises it starts a new one.
"""

import logging
import os
import threading
import time
from typing import Any

from celery.worker import state
from redis.exceptions import RedisError

from smcsite.heartbeats import BEAT_SECONDS, beat, redis_client

logger = logging.getLogger(__name__)

DEAF_AFTER_SECONDS = 30.0
_DEAF_EXIT_CODE = 70


class Deafness:
    """Judges whether a worker is deaf: messages wait, it has nothing to do, and it takes none of them."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._taken = -1

    def seconds(self, *, waiting: int, busy: int, taken: int, now: float) -> float:
        """Return how long the worker has taken nothing although it could."""
        if waiting == 0 or busy > 0 or taken != self._taken:
            self._since, self._taken = None, taken
            return 0.0
        if self._since is None:
            self._since = now
        return now - self._since


def start_watchdog(consumer: Any) -> None:
    """Start watching the worker that ``consumer`` belongs to."""
    queues = list(consumer.app.amqp.queues.consume_from)
    threading.Thread(target=_watch, args=(queues,), name="watchdog", daemon=True).start()


def _watch(queues: list[str]) -> None:
    deafness = Deafness()
    while True:
        try:
            beat("worker")
            waiting = sum(redis_client(0).llen(queue) for queue in queues)
        except (RedisError, OSError):
            waiting = 0  # it is no wonder that nothing is taken
        busy = len(state.active_requests) + len(state.reserved_requests)
        silent = deafness.seconds(
            waiting=waiting, busy=busy, taken=sum(state.total_count.values()), now=time.monotonic()
        )
        if silent >= DEAF_AFTER_SECONDS:
            logger.error("the worker takes nothing any more and ends itself", extra={"queues": queues})
            os._exit(_DEAF_EXIT_CODE)
        time.sleep(BEAT_SECONDS)
