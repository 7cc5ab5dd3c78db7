"""How long to wait before trying again, and how often one may try. All times are real seconds."""

import random
import time
from collections import deque


def full_jitter(attempt: int, *, first: float, cap: float) -> float:
    """Return a random wait between 0 and ``first`` doubled ``attempt`` times, at most ``cap``.

    Anything from nothing to the whole spreads clients that failed together; a fixed part would keep them in step.
    """
    return random.uniform(0, min(cap, first * 2.0 ** min(attempt, 30)))  # noqa: S311 - no secret


class ConnectBudget:
    """At most ``connects`` in any ``window_seconds``."""

    def __init__(self, connects: int, window_seconds: float) -> None:
        self._connects = connects
        self._window = window_seconds
        self._made: deque[float] = deque()

    def take(self) -> bool:
        """Count one connect, if there is room for it."""
        now = time.monotonic()
        while self._made and self._made[0] <= now - self._window:
            self._made.popleft()
        if len(self._made) >= self._connects:
            return False
        self._made.append(now)
        return True
