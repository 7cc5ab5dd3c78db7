"""What a series of candles is called: a pair's symbol and a timeframe."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from markets.errors import InvalidInputError, UnknownTimeframeError

# Ours on disk, in URLs and in group names. Binance lists a few symbols outside it; they are shown as unsupported.
SYMBOL_PATTERN = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)

# UTC ms. Beyond these, 1970 and 2100, a time is a mistaken unit and not a candle's.
EARLIEST, LATEST = 0, 4_102_444_800_000

_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}


class Timeframe(StrEnum):
    """The length of a candle. Each divides the UTC day, so open times are its multiples."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the timeframe written as ``text``; case matters, as it does to Binance (1m, 1M)."""
        try:
            return cls(text)
        except ValueError:
            known = ", ".join(cls)
            raise UnknownTimeframeError(f"unknown timeframe {text!r}; one of {known}", field="timeframe") from None

    @property
    def minutes(self) -> int:
        return _MINUTES[self.value]

    @property
    def milliseconds(self) -> int:
        return self.minutes * 60_000

    def floor(self, time: int) -> int:
        """Return the open time of the candle that holds ``time`` (UTC ms)."""
        return time - time % self.milliseconds

    def ceil(self, time: int) -> int:
        """Return the first open time at or after ``time`` (UTC ms)."""
        return -(-time // self.milliseconds) * self.milliseconds


def parse_symbol(text: str) -> str:
    """Return ``text`` when it can be a symbol: 1 to 20 characters of A-Z and 0-9."""
    if SYMBOL_PATTERN.fullmatch(text) is None:
        raise InvalidInputError(f"a symbol is 1 to 20 of A-Z and 0-9, was {text[:40]!r}", field="symbol")
    return text


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """Names one series of candles, such as BTCUSDT:15m."""

    symbol: str
    timeframe: Timeframe

    def __post_init__(self) -> None:
        parse_symbol(self.symbol)

    def __str__(self) -> str:
        return f"{self.symbol}:{self.timeframe.value}"

    @classmethod
    def of(cls, symbol: str, timeframe: str) -> Self:
        """Build the key from two texts, checking both."""
        return cls(parse_symbol(symbol), Timeframe.parse(timeframe))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote."""
        symbol, separator, timeframe = text.partition(":")
        if not separator:
            raise InvalidInputError(f"a series is SYMBOL:TIMEFRAME, was {text[:60]!r}", field="series")
        return cls.of(symbol, timeframe)
