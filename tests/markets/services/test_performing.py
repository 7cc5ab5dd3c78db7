"""The work of a job: what it leaves when it ends well or badly, and what its row tells meanwhile."""

from datetime import timedelta

import pytest
from django.utils import timezone

from markets.errors import ExchangeUnavailableError, InvalidInputError, JobCancelledError
from markets.models import Backfill, JobState
from markets.services import jobs
from markets.services.performing import Progress, perform
from tests.markets.services.backfill_jobs import fresh, queued, taken

pytestmark = pytest.mark.django_db


def test_work_that_ends_leaves_its_result_and_a_finished_row() -> None:
    job = perform(Backfill, queued().pk, lambda job, progress: {"added": 7})
    assert job is not None
    assert (job.state, job.result, job.progress) == (JobState.DONE, {"added": 7}, 1.0)
    assert job.finished_at is not None


def test_an_error_of_ours_fails_the_job_with_its_message() -> None:
    def work(job: Backfill, progress: Progress) -> dict[str, object]:
        raise InvalidInputError("to must be after from")

    job = perform(Backfill, queued().pk, work)
    assert job is not None
    assert (job.state, job.error) == (JobState.FAILED, "to must be after from")


def test_any_other_error_fails_the_job_without_its_details_and_is_raised() -> None:
    def work(job: Backfill, progress: Progress) -> dict[str, object]:
        raise ZeroDivisionError("a path or a password")

    job = queued()
    with pytest.raises(ZeroDivisionError):
        perform(Backfill, job.pk, work)
    assert (fresh(job).state, fresh(job).error) == (JobState.FAILED, "internal error: ZeroDivisionError")


def test_a_running_job_is_told_at_its_next_report_and_ends_cancelled() -> None:
    def work(job: Backfill, progress: Progress) -> dict[str, object]:
        jobs.request_cancel(job.pk)
        progress.report(1.0)
        raise AssertionError("report must have raised")

    job = perform(Backfill, queued().pk, work)
    assert job is not None
    assert job.state == JobState.CANCELLED


def test_a_worker_that_lost_its_job_can_neither_report_nor_end_it() -> None:
    job = taken("one")
    jobs.requeue_lost(Backfill, now=timezone.now() + timedelta(seconds=21))
    assert jobs.take(Backfill, job.pk, worker="two") is not None
    with pytest.raises(JobCancelledError):
        Progress(job).report(1.0)
    jobs.finish(job, {"added": 1})
    assert fresh(job).state == JobState.RUNNING


def test_a_delayed_job_can_be_cancelled_and_one_that_is_to_end_is_not_delayed() -> None:
    def work(job: Backfill, progress: Progress) -> dict[str, object]:
        if job.note == "to end":
            jobs.request_cancel(job.pk)
        raise ExchangeUnavailableError("nobody answers")

    waiting, ended = queued(), queued(note="to end")
    for job in (waiting, ended):
        perform(Backfill, job.pk, work)
    assert (fresh(waiting).state, fresh(ended).state) == (JobState.QUEUED, JobState.CANCELLED)
    assert jobs.request_cancel(waiting.pk).state == JobState.CANCELLED


def test_progress_tells_how_long_it_will_take() -> None:
    job = taken()
    progress = Progress(job)
    progress.report(1.0, "almost")
    assert (fresh(job).progress, fresh(job).stage) == (1.0, "almost")
    assert fresh(job).eta_seconds == 0.0


def test_what_a_job_notes_is_told_while_it_runs() -> None:
    job = taken()
    Progress(job).note(["data starts at 2017-08-17"])
    assert fresh(job).result == {"notes": ["data starts at 2017-08-17"]}
    jobs.finish(job, {"added": 3})
    assert fresh(job).result == {"added": 3}
    Progress(job).note(["too late"])
    assert fresh(job).result == {"added": 3}
