"""The list of runs, the form for a new one, and a run's life as a job."""

from typing import Any

from django.db.models import QuerySet
from django.db.models.fields.json import KT
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from backtests.engine.methods import METHODS
from backtests.engine.methods.sweep import Sweep
from backtests.engine.spec import BacktestSpec
from backtests.forms import BacktestForm
from backtests.models import Backtest
from backtests.selectors import MAX_CANDLES, all_backtests, analyses, backtests, cost_of, cost_of_runs, settle
from backtests.services.analysing import new_analysis
from backtests.services.running import new_backtest
from backtests.tasks import submit_analysis, submit_backtest
from backtests.views.prefill import from_address
from markets.errors import InvalidInputError, SmcError
from markets.selectors import SeriesCoverage, candle_store, find_job, owner_of, visible_jobs
from markets.serializers import row_number
from markets.series import SeriesKey
from markets.views import ask_to_cancel, page, redirect

_RUNS_SHOWN, _ANALYSES_SHOWN = 25, 10


@require_http_methods(["GET", "POST"])
def backtest_list(request: HttpRequest) -> HttpResponse:
    """Runs, and the form for a new one. POST queues it."""
    if request.method == "POST":
        return _start(request)
    form = BacktestForm(strategy=request.GET.get("strategy", ""), initial=_initial(request))
    parts = {"strategy-fields": "backtests/_strategy_fields.html", "runs": "backtests/_runs.html"}
    return page(request, "backtests/backtests.html", _list_context(request, form), parts=parts)


def _initial(request: HttpRequest) -> dict[str, Any]:
    """Return what the form begins with: a former run's specification, or what the URL names."""
    again = row_number(request.GET.get("again", ""))
    if again is not None:
        former = find_job(request.user, all_backtests(), again)
        return {**former.spec, "symbol": former.symbol.split(",")}
    return from_address(request.GET)


def _list_context(request: HttpRequest, form: BacktestForm) -> dict[str, Any]:
    runs, next_before = _rows(request, summaries(backtests()), "before", count=_RUNS_SHOWN)
    analysed, analyses_before = _rows(request, analyses().defer("result"), "analyses_before", count=_ANALYSES_SHOWN)
    return {
        "form": form,
        "runs": runs,
        "next_before": next_before,
        "analyses": analysed,
        "next_analyses_before": analyses_before,
    }


def _rows(request: HttpRequest, jobs: Any, name: str, *, count: int) -> tuple[list[Any], int | None]:
    """Return the newest jobs before the one that ``name`` in the address tells, and what tells the next older ones."""
    before = row_number(request.GET.get(name, ""))
    rows = visible_jobs(request.user, jobs)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows[: count + 1])
    return found[:count], found[count - 1].pk if len(found) > count else None


def summaries(runs: QuerySet[Backtest]) -> QuerySet[Backtest]:
    """Return runs with the figures of their summary, and without the whole of their metrics."""
    return with_figures(runs).defer("result")


def with_figures(runs: QuerySet[Backtest]) -> QuerySet[Backtest]:
    figures = ("trades", "return_pct", "profit_factor", "max_drawdown_pct")
    return runs.annotate(**{f"m_{name}": KT(f"result__{name}") for name in figures})


def _start(request: HttpRequest) -> HttpResponse:
    form = BacktestForm(request.POST)
    if form.is_valid() and form.spec is not None:
        more = {
            "owner": owner_of(request.user),
            "note": form.cleaned_data["note"],
        }
        try:
            if form.axes:
                sweep = submit_analysis(new_analysis(Sweep.name, form.spec, form.sweep_options, **more))
                return redirect(request, reverse("sweep", args=[sweep.pk]))
            return _started(request, submit_backtest(new_backtest(form.spec, **more)))
        except InvalidInputError as error:
            form.refuse(error)
    parts = {"backtest-form": "backtests/_form.html"}
    return page(request, "backtests/backtests.html", _list_context(request, form), parts=parts, status=422)


def _started(request: HttpRequest, job: Backtest) -> HttpResponse:
    if "HX-Request" not in request.headers:
        return redirect(request, reverse("backtest", args=[job.pk]))
    run = summaries(backtests()).get(pk=job.pk)
    answer = page(request, "backtests/_run.html", {"run": run})
    # The form stays as it is: one change more and the next run starts.
    answer["HX-Retarget"], answer["HX-Reswap"] = "#runs", "afterbegin"
    return answer


@require_GET
def estimate(request: HttpRequest) -> HttpResponse:
    """What a run would read, and about how long it would take."""
    form = BacktestForm(request.GET)
    context: dict[str, Any] = {"problem": "", "coverages": []}
    if form.is_valid() and form.spec is not None:
        try:
            context |= _cost(form, form.spec)
        except SmcError as error:
            context["problem"] = str(error)
    else:
        told = [text for errors in form.errors.values() for text in errors]
        context["problem"] = str(told[0]) if told else ""
    return page(request, "backtests/estimate.html", context, parts={"estimate": "backtests/_estimate.html"})


def _cost(form: BacktestForm, spec: BacktestSpec) -> dict[str, Any]:
    """Return what the form's run or sweep costs, as a dry run of the API tells it, and of which candles it is."""
    settled = settle(spec, cap=MAX_CANDLES)
    keys = [SeriesKey(symbol, spec.timeframe) for symbol in spec.symbols]
    if form.axes:
        sweep = METHODS[Sweep.name]
        cost = cost_of_runs(sweep, settled, sweep.read(settled, form.sweep_options))
    else:
        cost = cost_of(settled)
    return {
        **cost,
        "is_sweep": bool(form.axes),
        "start": settled.start,
        "end": settled.end,
        "coverages": [SeriesCoverage(key, candle_store().coverage(key)) for key in keys],
    }


@require_GET
def backtest_job(request: HttpRequest, job_id: int) -> HttpResponse:
    """One run's row, as it stands."""
    find_job(request.user, backtests(), job_id)
    run = summaries(backtests()).get(pk=job_id)
    return page(request, "backtests/job.html", {"run": run}, parts={f"job-{run.pk}": "backtests/_run.html"})


@require_POST
def cancel_backtest(request: HttpRequest, job_id: int) -> HttpResponse:
    job = find_job(request.user, backtests(), job_id)
    ask_to_cancel(request, job)
    if "HX-Request" not in request.headers:
        return redirect(request, reverse("backtest", args=[job.pk]))
    run = summaries(backtests()).get(pk=job_id)
    return page(request, "backtests/_run.html", {"run": run})
