"""Shapes at the edge: what requests may ask, and how pairs, candles and jobs are told."""

import math
import re
from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from markets.candles import Candles
from markets.errors import InvalidInputError, TooLargeError
from markets.models import Job, Pair
from markets.moments import iso, iso_times, parse_time
from markets.selectors import SeriesCoverage, coverage_of
from markets.series import SYMBOL_PATTERN, Timeframe

FORMATS = ("json", "csv", "parquet")
_ALIASES = {"tf": "timeframe", "from_date": "from", "to_date": "to"}
_WHOLE = re.compile(r"-?[0-9]{1,16}", re.ASCII)


def row_number(text: str) -> int | None:
    """Read the number of a row or page in an address; None for what can be none. ``²`` is a digit to ``isdigit``."""
    return int(text) if re.fullmatch("[0-9]{1,15}", text, re.ASCII) else None


@extend_schema_field({"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]})
class TimeField(serializers.CharField):
    """A moment, as UTC ms."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return parse_time(super().to_internal_value(data))
        except ValueError as error:
            raise serializers.ValidationError(f"must be {error}") from None


@extend_schema_field({"type": "string", "pattern": f"^{SYMBOL_PATTERN.pattern}$", "examples": ["BTCUSDT"]})
class SymbolField(serializers.CharField):
    """A pair's symbol, such as BTCUSDT."""

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        if SYMBOL_PATTERN.fullmatch(text) is None:
            raise serializers.ValidationError("must be 1 to 20 of A-Z and 0-9, such as BTCUSDT")
        return text


class TimeframeField(serializers.ChoiceField):
    """A timeframe; letter case matters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[each.value for each in Timeframe], **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return Timeframe(super().to_internal_value(data))


class WholeField(serializers.CharField):
    """A whole number in plain digits, from ``low`` to ``high``.

    With ``is_cap`` a number above ``high`` is ``TooLargeError``, which names it.
    """

    def __init__(self, *, low: int, high: int, is_cap: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high, self.is_cap = low, high, is_cap
        set_override(self, "field", {"type": "integer", "minimum": low, "maximum": high})

    def to_internal_value(self, data: Any) -> Any:
        # JSON knows one kind of number: 500.0 is as whole as 500.
        is_whole_float = isinstance(data, float) and data.is_integer()
        text = super().to_internal_value(str(int(data)) if is_whole_float else data)
        if _WHOLE.fullmatch(text) is None:
            raise serializers.ValidationError(f"must be a whole number from {self.low} to {self.high}")
        if self.is_cap and int(text) > self.high:
            raise TooLargeError(f"{self.field_name} is at most {self.high}, was {text}", field=self.field_name or "")
        if not self.low <= int(text) <= self.high:
            raise serializers.ValidationError(f"must be from {self.low} to {self.high}")
        return int(text)


class NumberField(serializers.FloatField):
    """A finite number."""

    def to_internal_value(self, data: Any) -> Any:
        number = super().to_internal_value(data)
        if not math.isfinite(number):
            raise serializers.ValidationError("must be a finite number")
        return number


def _given(data: Any, name: str) -> Any:
    """Return a value, or the list of values where a query string names it several times."""
    values = data.getlist(name) if hasattr(data, "getlist") else [data[name]]
    return values[0] if len(values) == 1 else values


class QuerySerializer(serializers.Serializer[Any]):
    """Base of all query strings and specs: accepts the aliases ``tf``, ``from_date`` and ``to_date``."""

    def to_internal_value(self, data: Any) -> Any:
        if not hasattr(data, "keys"):
            return super().to_internal_value(data)
        plain = {name: _given(data, name) for name in data}
        for alias, name in _ALIASES.items():
            if alias in plain:
                plain.setdefault(name, plain.pop(alias))
        return super().to_internal_value(plain)


class RangeQuery(QuerySerializer):
    """A range of time, ``from`` inclusive and ``to`` exclusive."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # ``from`` is a word of Python, so these two cannot be written as attributes.
        fields = super().get_fields()
        fields["from"] = TimeField(required=False, help_text="First moment, inclusive.")
        fields["to"] = TimeField(required=False, help_text="Last moment, exclusive.")
        return fields

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs["start"], attrs["end"] = attrs.pop("from", None), attrs.pop("to", None)
        if attrs["start"] is not None and attrs["end"] is not None and attrs["end"] <= attrs["start"]:
            raise InvalidInputError("to must be after from", field="to")
        return attrs


class CandleQuery(RangeQuery):
    """What ``GET /api/v1/candles/`` may ask."""

    CAP = 5_000

    symbol = SymbolField()
    timeframe = TimeframeField()
    limit = WholeField(low=1, high=CAP, is_cap=True, required=False, help_text="Default 500, at most 5,000.")
    order = serializers.ChoiceField(choices=["asc", "desc"], default="asc")
    format = serializers.ChoiceField(choices=FORMATS, default="json")


class BackfillRequest(RangeQuery):
    """What ``POST /api/v1/backfills/`` may ask."""

    symbol = SymbolField()
    timeframe = TimeframeField()
    source = serializers.ChoiceField(choices=["auto", "archive", "rest"], default="auto")  # type: ignore[assignment]
    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class PairSerializer(serializers.ModelSerializer[Pair]):
    """A pair with the coverage of its timeframes."""

    class Meta:
        model = Pair
        fields = (
            "symbol", "base_asset", "quote_asset", "status", "is_active", "tick_size", "step_size", "min_notional",
        )  # fmt: skip

    def to_representation(self, instance: Pair) -> dict[str, Any]:
        stored = coverage_of(instance)
        return {
            **super().to_representation(instance),
            "timeframes": [each.series.timeframe.value for each in stored],
            "coverage": {each.series.timeframe.value: _coverage_json(each) for each in stored},
        }


def _coverage_json(of_series: SeriesCoverage) -> dict[str, Any]:
    stored = of_series.coverage
    if stored is None:
        return {"first": None, "last": None, "candles": 0, "gaps": 0}
    return {"first": iso(stored.first), "last": iso(stored.last), "candles": stored.count, "gaps": len(stored.gaps)}


def column_types(rows: serializers.Serializer[Any]) -> dict[str, type]:
    """Return what the columns of a file of such rows hold; times are text, as in JSON."""
    return {str(name): _type_of(field) for name, field in rows.fields.items()}


def _type_of(field: object) -> type:
    kinds = {serializers.BooleanField: bool, serializers.IntegerField: int, serializers.FloatField: float}
    return next((type_ for kind, type_ in kinds.items() if isinstance(field, kind)), str)


class CandleSerializer(serializers.Serializer[Any]):
    """One closed candle. Prices in quote currency, volume in base currency."""

    open_time = serializers.DateTimeField()
    open = serializers.FloatField()
    high = serializers.FloatField()
    low = serializers.FloatField()
    close = serializers.FloatField()
    volume = serializers.FloatField()


def candle_rows(candles: Candles) -> list[dict[str, Any]]:
    """Return candles as the API tells them. Written out, for this is where most of a request's time goes."""
    prices = (getattr(candles, name).tolist() for name in ("open", "high", "low", "close", "volume"))
    return [
        {"open_time": time, "open": open_, "high": high, "low": low, "close": close, "volume": volume}
        for time, open_, high, low, close, volume in zip(iso_times(candles.open_time), *prices, strict=True)
    ]


@extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
class _ResultField(serializers.JSONField):
    """What a job found; null until it is done."""


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job of any kind."""

    eta = serializers.FloatField(source="eta_seconds", allow_null=True, help_text="Seconds left, once that is known.")
    metrics = _ResultField(source="result")
    error = serializers.CharField(allow_blank=True)

    class Meta:
        model = Job
        fields = (
            "id", "kind", "state", "progress", "stage", "eta", "error", "attempts", "spec", "note", "created_at",
            "started_at", "finished_at", "metrics",
        )  # fmt: skip
