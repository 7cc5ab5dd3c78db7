"""The request budget: one for all processes, so that together they stay well below what the exchange allows."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from redis import Redis
from redis.exceptions import RedisError

from markets.errors import RateLimitedError
from markets.moments import iso

logger = logging.getLogger(__name__)

# Binance's own limit since 2023-08; the one in exchangeInfo replaces it as soon as it is known.
DEFAULT_WEIGHT_PER_MINUTE = 6_000
_SHARE = 0.5
_WINDOW_SECONDS = 60
_QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go now. Times are real seconds from now."""

    may_go: bool
    wait_seconds: float = 0.0
    is_banned: bool = False


class _Window(Protocol):
    def take(self, weight: int) -> Verdict: ...
    def note_used(self, weight: int) -> None: ...
    def note_limit(self, weight: int) -> None: ...
    def ban(self, seconds: float) -> None: ...


class RequestBudget:
    """A sliding minute of request weight, at most half of the exchange's limit, and the time we are banned until.

    With a Redis ``client`` both are shared by all processes that use it. Without one, or while it is down, they
    hold for this process alone. All times are real seconds, also when the exchange's clock runs faster.
    """

    def __init__(
        self,
        client: "Redis | None",
        *,
        scope: str = "exchange",
        patience_seconds: float = 90.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._patience = patience_seconds
        self._sleep = sleep
        self._local = _LocalWindow()
        self._shared = _SharedWindow(client, scope) if client is not None else None
        self._quiet_until = 0.0

    def for_host(self, host: str) -> "RequestBudget":
        """Return the budget of one host: limits and bans of different exchanges have nothing to do with each other."""
        return RequestBudget(self._client, scope=host, patience_seconds=self._patience, sleep=self._sleep)

    def acquire(self, weight: int) -> None:
        """Wait until a request of this weight may go.

        Raises
        ------
        RateLimitedError
            We are banned, or there is no room within the patience: nothing may be sent now.
        """
        deadline = time.monotonic() + self._patience
        while True:
            verdict = self._take(weight)
            if verdict.may_go:
                return
            if verdict.is_banned or time.monotonic() + verdict.wait_seconds > deadline:
                reason = "the exchange asked us to wait" if verdict.is_banned else "the request budget is used up"
                wait = verdict.wait_seconds
                raise RateLimitedError(f"{reason} until {moment_after(wait)}", retry_after_seconds=wait)
            self._sleep(verdict.wait_seconds)

    def note_used(self, weight: int) -> None:
        """Believe the exchange: others behind our address use its limit too."""
        self._tell(lambda window: window.note_used(weight))

    def note_limit(self, weight: int) -> None:
        """Set what the exchange allows in a minute."""
        self._tell(lambda window: window.note_limit(weight))

    def ban(self, seconds: float) -> None:
        """Let nobody send anything for this long."""
        logger.warning("the exchange asked us to wait", extra={"seconds": round(seconds)})
        self._tell(lambda window: window.ban(seconds))

    def _take(self, weight: int) -> Verdict:
        local = self._local.take(weight)
        # A ban this process was told of holds, whatever the shared key says: Redis may have lost it.
        if self._shared is None or local.is_banned:
            return local
        try:
            return self._shared.take(weight)
        except RedisError as error:
            self._complain(error)
            return local

    def _tell(self, what: Callable[[_Window], None]) -> None:
        what(self._local)
        if self._shared is not None:
            try:
                what(self._shared)
            except RedisError as error:
                self._complain(error)

    def _complain(self, error: RedisError) -> None:
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + _QUIET_SECONDS
            logger.warning("the request budget is not shared: Redis is down", extra={"error": str(error)})


def moment_after(seconds: float) -> str:
    """Return when a wait that begins now is over, by our clock, as ISO 8601 in UTC."""
    return str(iso(1_000 * round(time.time() + seconds)))


class _LocalWindow:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: deque[tuple[float, int]] = deque()
        self._allowed = DEFAULT_WEIGHT_PER_MINUTE * _SHARE
        self._banned_until = 0.0

    def take(self, weight: int) -> Verdict:
        with self._lock:
            now = time.monotonic()
            if now < self._banned_until:
                return Verdict(may_go=False, wait_seconds=self._banned_until - now, is_banned=True)
            used = self._used(now)
            if used and used + weight > self._allowed:
                return Verdict(may_go=False, wait_seconds=self._taken[0][0] + _WINDOW_SECONDS - now)
            self._taken.append((now, weight))
            return Verdict(may_go=True)

    def note_used(self, weight: int) -> None:
        with self._lock:
            now = time.monotonic()
            unknown = weight - self._used(now)
            if unknown > 0:
                self._taken.append((now, unknown))

    def note_limit(self, weight: int) -> None:
        self._allowed = weight * _SHARE

    def ban(self, seconds: float) -> None:
        with self._lock:
            self._banned_until = max(self._banned_until, time.monotonic() + seconds)

    def _used(self, now: float) -> int:
        while self._taken and self._taken[0][0] <= now - _WINDOW_SECONDS:
            self._taken.popleft()
        return sum(weight for _, weight in self._taken)


# Weights lie in buckets of a second, on Redis's own clock: the processes' clocks may differ.
_USED = """
local now = tonumber(redis.call('TIME')[1])
local used, oldest = 0, now
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  local second = tonumber(rows[i])
  if now - second >= 60 then
    redis.call('HDEL', KEYS[1], rows[i])
  else
    used = used + tonumber(rows[i + 1])
    if second < oldest then oldest = second end
  end
end
"""
_TAKE = f"""
local banned = redis.call('PTTL', KEYS[3])
if banned > 0 then return {{2, banned}} end
{_USED}
local allowed = tonumber(redis.call('GET', KEYS[2]) or ARGV[2]) * tonumber(ARGV[3])
if used > 0 and used + tonumber(ARGV[1]) > allowed then return {{1, (oldest + 60 - now) * 1000}} end
redis.call('HINCRBY', KEYS[1], now, ARGV[1])
redis.call('EXPIRE', KEYS[1], 120)
return {{0, 0}}
"""
_NOTE_USED = f"""
{_USED}
local unknown = tonumber(ARGV[1]) - used
if unknown > 0 then
  redis.call('HINCRBY', KEYS[1], now, unknown)
  redis.call('EXPIRE', KEYS[1], 120)
end
"""
_BAN = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
"""


class _SharedWindow:
    def __init__(self, client: "Redis", scope: str) -> None:
        self._client = client
        self._weight, self._limit, self._banned = (
            f"smc:budget:{scope}:{name}" for name in ("weight", "limit", "banned")
        )
        self._take = client.register_script(_TAKE)
        self._note_used = client.register_script(_NOTE_USED)
        self._ban = client.register_script(_BAN)

    def take(self, weight: int) -> Verdict:
        keys = [self._weight, self._limit, self._banned]
        code, wait = cast("list[int]", self._take(keys=keys, args=[weight, DEFAULT_WEIGHT_PER_MINUTE, _SHARE]))
        return Verdict(may_go=code == 0, wait_seconds=wait / 1000, is_banned=code == 2)

    def note_used(self, weight: int) -> None:
        self._note_used(keys=[self._weight], args=[weight])

    def note_limit(self, weight: int) -> None:
        self._client.set(self._limit, weight, ex=86_400)

    def ban(self, seconds: float) -> None:
        arguments: list[Any] = [max(1, int(seconds * 1000))]
        self._ban(keys=[self._banned], args=arguments)
