"""What a parameter is: its type, bounds and meaning, told once; forms, serializers, help and docs are made of it."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from markets.errors import InvalidInputError
from signals.engine.params import Params

_NUMBER = re.compile(r"[+-]?([0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15})([eE][+-]?[0-9]{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class ParameterType(StrEnum):
    WHOLE = "whole number"
    NUMBER = "number"
    CHOICE = "choice"
    CHOICES = "choices"
    FLAG = "flag"


class Group(StrEnum):
    """Which part of a specification a parameter belongs to; forms and docs show them together."""

    STRATEGY = "strategy"
    ACCOUNT = "account"
    COSTS = "costs"
    EXITS = "exits"
    DETECTOR = "detector"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``low`` and ``high`` bound numbers; ``choices`` are what a choice may be.

    ``default`` None means that the parameter may be left empty, which ``meaning`` explains.
    """

    name: str
    type: ParameterType
    default: Any
    meaning: str
    group: Group
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """What is accepted, in words."""
        match self.type:
            case ParameterType.CHOICE:
                return f"one of {', '.join(self.choices)}"
            case ParameterType.CHOICES:
                return f"one or more of {', '.join(self.choices)}"
            case ParameterType.FLAG:
                return "true or false"
            case _:
                return f"a {self.type.value} from {self.low:.15g} to {self.high:.15g}"

    @property
    def shown_default(self) -> str:
        """The default as a query would write it."""
        if self.default is None:
            return "empty"
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return ",".join(self.default) if isinstance(self.default, tuple) else str(self.default)

    def read(self, value: object) -> Any:
        """Return ``value``, typed or as text, as what the parameter holds.

        Raises ``InvalidInputError`` that names the parameter, what it may be, and what it was.
        """
        if value is None or value == "":
            if self.default is None:
                return None
            raise self._error(value)
        match self.type:
            case ParameterType.CHOICE:
                return self._choice(value)
            case ParameterType.CHOICES:
                items = value.split(",") if isinstance(value, str) else value
                if not isinstance(items, Iterable):
                    raise self._error(value)
                chosen = {self._choice(item.strip() if isinstance(item, str) else item) for item in items}
                if not chosen:
                    raise self._error(value)
                return tuple(each for each in self.choices if each in chosen)
            case ParameterType.FLAG:
                return self._flag(value)
            case _:
                return self._number(value)

    def _choice(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise self._error(value)
        return value

    def _flag(self, value: object) -> bool:
        if isinstance(value, str) and value.lower() in _FLAGS:
            return _FLAGS[value.lower()]
        if not isinstance(value, bool):
            raise self._error(value)
        return value

    def _number(self, value: object) -> int | float:
        is_whole = self.type is ParameterType.WHOLE
        if isinstance(value, str):
            if (_WHOLE if is_whole else _NUMBER).fullmatch(value.strip()) is None:
                raise self._error(value)
            value = int(value) if is_whole else float(value)
        if isinstance(value, bool) or not isinstance(value, int if is_whole else (int, float)):
            raise self._error(value)
        if not self.low <= value <= self.high:
            raise self._error(value)
        return value if is_whole else float(value)

    def _error(self, value: object) -> InvalidInputError:
        return InvalidInputError(f"{self.name} must be {self.range}, was {str(value)[:60]!r}", field=self.name)


def _parameter(type_: ParameterType, default: Any, meaning: str, group: Group, **bounds: Any) -> Any:
    described = {"type": type_, "default": default, "meaning": meaning, "group": group, **bounds}
    return field(default=default, metadata=described)


def whole(default: int, low: int, high: int, meaning: str, *, group: Group = Group.STRATEGY) -> Any:
    """Declare a dataclass field that holds a whole number in [low, high]."""
    return _parameter(ParameterType.WHOLE, default, meaning, group, low=low, high=high)


def number(default: float | None, low: float, high: float, meaning: str, *, group: Group = Group.STRATEGY) -> Any:
    """Declare a dataclass field that holds a number in [low, high]."""
    return _parameter(ParameterType.NUMBER, default, meaning, group, low=low, high=high)


def choice(default: str | None, choices: Iterable[str], meaning: str, *, group: Group = Group.STRATEGY) -> Any:
    """Declare a dataclass field that holds one of ``choices``."""
    return _parameter(ParameterType.CHOICE, default, meaning, group, choices=tuple(choices))


def several(default: tuple[str, ...], meaning: str) -> Any:
    """Declare a dataclass field of a strategy that holds one or more of ``default``, which are all there are."""
    return _parameter(ParameterType.CHOICES, default, meaning, Group.STRATEGY, choices=default)


def flag(default: bool, meaning: str, *, group: Group = Group.STRATEGY) -> Any:
    """Declare a dataclass field that holds true or false."""
    return _parameter(ParameterType.FLAG, default, meaning, group)


def parameters_of(owner: Any) -> tuple[Parameter, ...]:
    """Return the parameters that a dataclass declares, in its order."""
    return tuple(Parameter(each.name, **each.metadata) for each in fields(owner) if "group" in each.metadata)


def detector_parameters() -> tuple[Parameter, ...]:
    """Return the detector's own parameters, from where they are declared."""
    return tuple(_detector_parameter(each.name, each.default, each.metadata) for each in fields(Params))


def _detector_parameter(name: str, default: Any, metadata: Any) -> Parameter:
    if "choices" in metadata:
        choices = tuple(metadata["choices"])
        return Parameter(name, ParameterType.CHOICE, default, metadata["meaning"], Group.DETECTOR, choices=choices)
    type_ = ParameterType.NUMBER if isinstance(metadata["low"], float) else ParameterType.WHOLE
    bounds = {"low": metadata["low"], "high": metadata["high"]}
    return Parameter(name, type_, default, metadata["meaning"], Group.DETECTOR, **bounds)


def stored(value: Any) -> Any:
    """Return a parameter's value as rows and JSON hold it."""
    return list(value) if isinstance(value, tuple) else value


def unknown_name(what: str, name: str, known: Iterable[str]) -> InvalidInputError:
    """Return the error for a name that is none of ``known``, with up to three near matches, else with all of them."""
    names = list(known)
    near = get_close_matches(name.lower()[:60], names, n=3, cutoff=0.55)
    hint = f"did you mean {', '.join(near)}?" if near else f"one of {', '.join(names)}"
    return InvalidInputError(f"unknown {what} {name[:60]!r}; {hint}", field=name[:60])
