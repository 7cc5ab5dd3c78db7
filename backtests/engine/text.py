"""Equity as text: a million rows in the time that a general writer of floats needs for a fifth of them."""

from typing import Any

import numpy as np

from markets.candles import FloatArray, TimeArray
from signals.engine.compiled import entry, part

# Digits after the point. Of more than this many before it, a double cannot hold so many after it any more.
DECIMALS = 8
LARGEST = 9e9

_SCALE, _TEN_THOUSAND = np.uint64(10**DECIMALS), np.uint64(10_000)
_POWERS = 10 ** np.arange(20, dtype=np.uint64)
# Sign, ten digits, point, decimals, separator.
_WIDTH = 20 + 2 * (1 + 10 + 1 + DECIMALS + 1)
_ZERO, _MINUS, _POINT, _COMMA, _NEWLINE = 48, 45, 46, 44, 10
# The digits of 0000 to 9999, shape (10_000, 4): a division for each single digit takes twice as long.
_FOURS = np.frombuffer("".join(f"{number:04d}" for number in range(10_000)).encode(), np.uint8).reshape(-1, 4)


def equity_rows(header: bytes, time: TimeArray, equity: FloatArray, drawdown: FloatArray) -> memoryview:
    """Return ``header`` and rows ``time,equity,drawdown``, with at most ``DECIMALS`` digits after the point.

    Times must ascend. Values are rounded half to even in the last digit; all must be below ``LARGEST`` in size.
    """
    text = np.empty(len(header) + len(time) * _WIDTH, np.uint8)
    text[: len(header)] = np.frombuffer(header, np.uint8)
    return text[: _write_rows(time, equity, drawdown, text, len(header))].data


@entry
def _write_rows(time: Any, equity: Any, drawdown: Any, text: Any, at: int) -> int:
    values = size = 0
    digits = 1
    for i in range(len(time)):
        digits = _count_digits(np.uint64(time[i]), digits)
        at = _write_digits(text, at + digits, digits, np.uint64(time[i]))
        if i > 0 and equity[i] == equity[i - 1] and drawdown[i] == drawdown[i - 1]:
            # Most of the time an account holds nothing, and the row goes on as the one before.
            for k in range(size):
                text[at + k] = text[values + k]
            values, at = at, at + size
            continue
        values = at
        text[at] = _COMMA
        at = _write_decimal(text, at + 1, equity[i])
        text[at] = _COMMA
        at = _write_decimal(text, at + 1, drawdown[i])
        text[at] = _NEWLINE
        at += 1
        size = at - values
    return at


@part
def _count_digits(value: Any, digits: int) -> int:
    """Return how many digits ``value`` has, at least ``digits``."""
    while value >= _POWERS[digits]:
        digits += 1
    return digits


@part
def _write_digits(text: Any, end: int, digits: int, value: Any) -> int:
    """Write the last ``digits`` digits of an unsigned number before ``end``, which is returned."""
    at = end
    while digits > 4:
        # Unsigned, because division of those by a constant is a multiplication to the machine.
        rest = value // _TEN_THOUSAND
        four = np.int64(value - rest * _TEN_THOUSAND)
        at -= 4
        digits -= 4
        value = rest
        for k in range(4):
            text[at + k] = _FOURS[four, k]
    for k in range(digits):
        text[at - digits + k] = _FOURS[np.int64(value), 4 - digits + k]
    return end


@part
def _write_decimal(text: Any, at: int, value: float) -> int:
    if value < 0.0:
        text[at] = _MINUS
        at += 1
    scaled = np.uint64(np.rint(abs(value) * _SCALE))
    whole = scaled // _SCALE
    digits = _count_digits(whole, 1)
    at = _write_digits(text, at + digits, digits, whole)
    fraction = scaled - whole * _SCALE
    if fraction == 0:
        return at
    text[at] = _POINT
    end = _write_digits(text, at + 1 + DECIMALS, DECIMALS, fraction)
    while text[end - 1] == _ZERO:
        end -= 1
    return end
