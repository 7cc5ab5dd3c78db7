"""The life of a job. The row is the truth; every change of state is one conditional update.

queued ──take──▶ running ──finish──▶ done
   ▲                │ ├──fail──▶ failed
   ├─requeue_lost───┤ └──cancelled──▶ cancelled
   └─delay──────────┘
"""

import hashlib
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from markets.errors import (
    ConflictError,
    ExchangeUnavailableError,
    JobCancelledError,
    NotFoundError,
    RateLimitedError,
    SmcError,
)
from markets.models import Job, JobState
from markets.moments import iso, milliseconds

logger = logging.getLogger(__name__)

J = TypeVar("J", bound=Job)

MAX_ATTEMPTS = 3
HEARTBEAT_SECONDS = 5.0
LOST_AFTER = timedelta(seconds=20)
REDISPATCH_AFTER = timedelta(seconds=30)
FIRST_DELAY = timedelta(seconds=30)
LONGEST_DELAY = timedelta(minutes=15)
DELAYED_AT_MOST = timedelta(days=1)
_REPORT_SECONDS = 0.25


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


class Progress:
    """Tells the row how far its work is. ``report`` is cheap: it writes at most four times a second.

    Raises ``JobCancelledError`` when someone asked to cancel, or when the job was given to another worker.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._began = time.monotonic()
        self._reported = 0.0

    def report(self, fraction: float, stage: str = "") -> None:
        now = time.monotonic()
        if now - self._reported < _REPORT_SECONDS and fraction < 1.0:
            return
        self._reported = now
        fraction = min(1.0, max(0.0, fraction))
        elapsed = now - self._began
        ours = Job.objects.filter(pk=self._job.pk, state=JobState.RUNNING, worker=self._job.worker)
        if fraction > 0.0:
            # What was done needed the exchange, so it is back.
            self._job.delayed_since = None
        is_ours = ours.update(
            progress=fraction,
            stage=stage[:120],
            eta_seconds=elapsed * (1.0 - fraction) / fraction if fraction > 0.01 else None,
            heartbeat_at=timezone.now(),
            delayed_since=self._job.delayed_since,
        )
        if not is_ours or Job.objects.filter(pk=self._job.pk, is_cancel_requested=True).exists():
            raise JobCancelledError(f"job {self._job.pk} was cancelled or taken over")

    def note(self, notes: Sequence[str]) -> None:
        """Tell at once what whoever watches the job should know of it; what comes out of the job replaces it."""
        ours = Job.objects.filter(pk=self._job.pk, state=JobState.RUNNING, worker=self._job.worker)
        ours.update(result={"notes": list(notes)})


def perform(model: type[J], job_id: int, work: Callable[[J, Progress], dict[str, Any]]) -> J | None:
    """Take a job, do its work, and write down how it ended; None when it was not there to be taken.

    An exchange that is away delays the job; another error of ours fails it with its message; any other error fails it
    and is raised for the log. When the worker is to end (SIGUSR2 of ``smcsite.celery``), the job goes back on the queue
    and costs no attempt.
    """
    job = take(model, job_id, worker=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}")
    if job is None:
        return None
    try:
        with _heartbeat(job), _pausable():
            finish(job, work(job, Progress(job)))
    except _PausedError:
        # It may have come amid a query, which leaves PostgreSQL's connection of no use.
        connection.errors_occurred = True
        connection.close_if_unusable_or_obsolete()
        put_back(job, "paused for deploy")
    except JobCancelledError:
        cancelled(job)
    except ExchangeUnavailableError as error:
        delay(job, error, now=timezone.now())
    except SmcError as error:
        fail(job, str(error))
    except Exception as error:
        fail(job, f"internal error: {type(error).__name__}")
        raise
    job.refresh_from_db()
    return job


class _PausedError(BaseException):
    """The worker is to end. Not an ``Exception``, so that no work takes it for a failure of its own."""


@contextmanager
def _pausable() -> Iterator[None]:
    """Interrupt the block when the worker asks for a pause; only a process's first thread hears signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pause(_number: int, _frame: object) -> None:
        raise _PausedError

    former = signal.signal(signal.SIGUSR2, pause)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR2, former)


@contextmanager
def _heartbeat(job: Job) -> Iterator[None]:
    """Keep the row's heartbeat fresh while its work is in one long step."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                Job.objects.filter(pk=job.pk, worker=job.worker).update(heartbeat_at=timezone.now())
            except DatabaseError as error:
                # A beat may be missed: several have to be before the job counts as lost.
                logger.warning("a heartbeat was missed", extra={"job": job.pk, "error": str(error)})
        connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{job.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def finish(job: Job, result: dict[str, Any]) -> bool:
    """Turn a running job into a done one; False when it is not this worker's any more."""
    return _end(job, JobState.DONE, result=result, progress=1.0, stage="", eta_seconds=0.0, error="")


def fail(job: Job, reason: str) -> bool:
    return _end(job, JobState.FAILED, error=reason, eta_seconds=None)


def cancelled(job: Job) -> bool:
    return _end(job, JobState.CANCELLED, eta_seconds=None)


def _end(job: Job, state: JobState, **changes: Any) -> bool:
    ours = Job.objects.filter(pk=job.pk, state=JobState.RUNNING, worker=job.worker)
    return bool(ours.update(state=state, finished_at=timezone.now(), **changes))


def put_back(job: Job, reason: str) -> bool:
    """Queue a running job again without counting the attempt, as for a deployment."""
    ours = Job.objects.filter(pk=job.pk, state=JobState.RUNNING, worker=job.worker)
    return bool(
        ours.update(
            state=JobState.QUEUED, stage=reason[:120], attempts=F("attempts") - 1, dispatched_at=None, worker=""
        )
    )


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
    again = max(since, now + min(max(now - since, FIRST_DELAY), LONGEST_DELAY)).replace(microsecond=0)
    ours = Job.objects.filter(pk=job.pk, state=JobState.RUNNING, worker=job.worker, is_cancel_requested=False)
    is_delayed = ours.update(
        state=JobState.QUEUED, stage=f"delayed until {iso(milliseconds(again))}: {error}"[:120],
        eta_seconds=None, attempts=F("attempts") - 1, dispatched_at=None, worker="", not_before=again,
        delayed_since=since,
    )  # fmt: skip
    if not is_delayed:
        cancelled(job)


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
