"""``/api/v1/sweeps/`` and ``/analyses/``: many runs of one specification; bands and comparisons of finished runs."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backtests.api.runs import require_pairs
from backtests.engine.methods import METHODS
from backtests.models import Analysis, Method
from backtests.selectors import (
    MAX_CANDLES,
    all_backtests,
    analyses,
    bands_of,
    compared,
    cost_of_runs,
    report_folder,
    settle,
)
from backtests.serializers.answers import AnalysisRowSerializer, AnalysisSerializer, EstimateSerializer
from backtests.serializers.questions import AnalysisRequest, BandsQuery, CompareQuery, SweepRequest
from backtests.services.analysing import new_analysis, result_of
from backtests.tasks import submit_analysis
from markets.api.answers import json_answer
from markets.api.jobs import IDEMPOTENCY, JobQuery, accepted, cancel_job, idempotency_key, job_page
from markets.selectors import find_job, owner_of

ANALYSIS_PAGE = inline_serializer(
    "Analyses", {"next": serializers.CharField(allow_null=True), "results": AnalysisRowSerializer(many=True)}
)


def _told(job: Analysis) -> dict[str, Any]:
    """Return an analysis with its result, or with what is there of it so far."""
    content: dict[str, Any] = dict(AnalysisSerializer(job).data)
    if job.result is None:
        content["metrics"] = None
    partial = job.result if job.result is not None else result_of(job)
    return {**content, "result": partial, **{name: partial[name] for name in ("axes", "grid") if name in partial}}


def _submit(request: Request, query: AnalysisRequest) -> Response:
    query.is_valid(raise_exception=True)
    wanted, spec = query.validated_data, query.to_spec()
    require_pairs(spec.symbols)
    if wanted["dry_run"]:
        method, settled = METHODS[wanted["method"]], settle(spec, cap=MAX_CANDLES)
        return Response(cost_of_runs(method, settled, method.read(settled, wanted["options"])))
    job = new_analysis(wanted["method"], spec, wanted["options"], note=wanted["note"], owner=owner_of(request.user))
    job = submit_analysis(job, key=idempotency_key(request))
    return accepted(request, job, _told(job))


class AnalysisListView(APIView):
    """Analyses, newest first; POST asks for one."""

    @extend_schema(operation_id="analyses", parameters=[JobQuery], responses=ANALYSIS_PAGE)
    def get(self, request: Request) -> Response:
        return Response(job_page(request, analyses().defer("result"), AnalysisRowSerializer))

    @extend_schema(
        operation_id="submit_analysis",
        request=AnalysisRequest,
        responses={200: EstimateSerializer, 202: AnalysisSerializer},
        parameters=[IDEMPOTENCY],
    )
    def post(self, request: Request) -> Response:
        return _submit(request, AnalysisRequest(data=request.data))


class AnalysisView(APIView):
    """One analysis; while it runs, what is there of it so far."""

    @extend_schema(operation_id="analysis", responses=AnalysisSerializer)
    def get(self, request: Request, job_id: int) -> HttpResponseBase:
        return json_answer(_told(find_job(request.user, analyses(), job_id)))


class AnalysisCancelView(APIView):
    """Ends an analysis: at once when it waits, within seconds when it runs. Parts that are done stay visible."""

    @extend_schema(operation_id="cancel_analysis", request=None, responses={202: AnalysisSerializer})
    def post(self, request: Request, job_id: int) -> Response:
        return cancel_job(request, analyses(), job_id, AnalysisSerializer)


def sweeps() -> QuerySet[Analysis]:
    return analyses().filter(method=Method.SWEEP)


class SweepListView(APIView):
    """Sweeps, newest first; POST asks for one."""

    @extend_schema(operation_id="sweeps", parameters=[JobQuery], responses=ANALYSIS_PAGE)
    def get(self, request: Request) -> Response:
        return Response(job_page(request, sweeps().defer("result"), AnalysisRowSerializer))

    @extend_schema(
        operation_id="submit_sweep",
        request=SweepRequest,
        responses={200: EstimateSerializer, 202: AnalysisSerializer},
        parameters=[IDEMPOTENCY],
    )
    def post(self, request: Request) -> Response:
        return _submit(request, SweepRequest(data=request.data))


class SweepView(APIView):
    """One sweep: its grid of metrics, null where a cell is not done yet."""

    @extend_schema(operation_id="sweep", responses=AnalysisSerializer)
    def get(self, request: Request, job_id: int) -> HttpResponseBase:
        return json_answer(_told(find_job(request.user, sweeps(), job_id)))


class SweepCancelView(APIView):
    """Ends a sweep. Cells that are done stay visible."""

    @extend_schema(operation_id="cancel_sweep", request=None, responses={202: AnalysisSerializer})
    def post(self, request: Request, job_id: int) -> Response:
        return cancel_job(request, sweeps(), job_id, AnalysisSerializer)


class BandsView(APIView):
    """Monte Carlo bands of a run that is done: its trades in another order, or drawn anew in blocks."""

    @extend_schema(operation_id="backtest_bands", parameters=[BandsQuery], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, job_id: int) -> HttpResponseBase:
        run = find_job(request.user, all_backtests(), job_id)
        query = BandsQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        return json_answer(bands_of(run, **query.validated_data))


class CompareView(APIView):
    """Two to four runs that are done, side by side."""

    @extend_schema(operation_id="compare_backtests", parameters=[CompareQuery], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> HttpResponseBase:
        query = CompareQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        runs = [find_job(request.user, all_backtests(), each) for each in query.validated_data["ids"]]
        for run in runs:
            report_folder(run)  # a run that is not done has none, and that is an error here
        return json_answer(compared(runs))
