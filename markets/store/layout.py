"""What the files of a series are called, and which stretch of time each holds."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from markets.candles import TimeArray
from markets.errors import InvalidInputError
from markets.series import SeriesKey, Timeframe

DAY = 86_400_000
CANDLES, QUARANTINE = "candles", "quarantine"
DAMAGED = "*.damaged"
MANIFEST, LOCK = ".manifest.json", ".lock"

_NAME = re.compile(r"(\d{4}-\d\d(?:-\d\d)?)\.parquet", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The time of one file: ``start <= open_time < end`` (UTC ms), a month or a day."""

    start: int
    end: int

    @property
    def is_day(self) -> bool:
        return self.end - self.start == DAY

    @property
    def name(self) -> str:
        return _name(self)

    @property
    def month(self) -> "Span":
        return month_of(self.start)


def month_of(time: int) -> Span:
    """Return the UTC month that holds ``time`` (UTC ms)."""
    return _month_of_day(time // DAY)


def day_of(time: int) -> Span:
    """Return the UTC day that holds ``time`` (UTC ms)."""
    start = time - time % DAY
    return Span(start, start + DAY)


def months_of(times: TimeArray) -> list[Span]:
    """Return the months that hold any of ``times`` (UTC ms, rising)."""
    months = np.unique(times.astype("datetime64[ms]").astype("datetime64[M]"))
    return [Span(_milliseconds(month), _milliseconds(month + 1)) for month in months]


@lru_cache(maxsize=16_384)
def span_named(name: str) -> Span | None:
    """Return the span of a file of ours, None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    text = match.group(1)
    try:
        start = int(datetime.fromisoformat(text if len(text) == 10 else f"{text}-01").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
    return day_of(start * 1000) if len(text) == 10 else month_of(start * 1000)


def keeps_days(timeframe: Timeframe) -> bool:
    """Say whether the newest day stands in a file of its own: where rewriting the month is too slow for each candle."""
    return timeframe.minutes <= 15


def folder_of(root: Path, series: SeriesKey) -> Path:
    return root / CANDLES / series.symbol / series.timeframe.value


def series_below(root: Path) -> list[SeriesKey]:
    """Return the series that have a folder below ``root``."""
    found = []
    for symbol in _folders(f"{root}/{CANDLES}"):
        for timeframe in _folders(symbol.path):
            with suppress(InvalidInputError):
                found.append(SeriesKey.of(symbol.name, timeframe.name))
    return sorted(found)


def _folders(path: str) -> list[os.DirEntry[str]]:
    """Return the folders in a folder; none where it is missing or may not be read."""
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir()]
    except (FileNotFoundError, PermissionError):
        return []


def require_readable(root: Path) -> None:
    """Raise ``PermissionError`` for a symbol's folder that may not be read: ``series_below`` passes over such."""
    for folder in (root / CANDLES).glob("*"):
        if folder.is_dir():
            next(folder.iterdir(), None)


def _milliseconds(month: np.datetime64) -> int:
    return int(month.astype("datetime64[ms]").astype(np.int64))


@lru_cache(maxsize=16_384)
def _month_of_day(day: int) -> Span:
    month = np.datetime64(day, "D").astype("datetime64[M]")
    return Span(_milliseconds(month), _milliseconds(month + 1))


@lru_cache(maxsize=16_384)
def _name(span: Span) -> str:
    date = str(np.datetime64(span.start, "ms").astype("datetime64[D]"))
    return f"{date if span.is_day else date[:7]}.parquet"
