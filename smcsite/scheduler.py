"""The scheduler of Celery beat, of which only one at a time schedules, however many run."""

import logging
import time
from typing import Any
from uuid import uuid4

from celery.beat import PersistentScheduler
from redis.exceptions import RedisError

from smcsite.heartbeats import BEAT_SECONDS, beat, redis_client

logger = logging.getLogger(__name__)

_LEASE = "smc:scheduler:lease"
_LEASE_MILLISECONDS = 15_000
_STANDBY_SECONDS = 3.0
# Held by us, or by nobody: then it is ours for another while. Else 0.
_TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] or not holder then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1
end
return 0
"""


class LeasedScheduler(PersistentScheduler):
    """Schedules while it holds a lease in Redis; stands by otherwise, and while Redis is away."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._name = uuid4().hex
        self._leads = False
        self._renewed = float("-inf")
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if time.monotonic() - self._renewed >= min(BEAT_SECONDS, _STANDBY_SECONDS):
            self._renewed = time.monotonic()
            self._renew()
        if not self._leads:
            return _STANDBY_SECONDS
        return min(float(super().tick(*args, **kwargs)), _STANDBY_SECONDS)

    def _renew(self) -> None:
        led = self._leads
        try:
            self._leads = bool(redis_client(3).eval(_TAKE, 1, _LEASE, self._name, _LEASE_MILLISECONDS))
            beat("scheduler")
        except (RedisError, OSError) as error:
            self._leads = False
            logger.warning("the scheduler waits for Redis", extra={"error": type(error).__name__})
        if self._leads != led:
            logger.info("the scheduler leads" if self._leads else "the scheduler stands by")

    def close(self) -> None:
        try:
            if self._leads and redis_client(3).get(_LEASE) == self._name.encode():
                redis_client(3).delete(_LEASE)
        except (RedisError, OSError):
            logger.info("the scheduler's lease runs out by itself")
        super().close()
