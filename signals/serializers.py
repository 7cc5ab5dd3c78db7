"""Shapes at the edge: how a signal is told, by API and socket alike, and what may be asked."""

import math
import re
from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from markets.moments import iso
from markets.serializers import (
    FORMATS,
    JobSerializer,
    NumberField,
    QuerySerializer,
    RangeQuery,
    SymbolField,
    TimeField,
    TimeframeField,
    WholeField,
)
from markets.series import SeriesKey, Timeframe
from signals.engine import SCALES, scale_params
from signals.engine.kinds import KIND_TEXT, STATUS_TEXT
from signals.evidence import EvidenceSpec
from signals.models import Study
from signals.selectors import SignalFilter
from signals.services import SignalRow

_TIMES = frozenset(
    {"event_time", "confirm_time", "confirmed_at", "ref_time", "mitigated_time", "filled_time", "invalidated_time"}
)


def signal_json(row: SignalRow) -> dict[str, Any]:
    """Return a signal as API and socket tell it: times in ISO 8601, what is undefined as null."""
    told = row._asdict()
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
    kind = serializers.ChoiceField(choices=list(KIND_TEXT))
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
    status = serializers.ChoiceField(choices=list(STATUS_TEXT))
    mitigated_time = serializers.DateTimeField(allow_null=True)
    filled_time = serializers.DateTimeField(allow_null=True)
    invalidated_time = serializers.DateTimeField(allow_null=True)
    detector_version = serializers.IntegerField()


class ListField(serializers.CharField):
    """One or more of ``choices``, separated by commas or given again and again; repeats are told once."""

    def __init__(self, *, choices: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.choices = choices
        one = "|".join(choices)
        set_override(self, "field", {"type": "string", "pattern": f"^({one})(,({one}))*$"})

    def to_internal_value(self, data: Any) -> Any:
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
            open_at=wanted.get("open_at"),
            scale=wanted.get("scale"),
            higher=wanted.get("higher"),
            higher_trend=wanted.get("higher_trend"),
        )


class SignalQuery(SummaryQuery):
    """What ``GET /api/v1/signals/`` may ask. ``from`` and ``to`` are by confirm time."""

    CAP = 1_000

    kind = ListField(choices=list(KIND_TEXT), required=False, help_text="One or more, by comma.")
    direction = serializers.ChoiceField(choices=[1, -1], required=False)
    status = serializers.ChoiceField(choices=list(STATUS_TEXT), required=False)
    min_strength = NumberField(min_value=0.0, max_value=100.0, required=False)
    as_of = TimeField(required=False, help_text="Tell what was known at this moment, and nothing later.")
    open_at = TimeField(
        required=False,
        help_text="Only signals known at this moment and neither filled nor invalidated then; told as they stand now.",
    )
    higher = TimeframeField(
        required=False,
        help_text="Only signals confirmed while the trend of this timeframe, by its closed candles, was higher_trend.",
    )
    higher_trend = serializers.ChoiceField(
        choices=[1, -1], required=False, help_text="Default: the direction of the signal itself."
    )
    context = ListField(  # type: ignore[assignment]
        choices=[each.value for each in Timeframe],
        required=False,
        help_text="Higher timeframes whose trend and range position are told with each signal.",
    )
    limit = WholeField(low=1, high=CAP, is_cap=True, required=False, help_text="Default 100, at most 1,000.")
    cursor = serializers.CharField(max_length=200, required=False)
    format = serializers.ChoiceField(choices=FORMATS, default="json")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if "higher_trend" in attrs and "higher" not in attrs:
            raise serializers.ValidationError({"higher_trend": "needs higher, the timeframe whose trend is meant"})
        attrs["context"] = [Timeframe(each) for each in attrs.get("context") or ()]
        return attrs


@extend_schema_field({"type": "string", "pattern": "^[0-9]{1,6}(,[0-9]{1,6})*$"})
class HorizonsField(serializers.CharField):
    """Whole numbers of candles, by comma or as a list."""

    def to_internal_value(self, data: Any) -> Any:
        text = ",".join(str(each) for each in data) if isinstance(data, list) else super().to_internal_value(data)
        if re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6})*", text) is None:
            raise serializers.ValidationError("must be whole numbers of candles, such as 4,12,24,48")
        return tuple(int(each) for each in text.split(","))


class TrackRecordQuery(QuerySerializer):
    """What ``GET /api/v1/signals/track-record/`` may ask."""

    symbol = SymbolField()
    timeframe = TimeframeField()
    scale = serializers.ChoiceField(choices=list(SCALES), default="internal")

    @property
    def series(self) -> SeriesKey:
        return SeriesKey(self.validated_data["symbol"], self.validated_data["timeframe"])


class EvidenceQuery(RangeQuery):
    """What a study may ask. ``from`` and ``to`` choose the signals by confirm time; nothing after ``to`` is read."""

    symbol = SymbolField()
    timeframe = TimeframeField()
    scale = serializers.ChoiceField(choices=list(SCALES), default="internal")
    horizons = HorizonsField(required=False, help_text="Candles ahead; default 4,12,24,48.")
    draws = WholeField(low=100, high=10_000, required=False, help_text="Random shifts of the null; default 500.")
    seed = WholeField(low=0, high=10**9, required=False, help_text="Of the random shifts; default 0.")
    split = TimeField(required=False, help_text="Where the out-of-sample part begins.")
    conditions = serializers.BooleanField(default=False, help_text="Split also by strength, range, session and trend.")
    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)

    @property
    def series(self) -> SeriesKey:
        return SeriesKey(self.validated_data["symbol"], self.validated_data["timeframe"])

    def to_spec(self) -> EvidenceSpec:
        """Return what was asked; raise ``InvalidInputError`` for values that make no study."""
        wanted = self.validated_data
        given = {name: wanted[name] for name in ("horizons", "draws", "seed", "split") if name in wanted}
        return EvidenceSpec(
            start=wanted["start"],
            end=wanted["end"],
            with_conditions=wanted["conditions"],
            params=scale_params(wanted["scale"]),
            **given,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what was asked in full, as a job's row keeps it; the same class reads it again."""
        wanted, spec = self.validated_data, self.to_spec()
        told = {
            "symbol": wanted["symbol"],
            "timeframe": wanted["timeframe"].value,
            "from": iso(spec.start),
            "to": iso(spec.end),
            "scale": wanted["scale"],
            "horizons": list(spec.horizons),
            "draws": spec.draws,
            "seed": spec.seed,
            "split": iso(spec.split),
            "conditions": spec.with_conditions,
        }
        return {name: value for name, value in told.items() if value is not None}


class StudyRowSerializer(JobSerializer):
    """A study in a list: without its tables, which are long, so that a page of studies stays small."""

    class Meta:
        model = Study
        fields = tuple(name for name in JobSerializer.Meta.fields if name != "metrics")
