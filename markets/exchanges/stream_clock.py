"""The exchange's clock, asked beside the stream when the stream itself is silent."""

import threading
import time
from collections.abc import Callable

from markets.errors import SmcError


class ClockProbe:
    """Asks the exchange for its time in a thread of its own, so that nobody waits for the answer.

    ``time`` (UTC ms) is the answer of the question asked at ``asked_at`` (monotonic), None when there was none.
    """

    def __init__(self, read_time: Callable[[], int], *, gap_seconds: float) -> None:
        self._read_time = read_time
        self._gap = gap_seconds
        self._is_asking = False
        self._next_at = 0.0
        self.asked_at = float("-inf")
        self.time: int | None = None

    def ask(self) -> None:
        """Ask, unless a question is open or the last one was just now."""
        now = time.monotonic()
        if self._is_asking or now < self._next_at:
            return
        self._is_asking = True
        self._next_at = now + self._gap
        threading.Thread(target=self._ask, args=(now,), name="binance-clock", daemon=True).start()

    def _ask(self, asked_at: float) -> None:
        try:
            self.time = self._read_time()
        except SmcError:
            self.time = None
        finally:
            self.asked_at = asked_at
            self._is_asking = False
