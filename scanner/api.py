"""``GET /api/v1/scan/volatility``: the ranking."""

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from markets.api.answers import file_answer, json_answer
from markets.serializers import column_types
from scanner.engine.volatility import Metric
from scanner.selectors import ranking
from scanner.serializers import RankedSerializer, RankingQuery, ranked_json


class VolatilityView(APIView):
    """All stored pairs of a timeframe, the most volatile first; pairs that could not be ranked are listed apart."""

    @extend_schema(
        operation_id="volatility",
        parameters=[RankingQuery],
        responses={
            (200, "application/json"): inline_serializer(
                "Ranking",
                {
                    "next": serializers.CharField(allow_null=True),
                    "results": RankedSerializer(many=True),
                    "skipped": inline_serializer(
                        "Skipped", {"symbol": serializers.CharField(), "reason": serializers.CharField()}, many=True
                    ),
                },
            ),
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = RankingQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        found = ranking(wanted["timeframe"], metric=Metric(wanted["metric"]), top=wanted.get("top"))
        rows = [ranked_json(row, found) for row in found.rows]
        if wanted["format"] != "json":
            types = column_types(RankedSerializer())
            columns = {name: [row[name] for row in rows] for name in types}
            name = f"volatility-{found.timeframe.value}"
            return file_answer(iter([columns]), types, format_=wanted["format"], name=name)
        skipped = [{"symbol": each.symbol, "reason": each.reason} for each in found.skipped]
        return json_answer({"next": None, "results": rows, "skipped": skipped})
