"""``/api/v1/backfills/``: asking for candles, and following the job."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from markets.api.jobs import IDEMPOTENCY, JOB_PAGE, JobQuery, accepted, cancel_job, idempotency_key, job_page
from markets.models import Backfill
from markets.selectors import backfills, find_job, owner_of, require_pair
from markets.serializers import BackfillRequest, JobSerializer
from markets.tasks import submit_backfill


class BackfillListView(APIView):
    """Backfill jobs, newest first; POST asks for one."""

    @extend_schema(operation_id="backfills", parameters=[JobQuery], responses=JOB_PAGE)
    def get(self, request: Request) -> Response:
        return Response(job_page(request, backfills()))

    @extend_schema(
        operation_id="submit_backfill",
        request=BackfillRequest,
        responses={202: JobSerializer},
        parameters=[IDEMPOTENCY],
    )
    def post(self, request: Request) -> Response:
        query = BackfillRequest(data=request.data)
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        require_pair(wanted["symbol"])
        job = Backfill(
            symbol=wanted["symbol"],
            timeframe=wanted["timeframe"].value,
            start=wanted["start"],
            end=wanted["end"],
            source=wanted["source"],
            note=wanted["note"],
            owner=owner_of(request.user),
            spec={**wanted, "timeframe": wanted["timeframe"].value},
        )
        job = submit_backfill(job, key=idempotency_key(request))
        return accepted(request, job, JobSerializer(job).data)


class BackfillView(APIView):
    """One backfill job."""

    @extend_schema(operation_id="backfill", responses=JobSerializer)
    def get(self, request: Request, job_id: int) -> Response:
        return Response(JobSerializer(find_job(request.user, backfills(), job_id)).data)


class BackfillCancelView(APIView):
    """Ends a backfill job: at once when it waits, within seconds when it runs."""

    @extend_schema(operation_id="cancel_backfill", request=None, responses={202: JobSerializer})
    def post(self, request: Request, job_id: int) -> Response:
        return cancel_job(request, backfills(), job_id)
