"""The service's Celery app for tests: what a job's note says happens to the process that does it.

A part of an analysis takes long enough for a test to kill whoever does it before all parts are done.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import django
from billiard.exceptions import SoftTimeLimitExceeded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")
django.setup()

from backtests.models import AnalysisPart, Backtest  # noqa: E402  # models need the set-up
from backtests.services import analysing, running  # noqa: E402
from markets.services import performing  # noqa: E402
from smcsite.celery import app  # noqa: E402

__all__ = ["app"]

performing.HEARTBEAT_SECONDS = 0.2
PART_SECONDS = 0.2
_execute = running.execute
_do_part = analysing.do_part


def execute(job: Backtest, progress: performing.Progress) -> dict[str, Any]:
    name, _, seconds = job.note.partition(":")
    match name:
        case "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        case "slow":
            began = time.monotonic()
            while (passed := time.monotonic() - began) < float(seconds):
                progress.report(0.5 * passed / float(seconds), "going slow")
                time.sleep(0.02)
        case "deaf":
            began = time.monotonic()
            while time.monotonic() - began < float(seconds):
                try:
                    time.sleep(0.05)
                except SoftTimeLimitExceeded:
                    continue
    return _execute(job, progress)


def do_part(part: AnalysisPart, check: Callable[[], None]) -> None:
    time.sleep(PART_SECONDS)
    _do_part(part, check)


running.execute = execute
analysing.do_part = do_part
