"""The backtests' doors for Celery, and the one place that puts their work on a queue."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task, shared_task
from celery.worker.request import Request
from django.db import transaction
from django.utils import timezone

from backtests.models import Backtest
from backtests.selectors import report_shelf
from backtests.services import running
from markets.errors import ServiceUnavailableError
from markets.models import Job
from markets.services import jobs
from markets.tasks import put_on_queue

SOFT_LIMIT, HARD_LIMIT = 840, 900


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
def within_time_limit() -> Iterator[None]:
    """Turn Celery's warning before the hard limit into an end with a reason."""
    try:
        yield
    except SoftTimeLimitExceeded:
        raise ServiceUnavailableError(f"time limit {SOFT_LIMIT // 60} min, partial metrics not saved") from None


@shared_task(base=JobTask, time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def run_backtest(job_id: int) -> None:
    """Do a run. Safe to repeat: the row lets one worker have it, and a report is replaced whole."""
    jobs.perform(Backtest, job_id, _run)


def _run(job: Backtest, progress: jobs.Progress) -> dict[str, Any]:
    with within_time_limit():
        return running.execute(job, progress)


@shared_task(time_limit=60)
def dispatch_backtests() -> None:
    """Take up the runs whose worker was lost, hand over those that wait, and tidy up."""
    now = timezone.now()
    jobs.requeue_lost(Backtest, now=now)
    for job_id in jobs.due(Backtest, now=now):
        put_on_queue(run_backtest, job_id)
    report_shelf().sweep()
    running.sweep_quick_runs()
