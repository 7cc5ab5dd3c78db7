"""Celery workers as processes of their own, on a data folder and a database that the test shares with them."""

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from backtests.engine.spec import BacktestSpec
from backtests.models import Analysis, Backtest
from backtests.services.running import new_backtest
from backtests.tasks import run_analysis, run_backtest, submit_backtest
from markets.models import Job, JobState
from markets.services import jobs
from markets.tasks import put_on_queue
from tests import compiling
from tests.databases import migrated
from tests.environment import service_variables
from tests.nursery import Started
from tests.waiting import eventually

_PATIENCE = 60.0


class Workers:
    """The workers on one data folder. ``variables`` are environment variables for all of them."""

    def __init__(self, folder: Path, reports: Path) -> None:
        self.variables = service_variables(
            folder, REPORTS_DIR=str(reports), REDIS_URL=settings.ENV.redis_url, LOG_LEVEL="WARNING"
        )
        self.database = folder / "db.sqlite3"
        self.log = folder / "workers.log"
        self._processes: list[Started] = []
        compiling.await_end()
        folder.mkdir(parents=True, exist_ok=True)
        migrated(self.database, self._migrate)

    def _migrate(self) -> None:
        migrating = Started(
            "manage.py", "migrate", "--verbosity", "0",
            folder=settings.BASE_DIR, variables=self.variables, log=self.log,
        )  # fmt: skip
        assert migrating.wait(300) == 0, self.log.read_text()

    def worker(self) -> Started:
        """Return the worker that runs, started where there is none."""
        alive = [process for process in self._processes if process.poll() is None]
        return alive[0] if alive else self._start(concurrency=2)

    def _start(self, *, concurrency: int) -> Started:
        """Start a worker on the queue ``backtest`` and wait until it has its pool."""
        process = Started(
            "-m", "celery", "-A", "tests.backtests.worker_app", "worker", "--queues", "backtest",
            "--concurrency", str(concurrency), "--hostname", f"w{len(self._processes)}@%h", "--without-gossip",
            "--without-mingle", folder=settings.BASE_DIR, variables=self.variables, log=self.log,
        )  # fmt: skip
        self._processes.append(process)
        eventually(lambda: len(self.children(process)) >= concurrency or process.poll() is not None, seconds=_PATIENCE)
        return process

    @staticmethod
    def children(process: Started) -> list[int]:
        """Return the pool processes of a worker."""
        try:
            text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        except OSError:
            return []
        return [int(each) for each in text.split()]

    def kill_child(self, process: Started, number: int) -> None:
        """Kill a pool process, as the kernel does when memory is short; the worker starts another."""
        os.kill(self.children(process)[number], signal.SIGKILL)

    def kill(self, process: Started) -> None:
        """Kill a worker and its pool at once."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                self.kill(process)


def submit(*, note: str = "", limits: tuple[int, int] | None = None, **values: Any) -> Backtest:
    """Queue a run of the stored series; ``limits`` are other time limits, soft and hard, than the task's own."""
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "15m", **values})
    if limits is None:
        return submit_backtest(new_backtest(spec, note=note))
    job = jobs.submit(new_backtest(spec, note=note))
    run_backtest.apply_async((job.pk,), soft_time_limit=limits[0], time_limit=limits[1])
    return job


def dispatch(*, lost_after: float = 3.0) -> None:
    """Do what the scheduler has done every ten seconds, with less patience for lost workers."""
    now = timezone.now()
    for model, task in ((Backtest, run_backtest), (Analysis, run_analysis)):
        jobs.requeue_lost(model, now=now + jobs.LOST_AFTER - timedelta(seconds=lost_after))
        for job_id in jobs.due(model, now=now):
            put_on_queue(task, job_id)


def await_state(job: Job, *states: JobState, seconds: float = _PATIENCE, dispatching: bool = False) -> None:
    """Wait until a job is in one of ``states``."""

    def there() -> bool:
        if dispatching:
            dispatch()
        job.refresh_from_db()
        return job.state in states

    eventually(there, seconds=seconds, every=0.05)
