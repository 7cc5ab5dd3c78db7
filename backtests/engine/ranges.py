"""Several values of a parameter as people type them: one by one, or as a range ``from:to:step``."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from backtests.engine.parameters import Parameter, ParameterType
from markets.errors import InvalidInputError, TooLargeError

_NUMBERS = (ParameterType.WHOLE, ParameterType.NUMBER)
_SMALLEST_STEP = 0.000001


def read_values(parameter: Parameter, text: str, *, most: int) -> list[Any]:
    """Return the values that ``text`` names, separated by commas, each as the parameter reads it.

    ``1:3:0.5`` stands for 1, 1.5, 2, 2.5 and 3: the end belongs to it where a step reaches it.

    Raises ``InvalidInputError`` for none, for a value twice and for what is no value of the parameter,
    ``TooLargeError`` for more than ``most``.
    """
    values: list[Any] = []
    for item in filter(None, map(str.strip, text.split(","))):
        values += _range(parameter, item, most=most) if ":" in item else [parameter.read(item)]
        _check_count(parameter, len(values), most=most)
    if not values:
        raise InvalidInputError(f"{parameter.name} needs values, each {parameter.range}", field=parameter.name)
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise InvalidInputError(f"{parameter.name} has the value {twice} twice", field=parameter.name)
    return values


def _check_count(parameter: Parameter, count: int, *, most: int) -> None:
    if count > most:
        raise TooLargeError(
            f"{parameter.name} has {count:,} values, more than the {most:,} allowed", field=parameter.name
        )


def _range(parameter: Parameter, text: str, *, most: int) -> list[Any]:
    name, ends = parameter.name, text.split(":")
    if parameter.type not in _NUMBERS:
        raise InvalidInputError(
            f"{name} must be {parameter.range}; a range is for numbers, was {text[:60]!r}", field=name
        )
    if len(ends) != 3:
        raise InvalidInputError(f"a range of {name} must be from:to:step, was {text[:60]!r}", field=name)
    # A parameter that may be empty still begins and ends a range with a number.
    end_of = replace(parameter, default=parameter.low)
    step_of = replace(end_of, name=f"the step of {name}", type=ParameterType.NUMBER, low=_SMALLEST_STEP)
    for reader, end in zip((end_of, end_of, step_of), ends, strict=True):
        reader.read(end)
    # Decimal: of binary fractions, 0.1 added up misses the end.
    first, last, step = map(Decimal, ends)
    if first > last:
        raise InvalidInputError(f"a range of {name} must rise, was {text[:60]!r}", field=name)
    count = int((last - first) / step) + 1
    _check_count(parameter, count, most=most)
    return [parameter.read(f"{(first + i * step).normalize():f}") for i in range(count)]
