"""Fields of what a run may be asked for, made of the engine's strategies and parameters."""

import math
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backtests.engine.parameters import Parameter, ParameterType, unknown_name
from backtests.engine.strategies import STRATEGIES
from markets.errors import InvalidInputError
from markets.series import SYMBOL_PATTERN

_SYMBOL = SYMBOL_PATTERN.pattern


@extend_schema_field({"type": "string", "pattern": f"^{_SYMBOL}(,{_SYMBOL})*$", "examples": ["BTCUSDT"]})
class SymbolsField(serializers.Field[Any, Any, Any, Any]):
    """One pair, or several by comma or as a list, as a comma-separated text."""

    def to_internal_value(self, data: Any) -> str:
        items = data.split(",") if isinstance(data, str) else data
        if not isinstance(items, list) or not items:
            raise serializers.ValidationError("must be a pair such as BTCUSDT, or several by comma")
        names = [item.strip() if isinstance(item, str) else "" for item in items]
        if not all(SYMBOL_PATTERN.fullmatch(name) for name in names):
            raise serializers.ValidationError("must be 1 to 20 of A-Z and 0-9, such as BTCUSDT, or several by comma")
        return ",".join(names)

    def to_representation(self, value: Any) -> Any:
        return value


class StrategyField(serializers.ChoiceField):
    """A strategy's name; an unknown one is answered with near matches."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=list(STRATEGIES), **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        # A list or an object cannot even be looked up.
        if not isinstance(data, str) or data not in STRATEGIES:
            raise serializers.ValidationError(str(unknown_name("strategy", str(data), sorted(STRATEGIES))))
        return data


class ParameterField(serializers.Field[Any, Any, Any, Any]):
    """One parameter, read by its own description."""

    def __init__(self, parameter: Parameter, **kwargs: Any) -> None:
        shown = f"; default {parameter.shown_default}" if parameter.default is not None else ""
        super().__init__(
            required=False,
            allow_null=parameter.default is None,
            help_text=f"{parameter.meaning}; {parameter.range}{shown}.",
            **kwargs,
        )
        self.parameter = parameter

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        # Null is for the parameter to judge, as is everything else.
        return (False, data) if data is None else super().validate_empty_values(data)

    def to_internal_value(self, data: Any) -> Any:
        try:
            return self.parameter.read(data)
        except InvalidInputError as error:
            raise serializers.ValidationError(str(error)) from None

    def to_representation(self, value: Any) -> Any:
        return value


def parameter_field(parameter: Parameter) -> ParameterField:
    """Return the field of a parameter, with its type for the OpenAPI schema."""
    kind = type("ParameterField", (ParameterField,), {})
    field: ParameterField = extend_schema_field(_schema_of(parameter))(kind)(parameter)
    return field


def _schema_of(parameter: Parameter) -> dict[str, Any]:
    one = "|".join(parameter.choices)
    bounds = {
        name: bound for name, bound in (("minimum", parameter.low), ("maximum", parameter.high)) if math.isfinite(bound)
    }
    match parameter.type:
        case ParameterType.WHOLE:
            return {"type": "integer", **bounds}
        case ParameterType.NUMBER:
            return {"type": "number", **bounds}
        case ParameterType.FLAG:
            return {"type": "boolean"}
        case ParameterType.CHOICE:
            return {"type": "string", "enum": list(parameter.choices)}
        case ParameterType.CHOICES:
            return {"type": "string", "pattern": f"^({one})(,({one}))*$"}
