"""The exchange's own clock: it starts anywhere and runs at any speed."""

import time


class VirtualClock:
    """Exchange time (UTC ms) as a function of the monotonic clock.

    ``end`` is where it stops for good, as at the end of a file; None when the market has no end.
    """

    def __init__(self, start: int, *, speed: float = 1.0, end: int | None = None) -> None:
        # One tuple, so that a reader in another thread never sees half of a change.
        self._line = (float(start), time.monotonic(), float(speed))
        self.end = end

    @property
    def speed(self) -> float:
        """Exchange seconds a real second; 0 stands still."""
        return self._line[2]

    def now(self) -> int:
        """Return the exchange's time, UTC ms."""
        anchor, began, speed = self._line
        now = int(anchor + (time.monotonic() - began) * speed * 1000)
        return now if self.end is None else min(now, self.end)

    def set(self, *, now: int | None = None, speed: float | None = None) -> None:
        """Go on from ``now`` at ``speed``."""
        anchor = self.now() if now is None else now
        self._line = (float(anchor), time.monotonic(), self.speed if speed is None else float(speed))

    def seconds_until(self, moment: int) -> float:
        """Return the real seconds until ``moment`` (UTC ms); negative when it is past, infinite when it never comes."""
        now = self.now()
        if moment > now and (self.speed == 0 or (self.end is not None and moment > self.end)):
            return float("inf")
        return (moment - now) / 1000 / (self.speed or 1.0)
