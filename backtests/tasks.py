"""The backtests' doors for Celery, and the one place that puts their work on a queue."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task, group, shared_task
from celery.worker.request import Request
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from backtests.models import Analysis, Backtest
from backtests.selectors import report_shelf
from backtests.services import analysing, running
from markets.errors import ServiceUnavailableError
from markets.models import Job
from markets.services import jobs
from markets.tasks import put_on_queue

logger = logging.getLogger(__name__)

SOFT_LIMIT, HARD_LIMIT = 840, 900
SOFT_ANALYSIS_LIMIT, HARD_ANALYSIS_LIMIT = 7_080, 7_200


def submit_backtest(job: Backtest, *, key: str | None = None) -> Backtest:
    """Save the request for a run and queue it; pages, API and admin all come through here."""
    with transaction.atomic():
        job = jobs.submit(job, key=key)
        transaction.on_commit(lambda: put_on_queue(run_backtest, job.pk))
    return job


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
def within_time_limit(seconds: int) -> Iterator[None]:
    """Turn Celery's warning before the hard limit into an end with a reason."""
    try:
        yield
    except SoftTimeLimitExceeded:
        raise ServiceUnavailableError(f"time limit {seconds // 60} min, partial metrics not saved") from None


@shared_task(base=JobTask, time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def run_backtest(job_id: int) -> None:
    """Do a run. Safe to repeat: the row lets one worker have it, and a report is replaced whole."""
    jobs.perform(Backtest, job_id, _run)


def _run(job: Backtest, progress: jobs.Progress) -> dict[str, Any]:
    with within_time_limit(SOFT_LIMIT):
        return running.execute(job, progress)


def submit_analysis(job: Analysis, *, key: str | None = None) -> Analysis:
    """Save the request for an analysis with its parts, and queue it."""
    with transaction.atomic():
        job = analysing.save_analysis(job, key=key)
        transaction.on_commit(lambda: put_on_queue(run_analysis, job.pk))
    return job


@shared_task(base=JobTask, time_limit=HARD_ANALYSIS_LIMIT, soft_time_limit=SOFT_ANALYSIS_LIMIT)
def run_analysis(job_id: int) -> None:
    """Lead an analysis. Safe to repeat: parts that are done stay done, so a second attempt goes on from there."""
    jobs.perform(Analysis, job_id, _analyse)


def _analyse(job: Analysis, progress: jobs.Progress) -> dict[str, Any]:
    _call_for_help(job)
    with within_time_limit(SOFT_ANALYSIS_LIMIT):
        return analysing.execute(job, progress)


def _call_for_help(job: Analysis) -> None:
    """Put all parts but the last, which this worker begins with, on the queue."""
    parts = analysing.unfinished(job)[:-1]
    try:
        group(run_part.s(part) for part in parts).apply_async(retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("the broker is away, an analysis goes on alone", extra={"job": job.pk, "error": str(error)})


@shared_task(time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def run_part(part_id: int) -> None:
    """Do a part of an analysis that another worker leads. Safe to repeat, and to lose: the leader does it then."""
    analysing.help_with(part_id)


@shared_task(time_limit=60)
def dispatch_backtests() -> None:
    """Take up the runs and analyses whose worker was lost, hand over those that wait, and tidy up."""
    now = timezone.now()
    for model, task in ((Backtest, run_backtest), (Analysis, run_analysis)):
        jobs.requeue_lost(model, now=now)
        for job_id in jobs.due(model, now=now):
            put_on_queue(task, job_id)
    report_shelf().sweep()
    running.sweep_quick_runs()
