"""Scripted faults: what goes wrong, for whom, when and how often."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import orjson

from markets.errors import InvalidInputError
from markets.moments import parse_time
from markets.replay.clock import VirtualClock
from markets.replay.verbs import CHOICES, VERBS, Place
from markets.series import SeriesKey, Timeframe, parse_symbol

_SPAN = re.compile(r"\+(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_COMMON = ("verb", "symbol", "timeframe", "path", "at", "until", "count", "every")


@dataclass(eq=False, slots=True)
class Fault:
    """One scripted fault. ``begin`` and ``end`` are exchange time; ``left`` are the strikes it has still to make."""

    number: int
    verb: str
    begin: int
    end: int | None
    left: int | None
    every: int | None
    arguments: Mapping[str, Any]
    symbol: str | None = None
    timeframe: Timeframe | None = None
    path: str = ""
    struck: int = 0
    passed: int = field(default=0, repr=False)

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]

    @property
    def place(self) -> Place:
        return VERBS[self.verb].place

    def concerns(self, series: SeriesKey | None) -> bool:
        """Say whether a series is among those the fault was made for; None is any series."""
        if series is None:
            return True
        return self.symbol in (None, series.symbol) and self.timeframe in (None, series.timeframe)

    def concerns_request(self, url: str) -> bool:
        """Say whether a request is meant: ``path`` is a part of its URL, which names the pair and the timeframe."""
        parts = set(re.split(r"[/?&=.-]", url))
        return self.path in url and all(each is None or each in parts for each in (self.symbol, self.timeframe))

    def stands(self, now: int) -> bool:
        return self.begin <= now and (self.end is None or now < self.end) and self.left != 0

    def as_json(self) -> dict[str, Any]:
        told = {"id": self.number, "verb": self.verb, "at": self.begin, "until": self.end, "struck": self.struck}
        told |= {"symbol": self.symbol, "timeframe": self.timeframe, "path": self.path or None}
        return told | {"left": self.left, "every": self.every} | dict(self.arguments)


class Faults:
    """All faults of an exchange. Requests are answered in threads, so counting is done under a lock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._faults: list[Fault] = []
        self._made = 0
        self._lock = threading.Lock()
        self.edition = 0
        self.listeners: list[Callable[[Fault], None]] = []

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(self, wanted: Mapping[str, Any]) -> Fault:
        """Take in a fault as JSON tells it. Raises ``InvalidInputError`` that says what is wrong with it."""
        with self._lock:
            fault = _read(wanted, self._made + 1, now=self._clock.now())
            self._made += 1
            self._faults = [*self._faults, fault]
            self.edition += 1
        for listener in self.listeners:
            listener(fault)
        return fault

    def remove(self, number: int | None = None) -> list[Fault]:
        """End one fault, or all of them, and return which."""
        with self._lock:
            gone = [fault for fault in self._faults if number in (None, fault.number)]
            self._faults = [fault for fault in self._faults if fault not in gone]
            self.edition += 1
        for fault in gone:
            fault.left = 0
        for fault in gone:
            for listener in self.listeners:
                listener(fault)
        return gone

    def standing(self, *verbs: str, series: SeriesKey | None = None) -> list[Fault]:
        """Return the faults of these kinds that are in force now."""
        if not self._faults:
            return []
        now = self._clock.now()
        return [each for each in self._faults if each.verb in verbs and each.stands(now) and each.concerns(series)]

    def strike(self, verb: str) -> Fault | None:
        """Return the fault of this kind that strikes now, and count its strike."""
        return next(filter(self.count, self.standing(verb)), None)

    def strike_request(self, verb: str, url: str, *, is_socket: bool = False) -> Fault | None:
        """Return the fault that strikes a request. A socket's handshake is one only for faults that name its path."""
        for fault in self.standing(verb):
            is_meant = bool(fault.path) or not is_socket or fault.place is Place.HANDSHAKE
            if is_meant and fault.concerns_request(url) and self.count(fault):
                return fault
        return None

    def setting(self, verb: str, argument: str) -> Any:
        """Return what the newest fault of a kind sets, else its usual value."""
        standing = self.standing(verb)
        return (standing[-1] if standing else VERBS[verb]).arguments[argument]

    def count(self, fault: Fault) -> bool:
        """Say whether this is one of the times a fault strikes: each, or each so-manieth."""
        with self._lock:
            fault.passed += 1
            if fault.left == 0 or fault.passed % (fault.every or 1):
                return False
            fault.struck += 1
            fault.left = None if fault.left is None else fault.left - 1
            return True

    def has(self, place: Place) -> bool:
        return any(fault.place is place and fault.left != 0 for fault in self._faults)


def read_script(data: bytes) -> list[dict[str, Any]]:
    """Read a file of faults: a JSON list of objects, or one object a line; # begins a comment line."""
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    try:
        if text.lstrip().startswith("["):
            faults = orjson.loads(text)
        else:
            faults = [orjson.loads(line) for line in text.splitlines()]
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"a file of faults is a JSON list, or one JSON object a line: {error}") from None
    if not all(isinstance(fault, dict) for fault in faults):
        raise InvalidInputError('each fault is a JSON object such as {"verb": "rst", "at": "+5m"}')
    return list(faults)


def read_moment(value: Any, *, now: int) -> int:
    """Read exchange time: UTC ms, an ISO 8601 text, or a span from now such as +90s, +5m, +1h."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        span = _SPAN.fullmatch(value)
        if span is not None:
            return now + round(float(span[1]) * _UNITS[span[2]])
        try:
            return parse_time(value)
        except ValueError:
            pass
    raise InvalidInputError(f"a time is UTC ms, ISO 8601, or a span such as +5m; was {str(value)[:40]!r}")


def _read(wanted: Mapping[str, Any], number: int, *, now: int) -> Fault:
    name = wanted.get("verb")
    verb = VERBS.get(name) if isinstance(name, str) else None
    if verb is None or not isinstance(name, str):
        near = get_close_matches(str(name), VERBS, n=3)
        raise InvalidInputError(
            f"unknown fault {str(name)[:40]!r}; {'perhaps' if near else 'one of'} {', '.join(near or sorted(VERBS))}"
        )
    unknown = sorted(set(wanted) - {*_COMMON, *verb.arguments})
    if unknown:
        raise InvalidInputError(
            f"{name} takes no {', '.join(unknown)}; it takes {', '.join([*_COMMON, *verb.arguments])}"
        )
    return Fault(
        number,
        name,
        read_moment(wanted["at"], now=now) if wanted.get("at") is not None else now,
        read_moment(wanted["until"], now=now) if wanted.get("until") is not None else None,
        _whole(wanted, "count", verb.count),
        _whole(wanted, "every", None),
        {argument: _argument(wanted, name, argument, default) for argument, default in verb.arguments.items()},
        parse_symbol(str(wanted["symbol"]).upper()) if wanted.get("symbol") is not None else None,
        Timeframe.parse(str(wanted["timeframe"])) if wanted.get("timeframe") is not None else None,
        str(wanted.get("path") or ""),
    )


def _whole(wanted: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = wanted.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidInputError(f"{name} must be a whole number from 1, or null; was {str(value)[:40]!r}")
    return value


def _argument(wanted: Mapping[str, Any], verb: str, name: str, default: Any) -> Any:
    value = wanted.get(name, default)
    kind: type | tuple[type, ...] = type(default)
    if default is None:
        return value
    if kind in (int, float):
        kind = (int, float)
    if not isinstance(value, kind) or (kind == (int, float) and isinstance(value, bool)):
        raise InvalidInputError(f"{verb}: {name} must be like {default!r}, was {str(value)[:40]!r}")
    choices = CHOICES.get(f"{verb}.{name}", CHOICES.get(name))
    if choices is not None and value not in choices:
        raise InvalidInputError(f"{verb}: {name} must be one of {', '.join(choices)}; was {value!r}")
    return value
