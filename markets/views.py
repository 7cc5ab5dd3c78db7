"""Pages about the market: pairs, and the data that are stored of them. ``page`` answers for every app."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from markets.errors import ConflictError, InvalidInputError, SmcError
from markets.forms import BackfillForm, PairForm, TimeframesForm
from markets.models import Job
from markets.selectors import (
    backfills,
    candle_store,
    coverage_of,
    find_job,
    known_series,
    owner_of,
    pairs,
    require_pair,
    timeframes_of,
    visible_jobs,
)
from markets.series import Timeframe
from markets.services.jobs import request_cancel
from markets.services.pairs import track
from markets.tasks import submit_backfill

_JOBS_SHOWN = 20


def page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    parts: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Answer with a page, or with the one part of it that htmx asks for.

    ``parts`` names the templates by the id of the element they fill. Whoever restores a page from his history, or asks
    for an element that is no part, gets the whole page: each URL answers as a page.
    """
    answer = render(request, (parts or {}).get(wanted_part(request), template), dict(context), status=status)
    patch_vary_headers(answer, ("HX-Request", "HX-Target", "Cookie"))
    return answer


def wanted_part(request: HttpRequest) -> str:
    """Return the id of the element that htmx asks to be filled; empty where a page is wanted, as out of a history."""
    is_part = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    return request.headers.get("HX-Target", "") if is_part else ""


def redirect(request: HttpRequest, url: str) -> HttpResponse:
    """Send the visitor on: htmx by its own header, since it would follow a redirect inside the part."""
    if "HX-Request" in request.headers:
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def ask_to_cancel(request: HttpRequest, job: Job) -> None:
    """Ask a job to end; that it has ended already is no error to a person who pressed the button."""
    try:
        request_cancel(job.pk)
    except ConflictError as error:
        messages.info(request, str(error))


@require_http_methods(["GET", "POST"])
def data(request: HttpRequest) -> HttpResponse:
    """What is stored of every series, where it has gaps, and the jobs that fetch more. POST asks for one."""
    form = BackfillForm(request.POST or None, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        try:
            job = submit_backfill(form.to_job(owner=owner_of(request.user)))
        except InvalidInputError as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            messages.success(request, f"Backfill {job.pk} of {job.series_key} is queued.")
            return redirect(request, reverse("data"))
    status = 422 if form.errors else 200
    return page(request, "markets/data.html", _data_context(request, form), parts=_DATA_PARTS, status=status)


_DATA_PARTS = {"jobs": "markets/_jobs.html", "backfill-form": "markets/_backfill_form.html"}


def _data_context(request: HttpRequest, form: BackfillForm) -> dict[str, Any]:
    return {
        "form": form,
        "pairs": [(pair, *_coverage(pair)) for pair in pairs()],
        "jobs": visible_jobs(request.user, backfills())[:_JOBS_SHOWN],
        "timeframes": list(Timeframe),
        "set_aside": candle_store().set_aside(),
    }


def _coverage(pair: Any) -> tuple[list[Any], str]:
    """Return what is stored of a pair, or why it cannot be told."""
    try:
        return coverage_of(pair), ""
    except SmcError as error:
        return [], str(error)


@require_GET
def backfill_job(request: HttpRequest, job_id: int) -> HttpResponse:
    """One job's card; as a page of its own where there is no script."""
    job = find_job(request.user, backfills(), job_id)
    return page(request, "markets/job.html", {"job": job}, parts={f"job-{job.pk}": "markets/_job.html"})


@require_POST
def cancel_backfill(request: HttpRequest, job_id: int) -> HttpResponse:
    job = find_job(request.user, backfills(), job_id)
    ask_to_cancel(request, job)
    if "HX-Request" in request.headers:
        job.refresh_from_db()
        return page(request, "markets/_job.html", {"job": job})
    return redirect(request, reverse("data"))


@require_http_methods(["GET", "POST"])
def pair_list(request: HttpRequest) -> HttpResponse:
    """The pairs that are followed. POST adds one."""
    form = PairForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        track(form.cleaned_data["symbol"], form.timeframes)
        messages.success(request, f"{form.cleaned_data['symbol']} is followed from now on; its history is on the way.")
        return redirect(request, reverse("pairs"))
    rows = [(pair, timeframes_of(pair), TimeframesForm(pair=pair)) for pair in pairs()]
    context = {"form": form, "rows": rows, "series_count": len(known_series())}
    return page(request, "markets/pairs.html", context, status=422 if form.errors else 200)


@require_POST
def change_pair(request: HttpRequest, symbol: str) -> HttpResponse:
    """Follow these timeframes of a pair and no others; none pauses it."""
    pair = require_pair(symbol)
    form = TimeframesForm(request.POST, pair=pair)
    if form.is_valid():
        track(pair.symbol, form.timeframes)
        word = "is followed" if form.timeframes else "is paused"
        messages.success(request, f"{pair.symbol} {word}.")
    return redirect(request, reverse("pairs"))
