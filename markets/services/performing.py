"""Doing the work of a job: taken, told of while it goes on, and written down however it ended."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

from django.db import DatabaseError, connection
from django.utils import timezone

from markets.errors import ExchangeUnavailableError, JobCancelledError, SmcError
from markets.models import Job
from markets.services import jobs

logger = logging.getLogger(__name__)

J = TypeVar("J", bound=Job)

HEARTBEAT_SECONDS = 5.0
_REPORT_SECONDS = 0.25


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
        if fraction > 0.0:
            # What was done needed the exchange, so it is back.
            self._job.delayed_since = None
        is_ours = jobs.ours(self._job).update(
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
        jobs.ours(self._job).update(result={"notes": list(notes)})


def perform(model: type[J], job_id: int, work: Callable[[J, Progress], dict[str, Any]]) -> J | None:
    """Take a job, do its work, and write down how it ended; None when it was not there to be taken.

    An exchange that is away delays the job; another error of ours fails it with its message; any other error fails it
    and is raised for the log. When the worker is to end (SIGUSR2 of ``smcsite.celery``), the job goes back on the queue
    and costs no attempt.
    """
    job = jobs.take(model, job_id, worker=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}")
    if job is None:
        return None
    try:
        with _heartbeat(job), _pausable():
            jobs.finish(job, work(job, Progress(job)))
    except _PausedError:
        # It may have come amid a query, which leaves PostgreSQL's connection of no use.
        connection.errors_occurred = True
        connection.close_if_unusable_or_obsolete()
        jobs.put_back(job, "paused for deploy")
    except JobCancelledError:
        jobs.cancelled(job)
    except ExchangeUnavailableError as error:
        jobs.delay(job, error, now=timezone.now())
    except SmcError as error:
        jobs.fail(job, str(error))
    except Exception as error:
        jobs.fail(job, f"internal error: {type(error).__name__}")
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
                jobs.ours(job).update(heartbeat_at=timezone.now())
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
