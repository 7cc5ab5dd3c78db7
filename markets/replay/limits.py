"""Request weights: what was used in this minute, and the ban of those who do not listen."""

import time
from collections import defaultdict
from dataclasses import dataclass

from markets.replay.faults import Faults
from markets.replay.parameters import RefusedError

_TOO_MUCH = (
    "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_BANNED = (
    "Way too much request weight used; IP banned until {until}. "
    "Please use WebSocket Streams for live updates to avoid bans."
)


class TooManyRequestsError(RefusedError):
    """429 or 418; ``retry_after`` is in real seconds."""

    def __init__(self, text: str, *, status: int, retry_after: int) -> None:
        super().__init__(-1003, text, status=status)
        self.retry_after = retry_after


@dataclass(slots=True)
class _Caller:
    minute: int = 0
    used: int = 0
    warnings: int = 0
    banned_until: float = 0.0
    bans: int = 0


class Weights:
    """Weights by address, in real minutes: a limit, 429 beyond it, 418 for who goes on after three of them."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._callers: defaultdict[str, _Caller] = defaultdict(_Caller)

    @property
    def limit(self) -> int:
        return int(self._faults.setting("limits", "weight"))

    def charge(self, address: str, weight: int) -> int:
        """Count ``weight`` and return what the address used in this minute; raise 429 or 418 beyond the limit."""
        caller, now = self._callers[address], time.time()
        if now < caller.banned_until:
            raise self._ban(caller, now)
        if caller.minute != int(now // 60):
            caller.minute, caller.used, caller.warnings = int(now // 60), 0, 0
        caller.used += weight
        if caller.used <= self.limit:
            return caller.used
        caller.warnings += 1
        if caller.warnings > 3:
            caller.bans += 1
            caller.banned_until = now + min(120 * 2 ** (caller.bans - 1), 3 * 86_400)
            raise self._ban(caller, now)
        text = _TOO_MUCH.format(limit=self.limit)
        raise TooManyRequestsError(text, status=429, retry_after=60 - int(now % 60))

    def used(self, address: str) -> int:
        caller = self._callers[address]
        return caller.used if caller.minute == int(time.time() // 60) else 0

    def _ban(self, caller: _Caller, now: float) -> TooManyRequestsError:
        text = _BANNED.format(until=int(caller.banned_until * 1000))
        return TooManyRequestsError(text, status=418, retry_after=int(caller.banned_until - now) + 1)
