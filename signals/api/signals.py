"""``/api/v1/signals/``: what was found, as it stands now or stood at any moment."""

from collections.abc import Iterator
from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from markets.api.answers import Columns, file_answer, json_answer
from markets.selectors import require_pair
from markets.serializers import column_types
from signals import selectors
from signals.serializers import SignalQuery, SignalSerializer, SummaryQuery, signal_json

_DEFAULT_LIMIT = 100
_PAGE_ROWS = 5_000


class SignalListView(APIView):
    """Signals, the newest first, of one series or of all."""

    @extend_schema(
        operation_id="signals",
        parameters=[SignalQuery],
        responses={
            (200, "application/json"): inline_serializer(
                "Signals", {"next": serializers.CharField(allow_null=True), "results": SignalSerializer(many=True)}
            ),
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = SignalQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        filter_ = query.to_filter()
        if filter_.symbol is not None:
            require_pair(filter_.symbol)
        if wanted["format"] != "json":
            parts = _parts(filter_, limit=wanted.get("limit"))
            return file_answer(parts, column_types(SignalSerializer()), format_=wanted["format"], name="signals")
        page = selectors.signals(filter_, limit=wanted.get("limit", _DEFAULT_LIMIT), cursor=wanted.get("cursor"))
        results = [signal_json(row) for row in page.rows]
        if wanted["context"]:
            for told, context in zip(results, selectors.contexts(page.rows, wanted["context"]), strict=True):
                told["context"] = context
        return json_answer({"next": _next(request, page.next_cursor), "results": results})


def _next(request: Request, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    changes = request.query_params.copy()
    changes["cursor"] = cursor
    return request.build_absolute_uri(f"{request.path}?{changes.urlencode()}")


def _parts(filter_: selectors.SignalFilter, *, limit: int | None) -> Iterator[Columns]:
    """Yield columns of up to ``limit`` signals, some thousand at a time."""
    cursor, left = None, limit
    while True:
        page = selectors.signals(filter_, limit=min(left or _PAGE_ROWS, _PAGE_ROWS), cursor=cursor)
        rows = [signal_json(row) for row in page.rows]
        yield {name: [row[name] for row in rows] for name in selectors.SignalRow._fields}
        cursor = page.next_cursor
        left = left - len(rows) if left is not None else None
        if cursor is None or left == 0:
            return


class SignalSummaryView(APIView):
    """Counts by kind, direction and status, the rate per 1,000 candles, and the newest of each kind."""

    @extend_schema(operation_id="signal_summary", parameters=[SummaryQuery], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> HttpResponseBase:
        query = SummaryQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        filter_ = query.to_filter()
        if filter_.symbol is not None:
            require_pair(filter_.symbol)
        summary: dict[str, Any] = selectors.summary(filter_)
        return json_answer(summary)
