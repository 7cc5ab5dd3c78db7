"""What signals were worth: studies made now or as jobs, and the track record."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from markets.errors import InvalidInputError, NoCandlesError
from markets.models import JobState
from markets.selectors import find_job, known_series, owner_of, require_pair, visible_jobs
from markets.serializers import row_number
from markets.series import Timeframe
from markets.views import ask_to_cancel, page, redirect
from signals.evidence import NOTED
from signals.forms import StudyForm
from signals.models import Study
from signals.services.evidence import study_now, track_record_json
from signals.tasks import submit_study

_STUDIES_SHOWN, _CONDITIONS_SHOWN = 8, 40


@require_http_methods(["GET", "POST"])
def evidence(request: HttpRequest) -> HttpResponse:
    """What signals were worth: a study made now, or as a job that POST asks for."""
    form = StudyForm(_asked(request))
    studies = visible_jobs(request.user, Study.objects.defer("result"))[:_STUDIES_SHOWN]
    context: dict[str, Any] = {"form": form, "studies": studies}
    if form.is_bound and form.is_valid():
        try:
            if request.method == "POST":
                job = submit_study(form.to_job(owner=owner_of(request.user)))
                return redirect(request, reverse("study", args=[job.pk]))
            query = form.to_query()
            require_pair(query.series.symbol)
            context |= study_context(study_now(query.series, query.to_spec()), horizon=request.GET.get("horizon"))
        except NoCandlesError as error:
            context["nothing"] = str(error)
        except InvalidInputError as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
    parts = {"results": "signals/_evidence.html"}
    return page(request, "signals/evidence.html", context, parts=parts, status=422 if form.errors else 200)


def _asked(request: HttpRequest) -> Any:
    """Return what was asked: posted, in the URL, or the first stored series, so that nobody meets an empty page."""
    if request.method == "POST":
        return request.POST
    if "symbol" in request.GET:
        return request.GET
    keys = known_series()
    first = next((key for key in keys if key.timeframe == Timeframe.M15), next(iter(keys), None))
    if first is None:
        return None
    return {"symbol": first.symbol, "timeframe": first.timeframe.value, "scale": "internal"}


@require_GET
def study_page(request: HttpRequest, job_id: int) -> HttpResponse:
    """One study: its progress, then its tables."""
    job = find_job(request.user, Study.objects.all(), job_id)
    context: dict[str, Any] = {"job": job}
    if job.state == JobState.DONE and job.result is not None:
        context |= study_context(job.result, horizon=request.GET.get("horizon"))
    parts = {f"job-{job.pk}": "signals/_study.html", "results": "signals/_evidence.html"}
    return page(request, "signals/study.html", context, parts=parts)


@require_POST
def cancel_study(request: HttpRequest, job_id: int) -> HttpResponse:
    ask_to_cancel(request, find_job(request.user, Study.objects.all(), job_id))
    return redirect(request, reverse("study", args=[job_id]))


@require_GET
def track_record_page(request: HttpRequest) -> HttpResponse:
    """What was published live, judged as any study, beside what the detector finds now."""
    form = StudyForm(_asked(request))
    context: dict[str, Any] = {"form": form}
    if form.is_bound and form.is_valid():
        query = form.to_query()
        require_pair(query.series.symbol)
        try:
            record = track_record_json(query.series, query.validated_data["scale"])
        except NoCandlesError as error:
            context["nothing"] = str(error)
        else:
            context |= {"series": query.series, "record": record}
            if record["published"] is not None:
                context |= study_context(record["published"], horizon=request.GET.get("horizon"))
                context["recomputed"] = {_row_key(row): row for row in record["recomputed"]["rows"]}
                context["pairs"] = [(row, context["recomputed"].get(_row_key(row))) for row in context["rows"]]
    parts = {"results": "signals/_track_record.html"}
    return page(request, "signals/track_record.html", context, parts=parts, status=422 if form.errors else 200)


def _row_key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["kind"], row["direction"], row["horizon"], row["sample"]


def study_context(found: dict[str, Any], *, horizon: str | None) -> dict[str, Any]:
    """Return what a page shows of a study: the rows of one horizon, and the reach of their picture's axis."""
    horizons = found["provenance"]["horizons"]
    chosen = row_number(horizon or "") or horizons[len(horizons) // 2]
    chosen = chosen if chosen in horizons else horizons[0]
    rows = [row for row in found["rows"] if row["horizon"] == chosen and row["n"]]
    ends = [abs(row[name]) for row in rows if row["enough"] for name in ("ci_low", "ci_high")]
    conditions = [row for row in found["conditions"] if row["horizon"] == chosen and row["enough"]]
    return {
        "found": found,
        "rows": rows,
        "horizon": chosen,
        "horizons": horizons,
        "reach": max(ends, default=1.0),
        "conditions": sorted(conditions, key=lambda row: row["q_value"])[:_CONDITIONS_SHOWN],
        "passages": [row for row in found["passages"] if row["n"]],
        "noted": sum(row["q_value"] is not None and row["q_value"] < NOTED for row in found["rows"]),
        "noted_below": NOTED,
    }
