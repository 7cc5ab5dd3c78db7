"""Runs: from a specification to a published report, as a job or while someone waits."""

import os
import socket
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from backtests.engine.run import Report, Result, run_markets
from backtests.engine.spec import BacktestSpec
from backtests.models import Backtest
from backtests.reports import report_files
from backtests.selectors import MAX_CANDLES, MAX_CANDLES_NOW, Inputs, read_inputs, report_shelf, settle
from backtests.services.origin import code_commit
from markets.errors import ConflictError
from markets.models import JobState
from markets.moments import iso
from markets.services import jobs
from markets.services.performing import Progress

_SHOWN_SYMBOLS = 3
# A run that a request waited for may be looked at for a while.
_FRESH = timedelta(hours=1)


def new_backtest(spec: BacktestSpec, *, cap: int = MAX_CANDLES, **more: Any) -> Backtest:
    """Return the unsaved row of a run of ``spec``, its range settled: what is stored later plays no part.

    ``more`` are fields of the row, such as ``owner`` and ``note``.
    """
    settled = settle(spec, cap=cap)
    return Backtest(
        symbol=",".join(spec.symbols),
        timeframe=spec.timeframe.value,
        strategy=spec.strategy.name,
        start=settled.start or 0,
        end=settled.end or 0,
        # As asked: the range that is stored may have grown when the same request comes again.
        spec=spec_json(spec),
        **more,
    )


def spec_json(spec: BacktestSpec) -> dict[str, Any]:
    """Return a specification as rows and the API tell it: ``as_dict`` with times in ISO 8601."""
    return {**spec.as_dict(), "from": iso(spec.start), "to": iso(spec.end)}


def spec_of(job: Backtest) -> BacktestSpec:
    """Return the specification that a row was made of."""
    return BacktestSpec.of({**job.spec, "from": job.start, "to": job.end})


def execute(job: Backtest, progress: Progress) -> dict[str, Any]:
    """Run a job that was taken, publish its report, and return its metrics.

    Safe to repeat: the same candles give the same report, and it replaces a former one whole.
    """
    progress.report(0.0, "reading candles")
    inputs = read_inputs(spec_of(job))
    progress.report(0.1, "finding signals")
    return _run(job, inputs, progress)


def run_now(spec: BacktestSpec, **more: Any) -> Backtest:
    """Run while someone waits; the same question about the same candles is answered by the run there is.

    Raises ``TooLargeError``, which names the cap, when the range is for a job.
    """
    job = new_backtest(spec, cap=MAX_CANDLES_NOW, is_quick=True, **more)
    inputs = read_inputs(spec_of(job))
    former = Backtest.objects.filter(result_key=inputs.key, state=JobState.DONE, owner=job.owner).first()
    if former is not None and report_shelf().has(former.pk):
        return former
    job = jobs.submit(job)
    # This process does it, and should it die a worker will: the row looks like any running job.
    taken = jobs.take(Backtest, job.pk, worker=f"{socket.gethostname()}:{os.getpid()}:request")
    if taken is None:
        raise ConflictError(f"run {job.pk} was cancelled")
    try:
        jobs.finish(taken, _run(taken, inputs, Progress(taken)))
    except Exception as error:
        jobs.fail(taken, str(error))
        raise
    taken.refresh_from_db()
    return taken


def _run(job: Backtest, inputs: Inputs, progress: Progress) -> dict[str, Any]:
    result = run_inputs(inputs, progress.report)
    progress.report(0.8, "writing the report")
    files = report_files(result)
    folder = report_shelf().publish(
        job.pk,
        files,
        symbol=folder_name(inputs.spec),
        timeframe=job.timeframe,
        # Asks once more whether the job is still ours; a cancelled run leaves no report.
        confirm=lambda: progress.report(1.0, "publishing"),
    )
    Backtest.objects.filter(pk=job.pk).update(
        data_digest=inputs.digest, result_key=inputs.key, folder=str(folder.relative_to(settings.DATA_ROOT))
    )
    return result.metrics


def run_inputs(inputs: Inputs, report: Report = lambda fraction, stage: None) -> Result:
    """Run what was read, with the origin of the candles in the provenance; ``report`` is ``run_markets``'."""
    origin = {"data_digest": inputs.digest, "code_commit": code_commit()}
    return run_markets(inputs.markets(), inputs.spec, origin=origin, report=report)


def folder_name(spec: BacktestSpec) -> str:
    """Return the folder of a run's copy for people: its pair, or a few, or how many."""
    symbols = spec.symbols
    return "+".join(symbols) if len(symbols) <= _SHOWN_SYMBOLS else f"{symbols[0]}+{len(symbols) - 1}"


def sweep_quick_runs(*, keep: int = 500) -> int:
    """Remove the oldest runs that were made while a request waited, with their reports; return how many."""
    old = Backtest.objects.filter(is_quick=True, finished_at__lt=timezone.now() - _FRESH).order_by("-pk")[keep:]
    rows = list(old[:200])
    for row in rows:
        report_shelf().remove(row.pk, symbol=folder_name(spec_of(row)), timeframe=row.timeframe)
        row.delete()
    return len(rows)
