"""Analyses: planned as rows, done part by part by whichever workers are free, put together by the one that leads.

The worker that has the job goes through the parts from the end; the parts are also on the queue, one message each,
so that other workers take them from the front. A part that was lost with its worker is simply still unfinished.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from backtests.engine.bench import Bench
from backtests.engine.methods import METHODS
from backtests.engine.spec import BacktestSpec
from backtests.models import Analysis, AnalysisPart
from backtests.selectors import MAX_CANDLES, cost_of_runs, read_inputs, settle
from backtests.services.running import spec_json
from markets.errors import ConflictError, JobCancelledError, TooLargeError
from markets.models import JobState
from markets.services import jobs
from markets.services.performing import Progress

# What one analysis may take: runs, and candles of all of them.
MAX_RUNS = 20_000
MAX_CANDLES_OF_RUNS = 2_000_000_000
_WATCH_SECONDS = 0.5


def new_analysis(method: str, spec: BacktestSpec, options: Mapping[str, Any], **more: Any) -> Analysis:
    """Return the unsaved row of an analysis.

    Raises ``TooLargeError``, which names the cap and how long it would take, for one that is too much.
    """
    settled = settle(spec, cap=MAX_CANDLES)
    ours = METHODS[method]
    read = ours.read(settled, options)
    ours.plan(settled, read)
    cost = cost_of_runs(ours, settled, read)
    if cost["runs"] > MAX_RUNS or cost["runs"] * cost["candles"] > MAX_CANDLES_OF_RUNS:
        raise TooLargeError(
            f"{cost['runs']:,} runs over {cost['candles']:,} candles are too many: at most {MAX_RUNS:,} runs, and "
            f"{MAX_CANDLES_OF_RUNS:,} candles in all; they would take about {cost['seconds']:,} s",
            field="axes",
        )
    return Analysis(
        method=method,
        symbol=",".join(spec.symbols),
        timeframe=spec.timeframe.value,
        strategy=spec.strategy.name,
        start=settled.start or 0,
        end=settled.end or 0,
        data_digest=read_inputs(settled).key,
        spec={**spec_json(spec), **read},
        **more,
    )


def save_analysis(job: Analysis, *, key: str | None = None) -> Analysis:
    """Save an analysis with its parts; a former one under the same ``key`` is returned as it is."""
    with transaction.atomic():
        saved = jobs.submit(job, key=key)
        if saved is job:
            pieces = METHODS[job.method].plan(spec_of(job), options_of(job))
            AnalysisPart.objects.bulk_create(
                AnalysisPart(analysis=job, number=number, spec=piece) for number, piece in enumerate(pieces)
            )
    return saved


def spec_of(job: Analysis) -> BacktestSpec:
    """Return the specification that all parts vary, over the range that was stored when it was asked for."""
    options = METHODS[job.method].option_names
    values = {name: value for name, value in job.spec.items() if name not in options}
    return BacktestSpec.of({**values, "from": job.start, "to": job.end})


def options_of(job: Analysis) -> dict[str, Any]:
    return {name: job.spec[name] for name in METHODS[job.method].option_names}


@lru_cache(maxsize=1)
def _bench(analysis_id: int, digest: str) -> Bench:
    """Return what the runs of an analysis read, kept while this process works on it; it must be as at its start."""
    inputs = read_inputs(spec_of(Analysis.objects.get(pk=analysis_id)))
    if inputs.key != digest:
        raise ConflictError(
            "the stored candles changed, or the pairs' order sizes or this version, during the analysis; start it again"
        )
    return Bench(inputs.candles, inputs.detail, inputs.filters)


def do_part(part: AnalysisPart, check: Callable[[], None]) -> None:
    """Do one part. Safe to repeat, and at once in two places: both write the same.

    ``check`` is called before each of its runs, and may raise to stop it.
    """
    job = part.analysis
    bench = replace(_bench(job.pk, job.data_digest), check=check)
    result = METHODS[job.method].work(bench, spec_of(job), part.spec)
    AnalysisPart.objects.filter(pk=part.pk, finished_at=None).update(result=result, finished_at=timezone.now())


def help_with(part_id: int) -> bool:
    """Do a part for the worker that leads, unless it is done or nobody leads any more; say whether it was done here."""
    part = AnalysisPart.objects.select_related("analysis").filter(pk=part_id, finished_at=None).first()
    if part is None or part.analysis.state != JobState.RUNNING or part.analysis.is_cancel_requested:
        return False
    try:
        do_part(part, _Watch(part.analysis))
    except JobCancelledError:
        return False
    return True


class _Watch:
    """Raises once nobody leads an analysis any more, or it was cancelled; asks the database now and then."""

    def __init__(self, job: Analysis) -> None:
        self._running = Analysis.objects.filter(pk=job.pk, state=JobState.RUNNING, is_cancel_requested=False)
        self._asked_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._asked_at < _WATCH_SECONDS:
            return
        self._asked_at = time.monotonic()
        if not self._running.exists():
            raise JobCancelledError("nobody leads the analysis any more")


def unfinished(job: Analysis) -> list[int]:
    return list(job.parts.filter(finished_at=None).order_by("number").values_list("pk", flat=True))


def execute(job: Analysis, progress: Progress) -> dict[str, Any]:
    """Do all parts that nobody else does, from the last on, and put them together."""
    total = job.parts.count()
    while True:
        left = unfinished(job)
        report = partial(
            progress.report, (total - len(left)) / max(1, total) * 0.99, f"{total - len(left)} of {total} parts"
        )
        report()
        if not left:
            break
        do_part(job.parts.select_related("analysis").get(pk=left[-1]), report)
    progress.report(1.0, "putting together")
    return result_of(job)


def result_of(job: Analysis) -> dict[str, Any]:
    """Return what the finished parts make together; of an analysis that runs, what is there so far."""
    parts = list(job.parts.order_by("number"))
    found = METHODS[job.method].combine(
        spec_of(job), options_of(job), [part.spec for part in parts], [part.result for part in parts]
    )
    return {**found, "parts_done": sum(part.finished_at is not None for part in parts), "parts": len(parts)}
