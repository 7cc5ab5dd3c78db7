"""Which of the wanted series do not tell what they should: their candle is overdue, or they never spoke."""

from collections.abc import Iterable
from dataclasses import dataclass

from markets.exchanges.stream_timing import StreamTiming
from markets.series import SeriesKey


@dataclass(slots=True)
class _Watched:
    since: float
    since_time: int | None = None
    has_spoken: bool = False
    expected: int | None = None
    overdue_at: float | None = None


class SeriesWatch:
    """Judged on the exchange's clock as the frames of all series carry it, so one muted series does not stop it.

    A wrong symbol or the wrong case is granted by Binance without an error and then never speaks
    (Binance.Net#620): a series is watched from the moment it is asked for.
    """

    def __init__(self, timing: StreamTiming) -> None:
        self._timing = timing
        self._watched: dict[SeriesKey, _Watched] = {}

    def follow(self, series: Iterable[SeriesKey], now: float) -> None:
        """Watch exactly these series; ``now`` is the monotonic clock."""
        wanted = set(series)
        self._watched = {key: kept for key, kept in self._watched.items() if key in wanted}
        for key in wanted - self._watched.keys():
            self._watched[key] = _Watched(since=now)

    def heard(self, series: SeriesKey, open_time: int, *, is_closed: bool) -> None:
        """Note a frame of ``series``."""
        watched = self._watched.get(series)
        if watched is None:
            return
        watched.has_spoken = True
        if is_closed and (watched.expected is None or open_time >= watched.expected):
            watched.expected = open_time + series.timeframe.milliseconds
            watched.overdue_at = None

    def unconfirmed(self, server_time: int | None, now: float) -> set[SeriesKey]:
        """Return the series whose candle should have come by now; ``server_time`` is the newest a frame carried."""
        if server_time is None:
            return set()
        return {key for key, watched in self._watched.items() if self._is_late(key, watched, server_time, now)}

    def _is_late(self, series: SeriesKey, watched: _Watched, server_time: int, now: float) -> bool:
        step = series.timeframe
        if watched.since_time is None:
            watched.since, watched.since_time = now, server_time
        if watched.expected is None:
            watched.expected = step.floor(server_time)
        if server_time < watched.expected + step.milliseconds + self._timing.overdue_ms:
            watched.overdue_at = None
        elif watched.overdue_at is None:
            watched.overdue_at = now
        is_overdue = watched.overdue_at is not None and now - watched.overdue_at >= self._timing.overdue_seconds
        return is_overdue or (
            not watched.has_spoken
            and server_time - watched.since_time >= self._timing.silence_ms
            and now - watched.since >= self._timing.silence_seconds
        )
