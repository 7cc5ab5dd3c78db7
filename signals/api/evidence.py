"""``/api/v1/signals/evidence/`` and ``/studies/``: what signals were worth, at once or as a job; the track record."""

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from markets.api.answers import json_answer
from markets.api.jobs import IDEMPOTENCY, JobQuery, accepted, cancel_job, idempotency_key, job_page
from markets.selectors import find_job, owner_of, require_pair
from markets.serializers import JobSerializer
from signals.models import Study
from signals.serializers import EvidenceQuery, StudyRowSerializer, TrackRecordQuery
from signals.services.evidence import study_now, track_record_json
from signals.tasks import submit_study

_STUDY_PAGE = inline_serializer(
    "Studies", {"next": serializers.CharField(allow_null=True), "results": StudyRowSerializer(many=True)}
)


class EvidenceView(APIView):
    """The tables of one series, made now.

    Up to 200,000 candles, and up to 6,000,000,000 of candles x horizons x draws, once more with a split and eleven
    times more with conditions; more is for a job (POST /api/v1/studies/).
    """

    @extend_schema(operation_id="evidence", parameters=[EvidenceQuery], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> HttpResponseBase:
        query = EvidenceQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        spec = query.to_spec()
        require_pair(query.series.symbol)
        return json_answer(study_now(query.series, spec))


class TrackRecordView(APIView):
    """What was published live of a series, judged as any study, beside what the detector finds now."""

    @extend_schema(operation_id="track_record", parameters=[TrackRecordQuery], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> HttpResponseBase:
        query = TrackRecordQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        require_pair(query.series.symbol)
        return json_answer(track_record_json(query.series, query.validated_data["scale"]))


class StudyListView(APIView):
    """Studies, newest first, without their tables; POST asks for one."""

    @extend_schema(operation_id="studies", parameters=[JobQuery], responses=_STUDY_PAGE)
    def get(self, request: Request) -> Response:
        return Response(job_page(request, Study.objects.defer("result"), StudyRowSerializer))

    @extend_schema(
        operation_id="submit_study", request=EvidenceQuery, responses={202: JobSerializer}, parameters=[IDEMPOTENCY]
    )
    def post(self, request: Request) -> Response:
        query = EvidenceQuery(data=request.data)
        query.is_valid(raise_exception=True)
        series = query.series
        require_pair(series.symbol)
        job = Study(
            symbol=series.symbol,
            timeframe=series.timeframe.value,
            note=query.validated_data["note"],
            owner=owner_of(request.user),
            spec=query.to_json(),
        )
        job = submit_study(job, key=idempotency_key(request))
        return accepted(request, job, JobSerializer(job).data)


class StudyView(APIView):
    """One study with its tables once it is done."""

    @extend_schema(operation_id="study", responses=JobSerializer)
    def get(self, request: Request, job_id: int) -> Response:
        return Response(JobSerializer(find_job(request.user, Study.objects.all(), job_id)).data)


class StudyCancelView(APIView):
    """Ends a study: at once when it waits, within seconds when it runs."""

    @extend_schema(operation_id="cancel_study", request=None, responses={202: JobSerializer})
    def post(self, request: Request, job_id: int) -> Response:
        return cancel_job(request, Study.objects.all(), job_id)
