"""What the feed counts and measures about itself."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field

_KEPT_LAGS = 2_000
_SKEW_SECONDS = 60.0


@dataclass(slots=True)
class Vitals:
    """Counters of this process, over all its leads. ``lags`` are ms from a candle's end to its signals on the way out.

    The part until the exchange told the end is measured on the exchange's clock, the rest on ours.
    """

    candles: int = 0
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_LAGS))
    # The least of each second of our clock: hundreds of frames come in one, and all of a minute are asked for.
    _skews: deque[tuple[int, float]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_lag(self, milliseconds: float) -> None:
        with self._lock:
            self.lags.append(milliseconds)

    def percentiles(self) -> dict[str, float | None]:
        """Return the lag's 50th, 95th and 99th percentile, None before the first candle."""
        with self._lock:
            ordered = sorted(self.lags)
        if not ordered:
            return {"p50": None, "p95": None, "p99": None}
        last = len(ordered) - 1
        return {f"p{share}": round(ordered[round(last * share / 100)], 1) for share in (50, 95, 99)}

    def note_time(self, exchange_time: int) -> None:
        """Compare the exchange's clock, as a frame just brought it, with ours."""
        second, skew = int(time.monotonic()), time.time() * 1000 - exchange_time
        with self._lock:
            if self._skews and self._skews[-1][0] == second:
                skew = min(skew, self._skews.pop()[1])
            self._skews.append((second, skew))
            while second - self._skews[0][0] > _SKEW_SECONDS:
                self._skews.popleft()

    @property
    def skew(self) -> float | None:
        """Our clock minus the exchange's, ms: of the last minute the frame that was fastest on its way."""
        with self._lock:
            skews = [skew for _, skew in self._skews]
        return round(min(skews), 1) if skews else None
