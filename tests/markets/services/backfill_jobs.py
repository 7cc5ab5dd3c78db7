"""Jobs to try the life of a job on."""

from markets.models import Backfill, Job
from markets.services import jobs


def queued(**changes: object) -> Backfill:
    return jobs.submit(Backfill(symbol="BTCUSDT", timeframe="1m", spec={"symbol": "BTCUSDT"}, **changes))


def taken(worker: str = "one") -> Backfill:
    job = jobs.take(Backfill, queued().pk, worker=worker)
    assert job is not None
    return job


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)
