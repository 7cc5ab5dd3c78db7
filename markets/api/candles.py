"""``GET /api/v1/candles/``: stored closed candles."""

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import orjson
from django.http import HttpResponse, HttpResponseBase, QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from markets.api.answers import Columns, file_answer, unchanged_answer
from markets.candles import COLUMNS, Candles
from markets.moments import iso_times
from markets.selectors import candle_store, require_pair
from markets.serializers import CandleQuery, CandleSerializer, candle_rows, column_types
from markets.series import SeriesKey
from markets.store import CandleStore

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
        wanted, store = _query().run_validation(request.query_params), candle_store()
        series = SeriesKey(wanted["symbol"], wanted["timeframe"])
        last, edit = store.version(series)
        if last is None:  # what has candles is known, and the database need not be asked
            require_pair(series.symbol)
        if wanted["format"] != "json":
            name = f"{series.symbol}-{series.timeframe}"
            types = column_types(CandleSerializer())
            return file_answer(_parts(series, wanted), types, format_=wanted["format"], name=name)
        page = Page(
            request.build_absolute_uri(),
            series,
            wanted["start"],
            wanted["end"],
            wanted.get("limit", _DEFAULT_LIMIT),
            wanted["order"] == "desc",
        )

        def answer() -> HttpResponseBase:
            return HttpResponse(_written(page, store, edit, last), content_type="application/json")

        if last is None or page.end is None or page.end > last:
            return answer()
        tag = (series, page.start, page.end, page.limit, page.is_newest_first, edit)
        return unchanged_answer(request, tag, answer)


@cache
def _query() -> CandleQuery:
    """Return what reads query strings; to make its fields anew takes longer than to read with them."""
    return CandleQuery()


class Page(NamedTuple):
    """Which candles are asked for, by which address."""

    url: str
    series: SeriesKey
    start: int | None
    end: int | None
    limit: int
    is_newest_first: bool

    @property
    def is_backward(self) -> bool:
        return self.start is None or self.is_newest_first


@lru_cache(maxsize=32)
def _written(page: Page, store: CandleStore, edit: int, last: int | None) -> bytes:
    """Return a page as JSON. Many ask for the same newest candles: until another is stored, they are written once."""
    candles, has_more = _candles(page, store)
    rows = candle_rows(candles)
    told = {"next": _next(page, candles) if has_more else None, "results": rows[::-1] if page.is_newest_first else rows}
    return orjson.dumps(told)


def _candles(page: Page, store: CandleStore) -> tuple[Candles, bool]:
    """Return the candles of a page, the oldest first, and whether there are more."""
    series, start, end, limit = page.series, page.start, page.end, page.limit
    if start is None or page.is_newest_first:
        candles = store.newest(series, limit + 1, before=end).between(start, None)
        return candles.take(slice(max(0, len(candles) - limit), None)), len(candles) > limit
    # A range of many years with a small limit need not be read whole.
    reach = start + (limit + 1) * series.timeframe.milliseconds * 4
    candles = store.read(series, start=start, end=min(end, reach) if end is not None else reach)
    if len(candles) <= limit:
        candles = store.read(series, start=start, end=end)
    return candles.first(limit), len(candles) > limit


def _next(page: Page, candles: Candles) -> str:
    """Return the URL of the page that goes on where this one ends."""
    address, _, query = page.url.partition("?")
    changes = QueryDict(query, mutable=True)
    if page.is_backward:
        name, moment = "to", candles.open_time[:1]
    else:
        name, moment = "from", candles.open_time[-1:] + 1000
    # The other bound stays as it was asked for, by whichever of its two names.
    changes.pop(f"{name}_date", None)
    changes[name] = iso_times(moment)[0]
    return f"{address}?{changes.urlencode()}"


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
        yield _columns(candles, wanted)
        return
    coverage = store.coverage(series)
    if coverage is None:
        yield _columns(Candles.empty(), wanted)
        return
    start = max(wanted["start"] if wanted["start"] is not None else coverage.first, coverage.first)
    end = min(wanted["end"] if wanted["end"] is not None else coverage.last + 1, coverage.last + 1)
    edges = [*range(start, end, _PART_MILLISECONDS), end]
    spans = list(pairwise(edges))
    if not spans:
        yield _columns(Candles.empty(), wanted)
    for low, high in spans[::-1] if wanted["order"] == "desc" else spans:
        yield _columns(store.read(series, start=low, end=high), wanted)


def _columns(candles: Candles, wanted: dict[str, Any]) -> Columns:
    step = slice(None, None, -1) if wanted["order"] == "desc" else slice(None)
    columns: Columns = {name: np.ascontiguousarray(getattr(candles, name)[step]) for name in COLUMNS}
    times = columns["open_time"]
    # CSV writes times itself; in Parquet they are the same text.
    return {**columns, "open_time": times.astype("datetime64[ms]") if wanted["format"] == "csv" else iso_times(times)}
