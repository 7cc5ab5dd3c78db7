"""Which of the wanted series say nothing, while the others speak."""

from collections.abc import Iterable
from dataclasses import dataclass

from markets.exchanges.stream_timing import StreamTiming
from markets.series import SeriesKey


@dataclass(slots=True)
class _Watched:
    """``spoke_at`` is the exchange's clock (UTC ms) at its last frame, ``silent_since`` the monotonic one."""

    spoke_at: int | None = None
    silent_since: float | None = None


class SeriesWatch:
    """Judged on the exchange's clock as the frames of all series carry it, so one muted series does not stop it.

    A wrong symbol or the wrong case is granted by Binance without an error and then never speaks
    (Binance.Net#620): a series is watched from the moment it is asked for. However thin the market, the frame that
    closes a candle comes once a timeframe.
    """

    def __init__(self, timing: StreamTiming) -> None:
        self._timing = timing
        self._watched: dict[SeriesKey, _Watched] = {}

    def follow(self, series: Iterable[SeriesKey]) -> None:
        """Watch exactly these series."""
        self._watched = {key: self._watched.get(key) or _Watched() for key in set(series)}

    def heard(self, series: SeriesKey, server_time: int | None) -> None:
        """Note a frame of ``series``, whatever it tells."""
        watched = self._watched.get(series)
        if watched is not None:
            watched.spoke_at, watched.silent_since = server_time, None

    def mute(self, server_time: int | None, now: float) -> set[SeriesKey]:
        """Return the series that should have spoken by now; ``server_time`` is the newest a frame carried."""
        if server_time is None:
            return set()
        return {key for key, watched in self._watched.items() if self._is_mute(key, watched, server_time, now)}

    def _is_mute(self, series: SeriesKey, watched: _Watched, server_time: int, now: float) -> bool:
        if watched.spoke_at is None:
            watched.spoke_at = server_time
        if server_time < watched.spoke_at + series.timeframe.milliseconds + self._timing.overdue_ms:
            watched.silent_since = None
            return False
        if watched.silent_since is None:
            watched.silent_since = now
        return now - watched.silent_since >= self._timing.overdue_seconds
