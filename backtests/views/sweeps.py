"""An analysis of many runs: the heatmap of a sweep, filling while it runs; the others as figures."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from backtests.engine.bench import better
from backtests.models import Analysis
from backtests.selectors import analyses
from backtests.services.analysing import result_of
from markets.views import ask_to_cancel, find_job, page, redirect

_SHADES = 6


@require_GET
def analysis(request: HttpRequest, job_id: int) -> HttpResponse:
    """One analysis, as far as it is done."""
    job: Analysis = find_job(request, analyses(), job_id)
    found = result_of(job)
    context: dict[str, Any] = {"job": job, "found": found}
    if "grid" in found:
        context |= _heatmap(found)
    else:
        context["figures"] = [
            (name, value) for name, value in found.items() if isinstance(value, int | float | str) or value is None
        ]
    parts = {f"job-{job.pk}": "backtests/_sweep.html"}
    return page(request, "backtests/sweep.html", context, parts=parts)


@require_POST
def cancel_analysis(request: HttpRequest, job_id: int) -> HttpResponse:
    ask_to_cancel(request, find_job(request, analyses(), job_id))
    return redirect(request, reverse("sweep", args=[job_id]))


def _heatmap(found: dict[str, Any]) -> dict[str, Any]:
    """Return the grid's rows as a table shows them: the value of each cell, its shade, and whether it is a best one."""
    metric, axes = found["metric"], list(found["axes"].items())
    values = [[None if cell is None else cell[metric] for cell in row] for row in found["grid"]]
    judged = [better(metric, value) for row in values for value in row if value is not None]
    low, high = min(judged, default=0.0), max(judged, default=0.0)
    bests = {name: found[name] and (found[name]["row"], found[name]["column"]) for name in ("best", "robust_best")}
    first, second = axes[0], axes[1] if len(axes) > 1 else ("", [""])
    rows = []
    for row, head in enumerate(first[1]):
        cells = [
            {
                "value": value,
                "is_done": found["grid"][row][column] is not None,
                "shade": _shade(better(metric, value), low, high) if value is not None else 0,
                "is_best": bests["best"] == (row, column),
                "is_robust": bests["robust_best"] == (row, column),
            }
            for column, value in enumerate(values[row])
        ]
        rows.append((head, cells))
    return {"rows": rows, "first": first, "second": second, "metric": metric}


def _shade(value: float, low: float, high: float) -> int:
    return round(_SHADES * (value - low) / (high - low)) if high > low else 0
