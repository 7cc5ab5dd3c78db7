"""Equity as text: a million rows in the time that a general writer of floats needs for a fifth of them."""

from typing import Any

import numpy as np

from markets.candles import FloatArray, TimeArray
from signals.engine.compiled import entry, part

# Digits after the point. Of more than this many before it, a double cannot hold so many after it any more.
DECIMALS = 8
LARGEST = 9e9

_SCALE, _TEN = np.uint64(10**DECIMALS), np.uint64(10)
# Sign, ten digits, point, decimals, separator.
_WIDTH = 20 + 2 * (1 + 10 + 1 + DECIMALS + 1)
_ZERO, _MINUS, _POINT, _COMMA, _NEWLINE = 48, 45, 46, 44, 10


def equity_rows(header: bytes, time: TimeArray, equity: FloatArray, drawdown: FloatArray) -> memoryview:
    """Return ``header`` and rows ``time,equity,drawdown``, with at most ``DECIMALS`` digits after the point.

    Values are rounded half to even in the last digit; all must be below ``LARGEST`` in size.
    """
    text = np.empty(len(header) + len(time) * _WIDTH, np.uint8)
    text[: len(header)] = np.frombuffer(header, np.uint8)
    return text[: _write_rows(time, equity, drawdown, text, len(header))].data


@entry
def _write_rows(time: Any, equity: Any, drawdown: Any, text: Any, at: int) -> int:
    values = size = 0
    for i in range(len(time)):
        at = _write_whole(text, at, np.uint64(time[i]))
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
def _write_whole(text: Any, at: int, value: Any) -> int:
    """Write the digits of an unsigned number; return where the text goes on."""
    digits = 1
    bound = _TEN
    while value >= bound:
        digits += 1
        bound *= _TEN
    _write_digits(text, at + digits - 1, digits, value)
    return at + digits


@part
def _write_digits(text: Any, last: int, digits: int, value: Any) -> None:
    # Unsigned, because division of those by ten is a multiplication to the machine.
    for place in range(last, last - digits, -1):
        rest = value // _TEN
        text[place] = _ZERO + np.uint8(value - rest * _TEN)
        value = rest


@part
def _write_decimal(text: Any, at: int, value: float) -> int:
    if value < 0.0:
        text[at] = _MINUS
        at += 1
    scaled = np.uint64(np.rint(abs(value) * _SCALE))
    whole = scaled // _SCALE
    at = _write_whole(text, at, whole)
    fraction = scaled - whole * _SCALE
    if fraction == 0:
        return at
    text[at] = _POINT
    end = at + DECIMALS
    _write_digits(text, end, DECIMALS, fraction)
    while text[end] == _ZERO:
        end -= 1
    return end + 1
