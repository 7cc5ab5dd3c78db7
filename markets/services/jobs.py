"""The life of a job. The row is the truth; every change of state is one conditional update.

queued ──take──▶ running ──finish──▶ done
   ▲                │ ├──fail──▶ failed
   ├─requeue_lost───┤ └──cancelled──▶ cancelled
   └─delay──────────┘
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from markets.errors import ConflictError, ExchangeUnavailableError, NotFoundError, RateLimitedError
from markets.models import Job, JobState
from markets.moments import iso, milliseconds

J = TypeVar("J", bound=Job)

MAX_ATTEMPTS = 3
LOST_AFTER = timedelta(seconds=20)
REDISPATCH_AFTER = timedelta(seconds=30)
FIRST_DELAY = timedelta(seconds=30)
LONGEST_DELAY = timedelta(minutes=15)
DELAYED_AT_MOST = timedelta(days=1)


def submit(job: J, *, key: str | None = None) -> J:
    """Save ``job`` as a queued row.

    With a ``key`` seen before, the former job is returned if it asked for the same; another request under
    the same key raises ``ConflictError``.
    """
    job.kind = job._meta.model_name or ""
    job.spec_digest = hashlib.sha256(json.dumps([job.kind, job.spec, job.note], sort_keys=True).encode()).hexdigest()
    job.idempotency_key = f"{job.owner_id or ''}:{key}" if key else None
    if key is None:
        job.save()
        return job
    try:
        with transaction.atomic():
            job.save()
    except IntegrityError:
        former: J | None = type(job)._default_manager.filter(idempotency_key=job.idempotency_key).first()  # type: ignore[assignment]
        if former is None or former.spec_digest != job.spec_digest:
            raise ConflictError(f"the idempotency key {key[:60]!r} was used for another request") from None
        return former
    return job


def _is_time(now: datetime) -> Q:
    return Q(not_before__isnull=True) | Q(not_before__lte=now)


def take(model: type[J], job_id: int, *, worker: str) -> J | None:
    """Turn a queued job into a running one of ``worker``; None when it is not there to be taken."""
    now = timezone.now()
    taken = Job.objects.filter(_is_time(now), pk=job_id, state=JobState.QUEUED).update(
        state=JobState.RUNNING, worker=worker, started_at=now, heartbeat_at=now, attempts=F("attempts") + 1,
        progress=0.0, stage="", eta_seconds=None,
    )  # fmt: skip
    job: J | None = model._default_manager.get(pk=job_id) if taken else None  # type: ignore[assignment]
    return job


def ours(job: Job) -> QuerySet[Job]:
    """Return the row of a running job; none when it is not this worker's any more."""
    return Job.objects.filter(pk=job.pk, state=JobState.RUNNING, worker=job.worker)


def finish(job: Job, result: dict[str, Any]) -> None:
    """Turn a running job into a done one; nothing happens when it is not this worker's any more, here and below."""
    _end(job, JobState.DONE, result=result, progress=1.0, stage="", eta_seconds=0.0, error="")


def fail(job: Job, reason: str) -> None:
    _end(job, JobState.FAILED, error=reason, eta_seconds=None)


def cancelled(job: Job) -> None:
    _end(job, JobState.CANCELLED, eta_seconds=None)


def _end(job: Job, state: JobState, **changes: Any) -> None:
    ours(job).update(state=state, finished_at=timezone.now(), **changes)


def put_back(job: Job, reason: str) -> None:
    """Queue a running job again without counting the attempt, as for a deployment."""
    _requeue(ours(job), reason)


def delay(job: Job, error: ExchangeUnavailableError, *, now: datetime) -> None:
    """Queue a running job again for when the exchange may be back, without counting the attempt.

    It waits for as long as the exchange has been away already, so ever longer, from ``FIRST_DELAY`` to
    ``LONGEST_DELAY``, and no less than the exchange asked for. After ``DELAYED_AT_MOST`` it fails; a wait that the
    exchange asked for is no part of that.
    """
    since = job.delayed_since or now
    if isinstance(error, RateLimitedError):
        since = max(since, now + timedelta(seconds=error.retry_after_seconds))
    elif now - since >= DELAYED_AT_MOST:
        fail(job, f"given up after {DELAYED_AT_MOST.days} day without the exchange: {error}")
        return
    again = max(since, now + min(max(now - since, FIRST_DELAY), LONGEST_DELAY))
    stage = f"delayed until {iso(milliseconds(again.replace(microsecond=0)))}: {error}"
    may_wait = ours(job).filter(is_cancel_requested=False)
    if not _requeue(may_wait, stage, eta_seconds=None, not_before=again, delayed_since=since):
        cancelled(job)


def _requeue(rows: QuerySet[Job], stage: str, **changes: Any) -> bool:
    """Queue a running job again as if it had not been taken."""
    changes |= {"state": JobState.QUEUED, "attempts": F("attempts") - 1, "dispatched_at": None, "worker": ""}
    return bool(rows.update(stage=stage[:120], **changes))


def request_cancel(job_id: int) -> Job:
    """Ask a job to end. A queued one ends at once, a running one within seconds.

    Raises ``NotFoundError``, and ``ConflictError`` when it has ended already.
    """
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise NotFoundError(f"there is no job {job_id}")
    ended = Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(
        state=JobState.CANCELLED, is_cancel_requested=True, finished_at=timezone.now()
    )
    asked = Job.objects.filter(pk=job_id, state=JobState.RUNNING).update(is_cancel_requested=True, stage="cancelling")
    job.refresh_from_db()
    if not ended and not asked:
        raise ConflictError(f"job {job_id} has ended: {job.state}")
    return job


def requeue_lost(model: type[Job], *, now: datetime) -> list[int]:
    """Queue the jobs again whose worker fell silent; fail those that lost their last attempt.

    Returns the ids that are queued again.
    """
    running = model._default_manager.filter(state=JobState.RUNNING, heartbeat_at__lt=now - LOST_AFTER)
    again = []
    for job in running:
        unchanged = Job.objects.filter(pk=job.pk, state=JobState.RUNNING, heartbeat_at=job.heartbeat_at)
        if job.is_cancel_requested:
            unchanged.update(state=JobState.CANCELLED, finished_at=now)
        elif job.attempts >= MAX_ATTEMPTS:
            unchanged.update(
                state=JobState.FAILED, finished_at=now, error=f"failed after {job.attempts} attempts: worker lost"
            )
        elif unchanged.update(
            state=JobState.QUEUED,
            worker="",
            dispatched_at=None,
            stage=f"interrupted, retry {job.attempts}/{MAX_ATTEMPTS}",
        ):
            again.append(job.pk)
    return again


def due(model: type[Job], *, now: datetime) -> Sequence[int]:
    """Return the queued jobs that are to be put on the queue, now or again, and note that they were.

    The queue may lose a message or deliver it twice; ``take`` lets only one worker have the job.
    """
    waiting = Q(dispatched_at__isnull=True) | Q(dispatched_at__lt=now - REDISPATCH_AFTER)
    queued = model._default_manager.filter(waiting, _is_time(now), state=JobState.QUEUED).order_by("id")
    ids = list(queued.values_list("pk", flat=True)[:500])
    Job.objects.filter(pk__in=ids, state=JobState.QUEUED).update(dispatched_at=now)
    return ids
