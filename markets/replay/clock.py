"""The exchange's own clock: it starts anywhere and runs at any speed."""

import time


class VirtualClock:
    """Exchange time (UTC ms) as a function of the monotonic clock.

    ``skew`` is what the exchange tells beside its true time, in ms: candles keep to ``now``, whatever is
    *told* as the time of day (serverTime, E) comes from ``told``.
    """

    def __init__(self, start: int, *, speed: float = 1.0) -> None:
        self._anchor = float(start)
        self._began = time.monotonic()
        self.speed = speed
        self.skew = 0

    def now(self) -> int:
        """Return the exchange's time, UTC ms."""
        return int(self._anchor + (time.monotonic() - self._began) * self.speed * 1000)

    def told(self) -> int:
        return self.now() + self.skew

    def set(self, *, now: int | None = None, speed: float | None = None) -> None:
        """Go on from ``now`` at ``speed`` (exchange seconds a real second; 0 stands still)."""
        anchor = self.now() if now is None else now
        self._anchor, self._began = float(anchor), time.monotonic()
        self.speed = self.speed if speed is None else speed

    def seconds_until(self, moment: int) -> float:
        """Return the real seconds until ``moment`` (UTC ms); negative when it is past."""
        if self.speed == 0:
            return float("inf")
        return (moment - self.now()) / 1000 / self.speed
