"""What runs, sweeps and analyses may be asked for."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backtests.engine.bands import Resampling
from backtests.engine.bench import TARGETS, USUAL_TARGET
from backtests.engine.methods import METHODS
from backtests.engine.methods.look_ahead import CUTS
from backtests.engine.methods.method import WholeOption
from backtests.engine.methods.null import DRAWS
from backtests.engine.methods.walk_forward import IN_SAMPLE, MIN_TRADES, WINDOWS
from backtests.engine.parameters import unknown_name
from backtests.engine.spec import BacktestSpec, all_parameters, parameters_for
from backtests.engine.strategies import Breakout
from backtests.serializers.fields import StrategyField, SymbolsField, parameter_field
from markets.serializers import (
    FORMATS,
    QuerySerializer,
    RangeQuery,
    TimeframeField,
    WholeField,
    row_number,
)


class SpecQuery(RangeQuery):
    """A specification, flat: what is run, and any parameter by its name."""

    symbol = SymbolsField(help_text="The pair, such as BTCUSDT; several by comma trade on one account.")
    timeframe = TimeframeField()
    strategy = StrategyField(default=Breakout.name)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), **{each.name: parameter_field(each) for each in all_parameters().values()}}

    def to_internal_value(self, data: Any) -> Any:
        read = super().to_internal_value(data)
        known = {*self.fields, "tf", "from_date", "to_date"}
        unknown = [name for name in data if name not in known] if hasattr(data, "keys") else []
        if unknown:
            raise serializers.ValidationError(
                {name: [str(unknown_name("parameter", name, sorted(known)))] for name in unknown}
            )
        return read

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Keep parameters apart, and refuse those that the strategy does not have."""
        attrs = super().validate(attrs)
        every = all_parameters()
        parameters = {name: attrs.pop(name) for name in list(attrs) if name in every}
        ours = parameters_for(attrs["strategy"], compared=parameters.get("compared"))
        foreign = [name for name in parameters if name not in ours]
        if foreign:
            raise serializers.ValidationError(
                {name: [f"{attrs['strategy']} has no parameter {name}"] for name in foreign}
            )
        attrs["parameters"] = {name: ours[name].read(value) for name, value in parameters.items()}
        return attrs

    def to_spec(self) -> BacktestSpec:
        """Return what was asked; raise ``InvalidInputError`` for values that make no run together."""
        wanted = self.validated_data
        return BacktestSpec.of(
            {
                "symbol": wanted["symbol"],
                "timeframe": wanted["timeframe"].value,
                "from": wanted["start"],
                "to": wanted["end"],
                "strategy": wanted["strategy"],
                **wanted["parameters"],
            }
        )


class BacktestQuery(SpecQuery):
    """What ``GET /api/v1/backtest/`` may ask."""

    format = serializers.ChoiceField(choices=["json"], default="json")


class BacktestRequest(SpecQuery):
    """What ``POST /api/v1/backtests/`` may ask."""

    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    dry_run = serializers.BooleanField(default=False, help_text="Answer the estimate alone.")


class DryRunQuery(QuerySerializer):
    """``dry_run`` in the query string, for whoever posts the same body twice."""

    dry_run = serializers.BooleanField(default=False, help_text="Answer the estimate alone.")


def _whole_field(option: WholeOption, meaning: str) -> WholeField:
    return WholeField(
        low=option.low, high=option.high, required=False, help_text=f"{meaning}; default {option.default}."
    )


class AnalysisRequest(BacktestRequest):
    """What ``POST /api/v1/analyses/`` may ask: a method, a run's specification, and the method's options."""

    method = serializers.ChoiceField(
        choices=list(METHODS), help_text="; ".join(f"{each.name}: {each.meaning}" for each in METHODS.values())
    )
    axes = serializers.DictField(
        child=serializers.ListField(child=serializers.JSONField()),
        required=False,
        help_text="One or two parameters, each with its values: for sweep and walk_forward.",
    )
    metric = serializers.ChoiceField(choices=list(TARGETS), required=False, help_text=f"Default {USUAL_TARGET}.")
    windows = _whole_field(WINDOWS, "walk_forward: windows")
    in_sample = _whole_field(IN_SAMPLE, "walk_forward: in-sample length in windows")
    min_trades = _whole_field(MIN_TRADES, "walk_forward: fewest in-sample trades of a setting")
    draws = _whole_field(DRAWS, "null: random runs")
    cuts = _whole_field(CUTS, "look_ahead: shorter histories")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # ``seed`` is a parameter of the strategy random and an option of methods that draw.
        draws_itself = "seed" in METHODS[attrs["method"]].option_names
        seed = attrs.pop("seed", None) if draws_itself else None
        attrs = super().validate(attrs)
        attrs["options"] = {
            name: attrs[name] for name in METHODS[attrs["method"]].option_names if attrs.get(name) is not None
        }
        if seed is not None:
            attrs["options"]["seed"] = seed
        return attrs


class SweepRequest(AnalysisRequest):
    """What ``POST /api/v1/sweeps/`` may ask: a run's specification, ``axes`` and ``metric``."""

    method = serializers.HiddenField(default="sweep")  # type: ignore[assignment]  # the one thing that is settled


class RowsQuery(QuerySerializer):
    """Which rows of a report, and how they are told."""

    CAP = 200_000

    limit = WholeField(low=1, high=CAP, is_cap=True, required=False, help_text="Rows; default and cap 200,000.")
    cursor = WholeField(low=0, high=10**12, required=False)
    format = serializers.ChoiceField(choices=FORMATS, default="json")


class BandsQuery(QuerySerializer):
    """How the trades of a run are drawn anew."""

    resampling = serializers.ChoiceField(choices=[each.value for each in Resampling], default=Resampling.SHUFFLE.value)
    draws = WholeField(low=100, high=10_000, default=1_000)
    seed = WholeField(low=0, high=10**9, default=0)


@extend_schema_field({"type": "string", "pattern": "^[0-9]{1,15}(,[0-9]{1,15}){1,3}$"})
class _IdsField(serializers.CharField):
    """Numbers of runs, by comma."""


class CompareQuery(QuerySerializer):
    """Which runs are set side by side."""

    ids = _IdsField(max_length=80, help_text="Two to four numbers of runs, by comma.")

    def validate_ids(self, text: str) -> list[int]:
        numbers = [row_number(item.strip()) for item in text.split(",")]
        ids = list(dict.fromkeys(number for number in numbers if number is not None))
        if None in numbers:
            raise serializers.ValidationError("must be numbers of runs, separated by commas")
        if not 2 <= len(ids) <= 4:
            raise serializers.ValidationError("must name two to four different runs")
        return ids
