"""Shapes at the edge: how a signal is told, by API and socket alike, and what may be asked."""

import math
from typing import Any

from rest_framework import serializers

from markets.serializers import (
    FORMATS,
    NumberField,
    RangeQuery,
    SymbolField,
    TimeField,
    TimeframeField,
    WholeField,
    iso,
)
from markets.series import Timeframe
from signals.engine import SCALES, Kind
from signals.selectors import SignalFilter
from signals.services import SignalRow

STATUSES = ("active", "mitigated", "filled", "invalidated")

SIGNAL_FIELDS = (
    "id", "symbol", "timeframe", "scale", "kind", "direction", "event_time", "confirm_time", "confirmed_at", "level",
    "top", "bottom", "ref_time", "strength", "range_pos", "tag", "status", "mitigated_time", "filled_time",
    "invalidated_time", "detector_version",
)  # fmt: skip
_TIMES = frozenset(
    {"event_time", "confirm_time", "confirmed_at", "ref_time", "mitigated_time", "filled_time", "invalidated_time"}
)


def signal_json(row: SignalRow) -> dict[str, Any]:
    """Return a signal as API and socket tell it: times in ISO 8601, what is undefined as null."""
    told = {name: getattr(row, name) for name in SIGNAL_FIELDS}
    for name, value in told.items():
        if name in _TIMES:
            told[name] = iso(value)
        elif isinstance(value, float) and math.isnan(value):
            told[name] = None
    told["timeframe"] = str(told["timeframe"])
    return told


class SignalSerializer(serializers.Serializer[Any]):
    """A signal. ``*_time`` are open times of their candles; ``confirmed_at`` is when it became knowable."""

    id = serializers.CharField()
    symbol = serializers.CharField()
    timeframe = serializers.CharField()
    scale = serializers.ChoiceField(choices=list(SCALES))
    kind = serializers.ChoiceField(choices=[each.name for each in Kind])
    direction = serializers.IntegerField(help_text="1 bullish, -1 bearish.")
    event_time = serializers.DateTimeField()
    confirm_time = serializers.DateTimeField()
    confirmed_at = serializers.DateTimeField(help_text="Close time of the confirm candle.")
    level = serializers.FloatField()
    top = serializers.FloatField(allow_null=True)
    bottom = serializers.FloatField(allow_null=True)
    ref_time = serializers.DateTimeField()
    strength = serializers.FloatField(help_text="0 to 100.")
    range_pos = serializers.FloatField(allow_null=True, help_text="0 bottom, 1 top of the range at confirmation.")
    tag = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField(choices=list(STATUSES))
    mitigated_time = serializers.DateTimeField(allow_null=True)
    filled_time = serializers.DateTimeField(allow_null=True)
    invalidated_time = serializers.DateTimeField(allow_null=True)
    detector_version = serializers.IntegerField()


class ListField(serializers.CharField):
    """One or more of ``choices``, separated by commas or given again and again; repeats are told once."""

    def __init__(self, *, choices: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.choices = choices

    def to_internal_value(self, data: Any) -> list[str]:
        text = ",".join(data) if isinstance(data, list) else super().to_internal_value(data)
        items = [item.strip() for item in text.split(",") if item.strip()]
        unknown = [item for item in items if item not in self.choices]
        if unknown or not items:
            raise serializers.ValidationError(f"must be one or more of {', '.join(self.choices)}")
        return list(dict.fromkeys(items))


class SummaryQuery(RangeQuery):
    """What ``GET /api/v1/signals/stats/summary`` may ask."""

    symbol = SymbolField(required=False)
    timeframe = TimeframeField(required=False)
    scale = serializers.ChoiceField(choices=list(SCALES), required=False, help_text="Default: both.")

    def to_filter(self) -> SignalFilter:
        wanted = self.validated_data
        return SignalFilter(
            symbol=wanted.get("symbol"),
            timeframe=wanted.get("timeframe"),
            kinds=frozenset(wanted.get("kind") or ()),
            direction=wanted.get("direction"),
            status=wanted.get("status"),
            start=wanted["start"],
            end=wanted["end"],
            min_strength=wanted.get("min_strength"),
            as_of=wanted.get("as_of"),
            scale=wanted.get("scale"),
        )


class SignalQuery(SummaryQuery):
    """What ``GET /api/v1/signals/`` may ask. ``from`` and ``to`` are by confirm time."""

    CAP = 1_000

    kind = ListField(choices=[each.name for each in Kind], required=False, help_text="One or more, by comma.")
    direction = serializers.ChoiceField(choices=[1, -1], required=False)
    status = serializers.ChoiceField(choices=list(STATUSES), required=False)
    min_strength = NumberField(min_value=0.0, max_value=100.0, required=False)
    as_of = TimeField(required=False, help_text="Tell what was known at this moment, and nothing later.")
    context = ListField(
        choices=[each.value for each in Timeframe],
        required=False,
        help_text="Higher timeframes whose trend and range position are told with each signal.",
    )
    limit = WholeField(low=1, high=CAP, is_cap=True, required=False, help_text="Default 100, at most 1,000.")
    cursor = serializers.CharField(max_length=200, required=False)
    format = serializers.ChoiceField(choices=FORMATS, default="json")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        attrs["context"] = [Timeframe(each) for each in attrs.get("context") or ()]
        return attrs
