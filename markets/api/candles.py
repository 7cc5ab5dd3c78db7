"""``GET /api/v1/candles/``: stored closed candles."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from markets.api.answers import Columns, file_answer, json_answer, unchanged_answer
from markets.candles import COLUMNS, Candles
from markets.selectors import candle_store, require_pair
from markets.serializers import CandleQuery, CandleSerializer, candle_rows, iso_times
from markets.series import SeriesKey

_DEFAULT_LIMIT = 500
_PART_MILLISECONDS = 30 * 86_400_000


class CandleView(APIView):
    """Candles of one series: the newest, or a range."""

    @extend_schema(
        operation_id="candles",
        parameters=[CandleQuery],
        responses={
            (200, "application/json"): inline_serializer(
                "Candles", {"next": serializers.CharField(allow_null=True), "results": CandleSerializer(many=True)}
            ),
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = CandleQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wanted, series = query.validated_data, query.series
        require_pair(series.symbol)
        if wanted["format"] != "json":
            return file_answer(
                _parts(series, wanted), format_=wanted["format"], name=f"{series.symbol}-{series.timeframe}"
            )
        last = candle_store().last_time(series)
        if last is None or wanted["end"] is None or wanted["end"] > last:
            return json_answer(_page(request, series, wanted))
        tag = (
            series,
            wanted["start"],
            wanted["end"],
            wanted.get("limit"),
            wanted["order"],
            candle_store().edit(series),
        )
        return unchanged_answer(request, tag, lambda: json_answer(_page(request, series, wanted)))


def _page(request: Request, series: SeriesKey, wanted: dict[str, Any]) -> dict[str, Any]:
    limit, store = wanted.get("limit", _DEFAULT_LIMIT), candle_store()
    start, end, is_newest_first = wanted["start"], wanted["end"], wanted["order"] == "desc"
    if start is None or is_newest_first:
        candles = store.newest(series, limit + 1, before=end)
        candles = candles.between(start, None)
        has_more, candles = len(candles) > limit, candles.take(slice(max(0, len(candles) - limit), None))
    else:
        # A range of many years with a small limit need not be read whole.
        reach = start + (limit + 1) * series.timeframe.milliseconds * 4
        candles = store.read(series, start=start, end=min(end, reach) if end is not None else reach)
        if len(candles) <= limit:
            candles = store.read(series, start=start, end=end)
        has_more, candles = len(candles) > limit, candles.first(limit)
    rows = candle_rows(candles)
    return {
        "next": _next(request, candles, is_backward=start is None or is_newest_first) if has_more else None,
        "results": rows[::-1] if is_newest_first else rows,
    }


def _next(request: Request, candles: Candles, *, is_backward: bool) -> str:
    """Return the URL of the page that goes on where this one ends."""
    changes = request.query_params.copy()
    for name in ("from_date", "to_date"):
        changes.pop(name, None)
    if is_backward:
        changes["to"] = iso_times(candles.open_time[:1])[0]
    else:
        changes["from"] = iso_times(candles.open_time[-1:] + 1000)[0]
    return request.build_absolute_uri(f"{request.path}?{changes.urlencode()}")


def _parts(series: SeriesKey, wanted: dict[str, Any]) -> Iterator[Columns]:
    """Yield the asked candles a month at a time, so that memory stays flat whatever the range."""
    store, limit = candle_store(), wanted.get("limit")
    has_range = wanted["start"] is not None or wanted["end"] is not None
    if limit is not None or not has_range:
        limit = limit or _DEFAULT_LIMIT
        if wanted["start"] is None or wanted["order"] == "desc":
            candles = store.newest(series, limit, before=wanted["end"]).between(wanted["start"], None)
        else:
            candles = store.read(series, start=wanted["start"], end=wanted["end"]).first(limit)
        yield _columns(candles, wanted["order"])
        return
    coverage = store.coverage(series)
    if coverage is None:
        yield _columns(Candles.empty(), "asc")
        return
    start = max(wanted["start"] if wanted["start"] is not None else coverage.first, coverage.first)
    end = min(wanted["end"] if wanted["end"] is not None else coverage.last + 1, coverage.last + 1)
    edges = [*range(start, end, _PART_MILLISECONDS), end]
    spans = list(pairwise(edges))
    if not spans:
        yield _columns(Candles.empty(), "asc")
    for low, high in spans[::-1] if wanted["order"] == "desc" else spans:
        yield _columns(store.read(series, start=low, end=high), wanted["order"])


def _columns(candles: Candles, order: str) -> Columns:
    step = slice(None, None, -1) if order == "desc" else slice(None)
    columns: Columns = {name: np.ascontiguousarray(getattr(candles, name)[step]) for name in COLUMNS}
    return {**columns, "open_time": iso_times(columns["open_time"])}
