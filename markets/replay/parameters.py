"""Query parameters as Binance judges them, with its codes and texts."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import orjson

from markets.errors import SmcError
from markets.series import Timeframe

_SYMBOL = re.compile(r"[A-Z0-9_.-]{1,20}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_ZONE = re.compile(r"[+-]?(\d{1,2})(:[0-5]\d)?", re.ASCII)


class RefusedError(SmcError):
    """What the exchange answers to a bad request: HTTP ``status``, its negative ``code`` and text."""

    def __init__(self, code: int, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.number = code
        self.status = status


@dataclass(frozen=True, slots=True)
class KlineQuery:
    """A request for klines. ``start`` and ``end`` are inclusive bounds of the open time, UTC ms."""

    symbol: str
    timeframe: Timeframe
    start: int | None
    end: int | None
    limit: int


def kline_query(values: Mapping[str, str]) -> KlineQuery:
    _check_names(values, ("symbol", "interval", "startTime", "endTime", "timeZone", "limit"))
    symbol = _symbol(_mandatory(values, "symbol"))
    interval = _mandatory(values, "interval")
    try:
        timeframe = Timeframe(interval)
    except ValueError:
        raise RefusedError(-1120, "Invalid interval.") from None
    zone = _ZONE.fullmatch(values.get("timeZone", "0"))
    if zone is None or int(zone[1]) > 14:
        raise RefusedError(-1130, "Data sent for parameter 'timeZone' is not valid.")
    limit = _number(values, "limit", default=500)
    if not limit:
        raise RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
    start, end = _time(values, "startTime"), _time(values, "endTime")
    # Spot answers the most it can instead of refusing a limit over 1,000 (JKorf/Binance.Net#76).
    return KlineQuery(symbol, timeframe, start, end, min(limit, 1000))


def symbols_query(values: Mapping[str, str], *, also: Collection[str]) -> list[str] | None:
    """Return the asked symbols of ``symbol`` or ``symbols``; None when all are meant."""
    _check_names(values, ("symbol", "symbols", *also))
    if "symbol" in values and "symbols" in values:
        raise RefusedError(-1128, "Combination of optional parameters invalid.")
    if "symbol" in values:
        return [_symbol(_mandatory(values, "symbol"))]
    if "symbols" not in values:
        return None
    try:
        symbols = orjson.loads(values["symbols"])
    except orjson.JSONDecodeError:
        symbols = None
    if not isinstance(symbols, list) or not symbols or not all(isinstance(each, str) for each in symbols):
        legal = '^\\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\\]$'
        raise RefusedError(-1100, f"Illegal characters found in parameter 'symbols'; legal range is '{legal}'.")
    return [_symbol(each) for each in symbols]


def no_parameters(values: Mapping[str, str]) -> None:
    _check_names(values, ())


def scale_of(time_unit: str | None) -> int:
    """Return how many units of the header X-MBX-TIME-UNIT a millisecond has."""
    scales = {"": 1, "MILLISECOND": 1, "MICROSECOND": 1000}
    scale = scales.get((time_unit or "").upper())
    if scale is None:
        raise RefusedError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
    return scale


def _check_names(values: Mapping[str, str], known: Collection[str]) -> None:
    read = sum(name in known for name in values)
    if not known and values:
        raise RefusedError(-1101, f"Too many parameters; expected '0' and received '{len(values)}'.")
    if read != len(values):
        raise RefusedError(
            -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(values)}'."
        )


def _mandatory(values: Mapping[str, str], name: str) -> str:
    if name not in values:
        raise RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    if values[name] == "":
        raise RefusedError(-1105, f"Parameter '{name}' was empty.")
    return values[name]


def _symbol(text: str) -> str:
    if _SYMBOL.fullmatch(text) is None:
        raise RefusedError(
            -1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."
        )
    return text


def _number(values: Mapping[str, str], name: str, *, default: int | None = None) -> int | None:
    if name not in values:
        return default
    if values[name] == "":
        raise RefusedError(-1105, f"Parameter '{name}' was empty.")
    if _NUMBER.fullmatch(values[name]) is None:
        raise RefusedError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(values[name])


def _time(values: Mapping[str, str], name: str) -> int | None:
    """Return a time in ms; microseconds are taken too and told by their size."""
    moment = _number(values, name)
    return moment // 1000 if moment is not None and moment >= 10**14 else moment
