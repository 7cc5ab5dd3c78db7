"""``/api/v1/backtests/``: asking for runs, following them, and reading their reports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backtests.models import Backtest
from backtests.reports import EQUITY, TRADES, column_names, csv_chunks, read_columns, row_count
from backtests.selectors import MAX_CANDLES, all_backtests, backtests, cost_of, report_folder, settle
from backtests.serializers.answers import (
    BacktestRowSerializer,
    BacktestSerializer,
    EquitySerializer,
    EstimateSerializer,
    TradeSerializer,
    report_links,
    row_types,
    rows_json,
)
from backtests.serializers.questions import BacktestQuery, BacktestRequest, DryRunQuery, RowsQuery
from backtests.services.running import new_backtest, run_now
from backtests.tasks import submit_backtest
from markets.api.answers import Columns, chunk_answer, file_answer, json_answer, unchanged_answer
from markets.api.jobs import IDEMPOTENCY, JobQuery, accepted, cancel_job, idempotency_key, job_page
from markets.moments import iso
from markets.selectors import find_job, owner_of, require_pair

_PART = 65_536

BACKTEST_PAGE = inline_serializer(
    "Backtests", {"next": serializers.CharField(allow_null=True), "results": BacktestRowSerializer(many=True)}
)


def require_pairs(symbols: tuple[str, ...]) -> None:
    """Raise ``UnknownSymbolError`` with near matches for the first pair that there is not."""
    for symbol in symbols:
        require_pair(symbol)


class BacktestNowView(APIView):
    """One run, made now; up to 200,000 candles, more is for a job (POST /api/v1/backtests/)."""

    @extend_schema(operation_id="backtest_now", parameters=[BacktestQuery], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> HttpResponseBase:
        query = BacktestQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        spec = query.to_spec()
        require_pairs(spec.symbols)
        run = run_now(spec, owner=owner_of(request.user))
        return unchanged_answer(request, ("backtest", run.pk, run.result_key), lambda: json_answer(_whole(run)))


def _whole(run: Backtest) -> dict[str, Any]:
    return {
        "id": run.pk,
        "state": run.state,
        "symbol": run.symbol,
        "timeframe": run.timeframe,
        "strategy": run.strategy,
        "from": iso(run.start),
        "to": iso(run.end),
        "spec": run.spec,
        "metrics": run.result,
        "trades": rows_json(read_columns(report_folder(run), TRADES)),
        "reports": report_links(run),
    }


class BacktestListView(APIView):
    """Runs, newest first; POST asks for one."""

    @extend_schema(operation_id="backtests", parameters=[JobQuery], responses=BACKTEST_PAGE)
    def get(self, request: Request) -> Response:
        return Response(job_page(request, backtests(), BacktestRowSerializer))

    @extend_schema(
        operation_id="submit_backtest",
        request=BacktestRequest,
        responses={200: EstimateSerializer, 202: BacktestSerializer},
        parameters=[IDEMPOTENCY, DryRunQuery],
    )
    def post(self, request: Request) -> Response:
        query = BacktestRequest(data=request.data)
        query.is_valid(raise_exception=True)
        spec = query.to_spec()
        require_pairs(spec.symbols)
        in_query = DryRunQuery(data=request.query_params)
        in_query.is_valid(raise_exception=True)
        if query.validated_data["dry_run"] or in_query.validated_data["dry_run"]:
            return Response(cost_of(settle(spec, cap=MAX_CANDLES)))
        job = new_backtest(spec, note=query.validated_data["note"], owner=owner_of(request.user))
        job = submit_backtest(job, key=idempotency_key(request))
        return accepted(request, job, BacktestSerializer(job).data)


class BacktestView(APIView):
    """One run, with all its metrics once it is done."""

    @extend_schema(operation_id="backtest", responses=BacktestSerializer)
    def get(self, request: Request, job_id: int) -> Response:
        return Response(BacktestSerializer(find_job(request.user, all_backtests(), job_id)).data)


class BacktestCancelView(APIView):
    """Ends a run: at once when it waits, within seconds when it runs."""

    @extend_schema(operation_id="cancel_backtest", request=None, responses={202: BacktestSerializer})
    def post(self, request: Request, job_id: int) -> Response:
        return cancel_job(request, all_backtests(), job_id, BacktestSerializer)


def _page_of(serializer: type[serializers.Serializer[Any]], name: str) -> dict[Any, Any]:
    return {
        (200, "application/json"): inline_serializer(
            name, {"next": serializers.CharField(allow_null=True), "results": serializer(many=True)}
        ),
        (200, "text/csv"): OpenApiTypes.STR,
        (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
    }


class TradesView(APIView):
    """The trades of a run that is done, in order of entry."""

    @extend_schema(
        operation_id="backtest_trades", parameters=[RowsQuery], responses=_page_of(TradeSerializer, "TradePage")
    )
    def get(self, request: Request, job_id: int) -> HttpResponseBase:
        return _rows(request, find_job(request.user, all_backtests(), job_id), TRADES)


class EquityView(APIView):
    """The equity of a run that is done, one row a bar."""

    @extend_schema(
        operation_id="backtest_equity", parameters=[RowsQuery], responses=_page_of(EquitySerializer, "EquityPage")
    )
    def get(self, request: Request, job_id: int) -> HttpResponseBase:
        return _rows(request, find_job(request.user, all_backtests(), job_id), EQUITY)


class ReportView(APIView):
    """The trades of a run that is done as CSV, byte for byte as on the disk."""

    @extend_schema(
        operation_id="backtest_report",
        parameters=[OpenApiParameter("job_id", int, OpenApiParameter.PATH)],
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )
    def get(self, request: Request, job_id: int) -> HttpResponseBase:
        run = find_job(request.user, all_backtests(), job_id)
        folder = report_folder(run)

        def answer() -> HttpResponseBase:
            return chunk_answer(csv_chunks(folder, TRADES), format_="csv", name=f"backtest-{run.pk}-trades")

        return unchanged_answer(request, (run.pk, run.result_key, TRADES), answer)


def _rows(request: Request, run: Backtest, name: str) -> HttpResponseBase:
    query = RowsQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    wanted, folder = query.validated_data, report_folder(run)
    start, total = wanted.get("cursor", 0), row_count(folder, name)
    # A file is whole unless less was asked for; JSON has a cap.
    limit = wanted.get("limit", RowsQuery.CAP if wanted["format"] == "json" else total)
    file_name = f"backtest-{run.pk}-{name}"
    if wanted["format"] == "csv":
        return chunk_answer(csv_chunks(folder, name, start=start, count=limit), format_="csv", name=file_name)
    if wanted["format"] == "parquet":
        parts = _parts(folder, name, start=start, end=min(total, start + limit))
        rows_of = TradeSerializer() if name == TRADES else EquitySerializer()
        types = row_types(rows_of, column_names(folder, name))
        return file_answer(parts, types, format_="parquet", name=file_name)

    def answer() -> HttpResponseBase:
        rows = rows_json(read_columns(folder, name, start=start, count=limit))
        following = start + len(rows)
        base = request.build_absolute_uri(request.path)
        return json_answer(
            {
                "count": total,
                "next": f"{base}?limit={limit}&cursor={following}" if following < total else None,
                "results": rows,
            }
        )

    return unchanged_answer(request, (run.pk, run.result_key, name, start, limit), answer)


def _parts(folder: Path, name: str, *, start: int, end: int) -> Iterator[Columns]:
    """Yield the rows some thousand at a time; with none, the columns alone."""
    for at in range(start, max(end, start + 1), _PART):
        yield read_columns(folder, name, start=at, count=max(0, min(_PART, end - at)))
