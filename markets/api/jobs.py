"""What the APIs of all kinds of jobs share: their keys, pages, how one is taken in, and cancelling."""

from typing import Any, TypeVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from markets.models import Job
from markets.selectors import find_job, visible_jobs
from markets.serializers import JobSerializer, QuerySerializer, WholeField
from markets.services.jobs import request_cancel

J = TypeVar("J", bound=Job)

_DEFAULT_LIMIT = 50
_KEY_HEADER = "Idempotency-Key"
# With its owner's number before it a key must fit the row.
_LONGEST_KEY = 100

IDEMPOTENCY = OpenApiParameter(
    _KEY_HEADER,
    str,
    OpenApiParameter.HEADER,
    description=f"The same key and request give the same job. At most {_LONGEST_KEY} printable ASCII characters.",
)
JOB_PAGE = inline_serializer(
    "Jobs", {"next": serializers.CharField(allow_null=True), "results": JobSerializer(many=True)}
)


class JobQuery(QuerySerializer):
    """Which page of a list of jobs."""

    CAP = 500

    limit = WholeField(low=1, high=CAP, is_cap=True, required=False)
    cursor = WholeField(low=1, high=10**15, required=False)


def idempotency_key(request: Request) -> str | None:
    """Return the key that the caller gave this request; raise ``ValidationError`` for one that no row can hold."""
    key = request.headers.get(_KEY_HEADER, "")
    if len(key) > _LONGEST_KEY or not (key.isascii() and key.isprintable()):
        wanted = f"must be at most {_LONGEST_KEY} printable ASCII characters"
        raise ValidationError({_KEY_HEADER: [f"{wanted}, was {key[:40]!a}, {len(key)} characters"]})
    return key or None


def job_page(
    request: Request, jobs: QuerySet[J], serializer: type[serializers.BaseSerializer[Any]] = JobSerializer
) -> dict[str, Any]:
    """Return a page of the jobs that this caller may see, newest first, with the URL of the next."""
    query = JobQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    limit, cursor = query.validated_data.get("limit", _DEFAULT_LIMIT), query.validated_data.get("cursor")
    jobs = visible_jobs(request.user, jobs)
    if cursor is not None:
        jobs = jobs.filter(pk__lt=cursor)
    rows = list(jobs.order_by("-pk")[: limit + 1])
    following = None
    if len(rows) > limit:
        following = request.build_absolute_uri(f"{request.path}?limit={limit}&cursor={rows[limit - 1].pk}")
    return {"next": following, "results": serializer(rows[:limit], many=True).data}


def accepted(request: Request, job: Job, content: Any) -> Response:
    """Answer that a job was taken in, and where it is to be followed."""
    return Response(content, status=202, headers={"Location": f"{request.path.rstrip('/')}/{job.pk}/"})


def cancel_job(
    request: Request,
    jobs: QuerySet[J],
    job_id: int,
    serializer: type[serializers.BaseSerializer[Any]] = JobSerializer,
) -> Response:
    """Ask a job to end; 409 when it has ended."""
    find_job(request.user, jobs, job_id)
    request_cancel(job_id)
    return Response(serializer(find_job(request.user, jobs, job_id)).data, status=202)
