"""How often a caller may ask: counted in Redis by key or address, and in this process while Redis is away."""

import logging
import threading
import time
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage
from redis.exceptions import RedisError

from smcsite.security.addresses import limit_address, network_of
from smcsite.security.credentials import find_credential, is_staff

logger = logging.getLogger(__name__)

WRONG_SECRETS = "10/m"
LOGINS = ("5/m", "20/h")
# Every page that is opened is a socket, so who is known may open many; strangers are refused anyway.
SOCKETS, STRANGE_SOCKETS = "120/m", "10/m"
# Of one caller in one process. Tickets stand for the key they were asked for with, and pages of many may hold one.
SOCKETS_OPEN = 50
_PERIODS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class LimitReached:
    """A limit that was reached. ``retry_after`` is in whole seconds; ``is_outage``: it could not be counted."""

    limit: str
    retry_after: int
    is_outage: bool = False


class LocalWindows:
    """Counts in this process alone; what is left of a limit while Redis is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, int], int] = {}

    def count(self, group: str, key: str, rate: str) -> LimitReached | None:
        most, period = _split(rate)
        now = time.time()
        window = int(now // period)
        with self._lock:
            if len(self._counts) > 10_000:
                self._counts.clear()
            counted = self._counts[group, key, window] = self._counts.get((group, key, window), 0) + 1
        return LimitReached(rate, max(1, round((window + 1) * period - now))) if counted > most else None


_local = LocalWindows()
_away_until = 0.0


def over_limit(
    request: HttpRequest | None, group: str, key: str, rate: str, *, fails_closed: bool = False
) -> LimitReached | None:
    """Count one request of ``key`` and say whether that is more than ``rate``.

    While Redis is away, the count is this process's own; a limit that ``fails_closed`` refuses instead, for it
    guards a password.
    """
    global _away_until  # noqa: PLW0603 - the breaker of this process
    if time.monotonic() >= _away_until:
        try:
            usage = get_usage(
                request,
                group=group,
                key=lambda _group, _request: key,
                rate=rate,
                method=get_usage.ALL,
                increment=True,
            )
        except (RedisError, OSError) as error:
            # Waiting for a dead server once a request would slow everything down, so it is left alone for a while.
            _away_until = time.monotonic() + _PAUSE_SECONDS
            logger.warning("limits are counted per process: Redis is away", extra={"error": type(error).__name__})
        else:
            if not usage["should_limit"]:
                return None
            return LimitReached(rate, max(1, min(usage["time_left"], _split(rate)[1])))
    if fails_closed:
        return LimitReached(rate, round(_PAUSE_SECONDS), is_outage=True)
    return _local.count(group, key, rate)


@lru_cache(maxsize=32)
def _split(rate: str) -> tuple[int, int]:
    count, _, period = rate.partition("/")
    return int(count), _PERIODS[period]


def caller_key(request: HttpRequest) -> str:
    """Return what the general limit counts by: the secret's id, the person, or the address."""
    credential = find_credential(request)
    if credential is not None:
        return f"key:{credential.id}"
    user = getattr(request, "user", None)
    if is_staff(user):
        return f"user:{user.pk}"  # type: ignore[union-attr]  # staff is a user
    return limit_address(request)


def api_refusal(request: HttpRequest) -> LimitReached | None:
    """Count a call of the API."""
    return over_limit(request, "api", caller_key(request), settings.ENV.rate_limit)


def wrong_secret_refusal(request: HttpRequest) -> LimitReached | None:
    """Count a wrong secret. Right ones are never counted here: a stranger cannot lock others out."""
    return over_limit(request, "wrong-secret", limit_address(request), WRONG_SECRETS)


def socket_refusal(address: str, caller: str, *, has_wrong_secret: bool) -> LimitReached | None:
    """Count a socket that ``caller`` asks to be opened, or a stranger at ``address`` when that is empty."""
    if caller:
        return over_limit(None, "sockets", caller, SOCKETS)
    key = network_of(address)
    if has_wrong_secret and (refusal := over_limit(None, "wrong-secret", key, WRONG_SECRETS)) is not None:
        return refusal
    return over_limit(None, "strange-sockets", key, STRANGE_SOCKETS)


def login_refusal(request: HttpRequest) -> LimitReached | None:
    """Count a login, by address and by name, so that neither many names nor many addresses get further."""
    name = request.POST.get("username", "").casefold()[:150]
    for rate in LOGINS:
        for group, key in (("login-address", limit_address(request)), ("login-name", name)):
            refusal = over_limit(request, f"{group}-{rate}", key, rate, fails_closed=True)
            if refusal is not None:
                return refusal
    return None
