"""How runs, analyses and the rows of their reports are told."""

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backtests.models import Analysis, Backtest
from markets.moments import iso_times
from markets.serializers import JobSerializer, column_types

_TIMES = ("signal_time", "entry_time", "exit_time", "time")


class EstimateSerializer(serializers.Serializer[Any]):
    """What was asked for would cost; ``seconds`` is of one core, and rough."""

    runs = serializers.IntegerField()
    candles = serializers.IntegerField()
    seconds = serializers.FloatField()


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
    symbol = serializers.CharField(required=False, help_text="The pair, in a run of several.")


class EquitySerializer(serializers.Serializer[Any]):
    """The account at the close of a bar; ``drawdown`` is a fraction of the highest equity before."""

    time = serializers.DateTimeField()
    equity = serializers.FloatField()
    drawdown = serializers.FloatField()


def row_types(rows: serializers.Serializer[Any], names: Container[str]) -> dict[str, type]:
    """Return what the columns ``names`` of a report hold; times are UTC ms, as they lie on the disk."""
    return {name: int if name in _TIMES else type_ for name, type_ in column_types(rows).items() if name in names}


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


class AnalysisRowSerializer(AnalysisSerializer):
    """An analysis in a list: its result, which may be a grid of thousands of cells, is told by the analysis itself."""

    metrics = serializers.SerializerMethodField()  # type: ignore[assignment]

    @extend_schema_field({"type": "null"})
    def get_metrics(self, job: Analysis) -> None:
        return None
