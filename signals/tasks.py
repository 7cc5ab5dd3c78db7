"""The signals' doors for Celery, and the one place that puts their work on a queue."""

from typing import Any

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from markets.series import SeriesKey
from markets.services import jobs
from markets.services.performing import Progress, perform
from markets.tasks import JobTask, put_on_queue, within_time_limit
from signals.models import Study
from signals.serializers import EvidenceQuery
from signals.services.evidence import evidence_json, study_series

SOFT_LIMIT, HARD_LIMIT = 3_540, 3_600


def submit_study(job: Study, *, key: str | None = None) -> Study:
    """Save the request for a study and queue it."""
    with transaction.atomic():
        job = jobs.submit(job, key=key)
        transaction.on_commit(lambda: put_on_queue(run_study, job.pk))
    return job


@shared_task(base=JobTask, time_limit=HARD_LIMIT, soft_time_limit=SOFT_LIMIT)
def run_study(job_id: int) -> None:
    """Do a study. Safe to repeat: it reads candles and writes its own row."""
    perform(Study, job_id, _study)


def _study(job: Study, progress: Progress) -> dict[str, Any]:
    query = EvidenceQuery(data=job.spec)
    query.is_valid(raise_exception=True)
    series = SeriesKey.of(job.symbol, job.timeframe)
    with within_time_limit(SOFT_LIMIT, "nothing of it is kept: ask for fewer candles or draws"):
        return evidence_json(series, study_series(series, query.to_spec(), report=progress.report))


@shared_task(time_limit=60)
def dispatch_studies() -> None:
    """Take up the studies whose worker was lost, and hand over those that wait."""
    now = timezone.now()
    jobs.requeue_lost(Study, now=now)
    for job_id in jobs.due(Study, now=now):
        put_on_queue(run_study, job_id)
