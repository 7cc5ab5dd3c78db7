"""Shapes at the edge of the scanner."""

from typing import Any

from rest_framework import serializers

from markets.serializers import FORMATS, QuerySerializer, TimeframeField, WholeField
from scanner.engine.volatility import Metric
from scanner.selectors import Ranked, Ranking


class RankingQuery(QuerySerializer):
    """What ``GET /api/v1/scan/volatility`` may ask."""

    CAP = 1_000

    timeframe = TimeframeField()
    top = WholeField(low=1, high=CAP, is_cap=True, required=False, help_text="Default: all.")
    metric = serializers.ChoiceField(choices=[each.value for each in Metric], default=Metric.ATR.value)
    format = serializers.ChoiceField(choices=FORMATS, default="json")


class RankedSerializer(serializers.Serializer[Any]):
    """A pair's place in the ranking."""

    rank = serializers.IntegerField()
    symbol = serializers.CharField()
    atr_pct = serializers.FloatField(help_text="Mean true range of 14 candles against the close, percent.")
    realized_vol = serializers.FloatField(help_text="Of log returns, annualised on 365 days, percent.")
    range_pct = serializers.FloatField(help_text="Range of the last 14 candles against the close, percent.")
    vs_median = serializers.FloatField(allow_null=True, help_text="The ranked measure against its own median.")
    relative_volume = serializers.FloatField(allow_null=True)
    last_close = serializers.FloatField()
    change_24h_pct = serializers.FloatField(allow_null=True)
    bias = serializers.IntegerField(help_text="1 bullish, -1 bearish, 0 undecided.")


def ranked_json(row: Ranked, ranking: Ranking) -> dict[str, Any]:
    """Return a row of a ranking as the API, the command and the CSV tell it."""
    measured = row.volatility
    return {
        "rank": row.rank,
        "symbol": row.symbol,
        "atr_pct": measured.atr_pct,
        "realized_vol": measured.realized_vol,
        "range_pct": measured.range_pct,
        "vs_median": measured.vs_median[ranking.metric],
        "relative_volume": measured.relative_volume,
        "last_close": measured.last_close,
        "change_24h_pct": measured.change_24h_pct,
        "bias": measured.bias,
    }
