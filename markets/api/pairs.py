"""``GET /api/v1/pairs/``: the pairs the service knows, with what is stored of them."""

from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from markets.selectors import pairs
from markets.serializers import PairSerializer

_COVERAGE = serializers.DictField(
    child=inline_serializer(
        "Coverage",
        {
            "first": serializers.DateTimeField(allow_null=True),
            "last": serializers.DateTimeField(allow_null=True),
            "candles": serializers.IntegerField(),
            "gaps": serializers.IntegerField(),
        },
    )
)


class _PairShape(PairSerializer):
    """PairSerializer as the schema tells it, with the parts that are read from the store."""

    timeframes: Any = serializers.ListField(child=serializers.CharField())
    coverage: Any = _COVERAGE

    class Meta(PairSerializer.Meta):
        fields = (*PairSerializer.Meta.fields, "timeframes", "coverage")  # type: ignore[assignment]


class PairListView(APIView):
    """Every pair with its sizes and the coverage of each timeframe."""

    @extend_schema(
        operation_id="pairs",
        responses=inline_serializer(
            "Pairs",
            {
                "count": serializers.IntegerField(),
                "next": serializers.CharField(allow_null=True),
                "results": _PairShape(many=True),
            },
        ),
    )
    def get(self, request: Request) -> Response:
        rows = PairSerializer(pairs(), many=True).data
        return Response({"count": len(rows), "next": None, "results": rows})
