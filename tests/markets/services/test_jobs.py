"""The life of a job's row: who may run it, how it ends, what happens when a worker falls silent."""

from datetime import timedelta

import pytest
from django.utils import timezone

from markets.errors import ConflictError, ExchangeUnavailableError, NotFoundError, RateLimitedError
from markets.models import Backfill, JobState
from markets.services import jobs
from markets.services.performing import Progress
from tests.markets.services.backfill_jobs import fresh, queued, taken

pytestmark = pytest.mark.django_db


def test_only_one_worker_gets_a_job() -> None:
    job = queued()
    assert jobs.take(Backfill, job.pk, worker="one") is not None
    assert jobs.take(Backfill, job.pk, worker="two") is None
    assert fresh(job).attempts == 1


def test_the_same_key_and_request_give_the_same_job() -> None:
    def ask(spec: dict[str, str]) -> Backfill:
        return jobs.submit(Backfill(symbol="BTCUSDT", timeframe="1m", spec=spec), key="a-key")

    first = ask({"symbol": "BTCUSDT"})
    assert ask({"symbol": "BTCUSDT"}).pk == first.pk
    with pytest.raises(ConflictError, match="a-key"):
        ask({"symbol": "ETHUSDT"})
    assert Backfill.objects.count() == 1


def test_a_waiting_job_is_cancelled_at_once() -> None:
    job = queued()
    assert jobs.request_cancel(job.pk).state == JobState.CANCELLED
    assert jobs.take(Backfill, job.pk, worker="one") is None


def test_cancelling_what_has_ended_is_a_conflict_and_what_is_not_there_is_not_found() -> None:
    job = queued()
    jobs.request_cancel(job.pk)
    with pytest.raises(ConflictError, match="cancelled"):
        jobs.request_cancel(job.pk)
    with pytest.raises(NotFoundError):
        jobs.request_cancel(10**9)


def test_a_job_whose_worker_fell_silent_is_queued_again_and_given_up_after_three_attempts() -> None:
    job = queued()
    for attempt in (1, 2, 3):
        assert jobs.take(Backfill, job.pk, worker=f"w{attempt}") is not None
        later = timezone.now() + timedelta(seconds=21)
        again = jobs.requeue_lost(Backfill, now=later)
        assert again == ([job.pk] if attempt < 3 else [])
    assert fresh(job).state == JobState.FAILED
    assert fresh(job).error == "failed after 3 attempts: worker lost"


def test_a_living_worker_keeps_its_job() -> None:
    job = taken()
    heard = fresh(job).heartbeat_at
    assert heard is not None
    assert jobs.requeue_lost(Backfill, now=heard + timedelta(seconds=19)) == []
    assert fresh(job).state == JobState.RUNNING


def test_a_waiting_job_is_handed_over_once_and_again_only_after_a_while() -> None:
    job, now = queued(), timezone.now()
    assert list(jobs.due(Backfill, now=now)) == [job.pk]
    assert list(jobs.due(Backfill, now=now + timedelta(seconds=5))) == []
    assert list(jobs.due(Backfill, now=now + timedelta(seconds=31))) == [job.pk]


def test_a_job_put_back_for_a_deployment_does_not_count_the_attempt() -> None:
    job = taken()
    jobs.put_back(job, "paused for deploy")
    assert (fresh(job).state, fresh(job).attempts, fresh(job).stage) == (JobState.QUEUED, 0, "paused for deploy")


def taken_when_due(job: Backfill) -> Backfill:
    """Take a job whose delay is over."""
    Backfill.objects.filter(pk=job.pk, not_before__isnull=False).update(not_before=timezone.now())
    running = jobs.take(Backfill, job.pk, worker="one")
    assert running is not None
    return running


def test_a_delayed_job_waits_ever_longer_while_the_exchange_is_away_and_is_given_up_after_a_day() -> None:
    """F29: half a minute first, then as long as it has waited already, a quarter of an hour at most."""
    job, began = queued(), timezone.now().replace(microsecond=0)
    now, waits = began, []
    while now - began < jobs.DELAYED_AT_MOST:
        assert list(jobs.due(Backfill, now=now)) == [job.pk]
        running = taken_when_due(job)
        jobs.delay(running, ExchangeUnavailableError("nobody answers"), now=now)
        row = fresh(job)
        assert (row.state, row.attempts, row.delayed_since) == (JobState.QUEUED, 0, began)
        again = row.not_before or now
        assert row.stage == f"delayed until {again:%Y-%m-%dT%H:%M:%SZ}: nobody answers"
        assert list(jobs.due(Backfill, now=again - timedelta(seconds=1))) == []
        waits.append((again - now).total_seconds())
        now = again
    assert waits[:7] == [30, 30, 60, 120, 240, 480, 900]
    assert set(waits[6:]) == {900}
    jobs.delay(taken_when_due(job), ExchangeUnavailableError("nobody answers"), now=now)
    assert fresh(job).error == "given up after 1 day without the exchange: nobody answers"


def test_a_job_is_delayed_for_as_long_as_the_exchange_asked() -> None:
    job, now = taken(), timezone.now().replace(microsecond=900_000)
    jobs.delay(job, RateLimitedError("banned", retry_after_seconds=7_200.05), now=now)
    assert fresh(job).not_before == now + timedelta(hours=2, seconds=0.05)


def test_a_message_that_waited_on_the_queue_does_not_end_a_delay() -> None:
    job = taken()
    jobs.delay(job, ExchangeUnavailableError("nobody answers"), now=timezone.now())
    assert jobs.take(Backfill, job.pk, worker="two") is None
    assert taken_when_due(job).worker == "one"


@pytest.mark.parametrize("ended_by", ["a wait that was asked for", "work that went on"])
def test_an_outage_that_is_over_does_not_count_in_the_next_one(ended_by: str) -> None:
    job, now = taken(), timezone.now().replace(microsecond=0)
    if ended_by == "work that went on":
        jobs.delay(job, ExchangeUnavailableError("nobody answers"), now=now)
        job = taken_when_due(job)
        Progress(job).report(0.6)
    else:
        jobs.delay(job, RateLimitedError("banned", retry_after_seconds=26 * 3_600), now=now)
        job = taken_when_due(job)
    now += timedelta(hours=26)
    jobs.delay(job, ExchangeUnavailableError("one 503"), now=now)
    row = fresh(job)
    assert (row.state, row.not_before) == (JobState.QUEUED, now + jobs.FIRST_DELAY)
