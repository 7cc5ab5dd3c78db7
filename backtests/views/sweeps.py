"""An analysis of many runs: the heatmap of a sweep, filling while it runs; the others as figures."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from backtests.engine.bench import better
from backtests.engine.breakdowns import FEW
from backtests.engine.methods.costs import Costs, multiplied
from backtests.models import Analysis
from backtests.selectors import analyses
from backtests.services.analysing import result_of, spec_of
from backtests.views.prefill import to_address
from markets.selectors import find_job
from markets.views import ask_to_cancel, page, redirect

_SHADES = 6


@require_GET
def analysis(request: HttpRequest, job_id: int) -> HttpResponse:
    """One analysis, as far as it is done."""
    job: Analysis = find_job(request.user, analyses(), job_id)
    found = result_of(job)
    context: dict[str, Any] = {"job": job, "found": found}
    if "grid" in found:
        context |= _heatmap(job, found)
    else:
        context["figures"] = [
            (name, value) for name, value in found.items() if isinstance(value, int | float | str) or value is None
        ]
    parts = {f"job-{job.pk}": "backtests/_sweep.html"}
    return page(request, "backtests/sweep.html", context, parts=parts)


@require_POST
def cancel_analysis(request: HttpRequest, job_id: int) -> HttpResponse:
    ask_to_cancel(request, find_job(request.user, analyses(), job_id))
    return redirect(request, reverse("sweep", args=[job_id]))


def _heatmap(job: Analysis, found: dict[str, Any]) -> dict[str, Any]:
    """Return the grid's rows as a table shows them: the head of each, and its cells."""
    metric, axes = found["metric"], list(found["axes"].items())
    first, second = axes[0], axes[1] if len(axes) > 1 else ("", [""])
    values = [cell[metric] for row in found["grid"] for cell in row if cell is not None and cell[metric] is not None]
    judged = [better(metric, value) for value in values]
    low, high = min(judged, default=0.0), max(judged, default=0.0)
    rows = []
    for row, head in enumerate(first[1]):
        cells = []
        for column, other in enumerate(second[1]):
            place, setting = {"row": row, "column": column}, {first[0]: head}
            if second[0]:
                setting[second[0]] = other
            told = _cell(found["grid"][row][column], metric, low=low, high=high)
            # The least costs are always best, so their grid names no best cell.
            bests = {f"is_{name}": _is_at(found.get(name), place) for name in ("best", "robust_best")}
            cells.append({**told, **bests, "href": to_address(job.spec, _parameters(job, setting))})
        rows.append((head, cells))
    return {"rows": rows, "first": first, "second": second, "metric": metric, "few": FEW}


def _parameters(job: Analysis, setting: dict[str, Any]) -> dict[str, Any]:
    """Return what a cell sets as parameters of a run; those of costs are multiples of the run's own."""
    return multiplied(spec_of(job), **setting) if job.method == Costs.name else setting


def _cell(cell: dict[str, Any] | None, metric: str, *, low: float, high: float) -> dict[str, Any]:
    """Return what a cell shows: its figure, how dark it is, and whether its trades are too few to tell."""
    if cell is None:
        return {"is_done": False, "shade": 0}
    value = cell[metric]
    return {
        "is_done": True,
        "value": value,
        "trades": cell["trades"],
        "is_thin": cell["trades"] < FEW,
        "shade": _shade(better(metric, value), low, high) if value is not None else 0,
    }


def _is_at(best: dict[str, Any] | None, place: dict[str, int]) -> bool:
    return best is not None and all(best[name] == value for name, value in place.items())


def _shade(value: float, low: float, high: float) -> int:
    return round(_SHADES * (value - low) / (high - low)) if high > low else 0
