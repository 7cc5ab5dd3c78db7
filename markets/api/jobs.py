"""What the APIs of all kinds of jobs share: their keys, who sees them, pages, cancelling."""

from typing import Any, TypeVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from markets.errors import NotFoundError
from markets.models import LARGEST_ID, Job
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


def visible_jobs(request: Request, jobs: QuerySet[J]) -> QuerySet[J]:
    """Return the jobs this caller may see: a person who is not staff sees only his own."""
    user = request.user
    if user.is_authenticated and not user.is_staff:
        return jobs.filter(owner=user)
    return jobs


def find_job(request: Request, jobs: QuerySet[J], job_id: int) -> J:
    """Return one job; raise ``NotFoundError`` when there is none that this caller may see."""
    job = visible_jobs(request, jobs).filter(pk=job_id).first() if job_id <= LARGEST_ID else None
    if job is None:
        raise NotFoundError(f"there is no job {str(job_id)[:20]}")
    return job


def job_page(
    request: Request, jobs: QuerySet[J], serializer: type[serializers.BaseSerializer[Any]] = JobSerializer
) -> dict[str, Any]:
    """Return a page of jobs, newest first, with the URL of the next."""
    query = JobQuery(data=request.query_params)
    query.is_valid(raise_exception=True)
    limit, cursor = query.validated_data.get("limit", _DEFAULT_LIMIT), query.validated_data.get("cursor")
    if cursor is not None:
        jobs = jobs.filter(pk__lt=cursor)
    rows = list(jobs.order_by("-pk")[: limit + 1])
    following = None
    if len(rows) > limit:
        following = request.build_absolute_uri(f"{request.path}?limit={limit}&cursor={rows[limit - 1].pk}")
    return {"next": following, "results": serializer(rows[:limit], many=True).data}


def cancel_job(
    request: Request,
    jobs: QuerySet[J],
    job_id: int,
    serializer: type[serializers.BaseSerializer[Any]] = JobSerializer,
) -> Response:
    """Ask a job to end; 409 when it has ended."""
    find_job(request, jobs, job_id)
    request_cancel(job_id)
    return Response(serializer(find_job(request, jobs, job_id)).data, status=202)
