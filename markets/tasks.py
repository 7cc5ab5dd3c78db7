"""The market's doors for Celery, and the one place that puts its work on a queue."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task, shared_task
from celery.worker.request import Request
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from markets.errors import ExchangeUnavailableError, ServiceUnavailableError
from markets.models import Backfill, Job
from markets.selectors import active_series
from markets.series import SeriesKey
from markets.services import jobs, pairs
from markets.services.backfilling import BackfillSource, backfill, plan_backfill
from markets.services.exchange import open_exchange
from markets.services.performing import Progress, perform

logger = logging.getLogger(__name__)

SOFT_LIMIT, HARD_LIMIT = 7_080, 7_200

# Without the site's Celery app a task that is put on the queue here would look for a broker at Celery's own default.
# It is named by the settings, for imports only go down; commands that put nothing on a queue do without Celery.
import_module(settings.QUEUE_APP)


def put_on_queue(task: "Task[..., Any]", job_id: int) -> None:
    """Hand a queued job to the workers.

    When the broker is away the row stays queued, and the ``dispatch_…`` task of its kind hands it over later: nothing
    is lost and nobody waits.
    """
    try:
        task.apply_async((job_id,), retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("the broker is away, the job waits", extra={"job": job_id, "error": str(error)})
        Job.objects.filter(pk=job_id).update(dispatched_at=None, stage="waiting for the broker")
    else:
        Job.objects.filter(pk=job_id, dispatched_at__isnull=True).update(dispatched_at=timezone.now())


class JobRequest(Request):
    """A message whose job is told by the worker's first process when it had to kill the one that did it."""

    def on_timeout(self, soft: bool, timeout: float) -> None:  # Celery's signature
        super().on_timeout(soft, timeout)
        if soft:
            return
        job = Job.objects.filter(pk=self.args[0]).first()
        if job is not None:
            jobs.fail(job, f"killed at hard limit, {timeout:g} s")


class JobTask(Task):  # type: ignore[type-arg]
    """A task whose one argument is a job's id."""

    Request = JobRequest  # type: ignore[assignment]  # celery-types knows only its name as text


@contextmanager
def within_time_limit(seconds: int, kept: str) -> Iterator[None]:
    """Turn Celery's warning before the hard limit into an end with a reason, and what is ``kept`` of the work."""
    try:
        yield
    except SoftTimeLimitExceeded:
        raise ServiceUnavailableError(f"time limit {seconds // 60} min, {kept}") from None


def submit_backfill(job: Backfill, *, key: str | None = None) -> Backfill:
    """Save the request and queue it; pages, API and admin all come through here."""
    with transaction.atomic():
        job = jobs.submit(job, key=key)
        transaction.on_commit(lambda: put_on_queue(run_backfill, job.pk))
    return job


@shared_task(base=JobTask, time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def run_backfill(job_id: int) -> None:
    """Do a backfill job. Safe to repeat: the row lets one worker have it, the store merges by open time."""
    perform(Backfill, job_id, _fill)


def _fill(job: Backfill, progress: Progress) -> dict[str, Any]:
    exchange = open_exchange()
    with within_time_limit(SOFT_LIMIT, "what was fetched is kept: ask again for the rest"):
        plan = plan_backfill(exchange, job.series_key, start=job.start, end=job.end, source=BackfillSource(job.source))
        if plan.notes:
            progress.note(plan.notes)
        filled = backfill(exchange, plan, progress.report)
    return {
        "added": filled.added,
        "revised": filled.revised,
        "gaps": [list(gap) for gap in filled.gaps[:1000]],
        "exchange_gaps": len(filled.exchange_gaps),
        "notes": [*filled.notes, *filled.left_out],
    }


@shared_task(
    time_limit=HARD_LIMIT,
    autoretry_for=(ExchangeUnavailableError,),
    retry_backoff=True,
    max_retries=8,
)
def backfill_series(key: str) -> None:
    """Fetch the candles this series lacks. Safe to repeat: the store merges by open time."""
    exchange = open_exchange()
    plan = plan_backfill(exchange, SeriesKey.parse(key), start=None, end=None, source=BackfillSource.AUTO)
    if plan.missing:
        backfill(exchange, plan)


@shared_task(time_limit=120)
def backfill_all() -> None:
    """Look for gaps in every active series, one task each."""
    for series in active_series():
        backfill_series.delay(str(series))


@shared_task(time_limit=120, autoretry_for=(ExchangeUnavailableError,), max_retries=3)
def refresh_pairs() -> None:
    """Ask the exchange what has become of the pairs we know."""
    pairs.refresh(open_exchange())


@shared_task(time_limit=60)
def dispatch_backfills() -> None:
    """Take up the backfills whose worker was lost, and hand over those that wait."""
    now = timezone.now()
    jobs.requeue_lost(Backfill, now=now)
    for job_id in jobs.due(Backfill, now=now):
        put_on_queue(run_backfill, job_id)
