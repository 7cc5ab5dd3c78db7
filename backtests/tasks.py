"""The backtests' doors for Celery, and the one place that puts their work on a queue."""

import logging
from typing import Any

from celery import group, shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from backtests.models import Analysis, Backtest
from backtests.selectors import report_shelf
from backtests.services import analysing, running
from markets.services import jobs
from markets.services.performing import Progress, perform
from markets.tasks import JobTask, put_on_queue, within_time_limit

logger = logging.getLogger(__name__)

SOFT_LIMIT, HARD_LIMIT = 840, 900
SOFT_ANALYSIS_LIMIT, HARD_ANALYSIS_LIMIT = 7_080, 7_200


def submit_backtest(job: Backtest, *, key: str | None = None) -> Backtest:
    """Save the request for a run and queue it; pages, API and admin all come through here."""
    with transaction.atomic():
        job = jobs.submit(job, key=key)
        transaction.on_commit(lambda: put_on_queue(run_backtest, job.pk))
    return job


@shared_task(base=JobTask, time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def run_backtest(job_id: int) -> None:
    """Do a run. Safe to repeat: the row lets one worker have it, and a report is replaced whole."""
    perform(Backtest, job_id, _run)


def _run(job: Backtest, progress: Progress) -> dict[str, Any]:
    with within_time_limit(SOFT_LIMIT, "partial metrics not saved"):
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
    perform(Analysis, job_id, _analyse)


def _analyse(job: Analysis, progress: Progress) -> dict[str, Any]:
    _call_for_help(job)
    with within_time_limit(SOFT_ANALYSIS_LIMIT, "partial metrics not saved"):
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
