"""Shapes at the edge: what a run may be asked for, made of the parameters, and how runs are told."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backtests.engine.bands import Resampling
from backtests.engine.bench import TARGETS
from backtests.engine.methods import METHODS
from backtests.engine.parameters import Parameter, ParameterType, near_matches
from backtests.engine.spec import BacktestSpec, all_parameters, parameters_for
from backtests.engine.strategies import STRATEGIES, Breakout
from backtests.models import Analysis, Backtest
from markets.errors import InvalidInputError
from markets.moments import iso_times
from markets.serializers import (
    FORMATS,
    JobSerializer,
    QuerySerializer,
    RangeQuery,
    TimeframeField,
    WholeField,
    row_number,
)
from markets.series import SYMBOL_PATTERN

_TIMES = ("signal_time", "entry_time", "exit_time", "time")


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
            raise serializers.ValidationError(_unknown("strategy", str(data), list(STRATEGIES)))
        return data


class ParameterField(serializers.Field[Any, Any, Any, Any]):
    """One parameter, read by its own description."""

    def __init__(self, parameter: Parameter, **kwargs: Any) -> None:
        shown = f"; default {_shown(parameter.default)}" if parameter.default is not None else ""
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


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default)


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


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = near_matches(name, known)
    hint = f"did you mean {', '.join(near)}?" if near else f"one of {', '.join(sorted(known))}"
    return f"unknown {what} {name[:60]!r}; {hint}"


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
            raise serializers.ValidationError({name: [_unknown("parameter", name, list(known))] for name in unknown})
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


class EstimateSerializer(serializers.Serializer[Any]):
    """What was asked for would cost; ``seconds`` is of one core, and rough."""

    runs = serializers.IntegerField()
    candles = serializers.IntegerField()
    seconds = serializers.FloatField()


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
    metric = serializers.ChoiceField(choices=list(TARGETS), required=False, help_text="Default expectancy_r.")
    windows = WholeField(low=2, high=60, required=False, help_text="walk_forward: windows; default 12.")
    in_sample = WholeField(
        low=1, high=20, required=False, help_text="walk_forward: in-sample length in windows; default 4."
    )
    min_trades = WholeField(
        low=1, high=10_000, required=False, help_text="walk_forward: fewest in-sample trades of a setting; default 10."
    )
    draws = WholeField(low=20, high=5_000, required=False, help_text="null: random runs; default 500.")
    cuts = WholeField(low=1, high=500, required=False, help_text="look_ahead: shorter histories; default 20.")

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


class TradeSerializer(serializers.Serializer[Any]):
    """One trade. Prices in quote currency, quantity in base currency, times are open times of bars."""

    trade = serializers.IntegerField()
    direction = serializers.ChoiceField(choices=["long", "short"])
    signal_kind = serializers.CharField()
    signal_time = serializers.DateTimeField()
    entry_time = serializers.DateTimeField()
    entry_price = serializers.FloatField()
    stop_price = serializers.FloatField()
    target_price = serializers.FloatField(allow_null=True)
    quantity = serializers.FloatField()
    exit_time = serializers.DateTimeField()
    exit_price = serializers.FloatField()
    exit_reason = serializers.CharField()
    gross_pnl = serializers.FloatField()
    fees = serializers.FloatField()
    slippage = serializers.FloatField()
    net_pnl = serializers.FloatField()
    r_multiple = serializers.FloatField()
    mae_r = serializers.FloatField()
    mfe_r = serializers.FloatField()
    bars_held = serializers.IntegerField()
    ambiguous = serializers.BooleanField()
    resolution = serializers.ChoiceField(choices=["bar", "ltf", "fallback"])


class EquitySerializer(serializers.Serializer[Any]):
    """The account at the close of a bar; ``drawdown`` is a fraction of the highest equity before."""

    time = serializers.DateTimeField()
    equity = serializers.FloatField()
    drawdown = serializers.FloatField()


def rows_json(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return columns of a report as objects: times in ISO 8601, what is undefined as null."""
    told = [_told(name, column) for name, column in columns.items()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*told, strict=True)]


def _told(name: str, column: Any) -> list[Any]:
    if name in _TIMES:
        return iso_times(np.asarray(column, np.int64))
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f" and np.isnan(column).any():
        return [None if value != value else value for value in values]  # noqa: PLR0124  # only NaN differs from itself
    return values


class BacktestSerializer(JobSerializer):
    """A run as a job, with where its results are."""

    reports = serializers.SerializerMethodField()

    class Meta:
        model = Backtest
        fields = (*JobSerializer.Meta.fields, "symbol", "timeframe", "strategy", "data_digest", "reports")

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_reports(self, run: Backtest) -> dict[str, str]:
        return report_links(run)


def report_links(run: Backtest) -> dict[str, str]:
    """Return the addresses of a run's results."""
    base = f"/api/v1/backtests/{run.pk}/"
    return {
        "trades": f"{base}trades/",
        "equity": f"{base}equity/",
        "csv": f"{base}report.csv",
        "trades_parquet": f"{base}trades/?format=parquet",
        "equity_parquet": f"{base}equity/?format=parquet",
        "page": f"/web/backtest/{run.pk}",
    }


class BacktestRowSerializer(BacktestSerializer):
    """A run in a list: its headline metrics alone, so that a page of runs stays small."""

    metrics = serializers.SerializerMethodField()  # type: ignore[assignment]

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": True})
    def get_metrics(self, run: Backtest) -> dict[str, Any] | None:
        return None if run.result is None else {name: run.result.get(name) for name in HEADLINES}


HEADLINES = (
    "trades", "win_rate", "profit_factor", "expectancy_r", "total_r", "net_profit", "return_pct", "max_drawdown_pct",
    "sharpe", "final_equity", "ambiguous_share",
)  # fmt: skip


class AnalysisSerializer(JobSerializer):
    """An analysis as a job."""

    class Meta:
        model = Analysis
        fields = (*JobSerializer.Meta.fields, "method", "symbol", "timeframe", "strategy", "data_digest")
