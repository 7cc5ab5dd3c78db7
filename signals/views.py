"""Pages about signals: the chart, the explorer, one signal."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from rest_framework.exceptions import ValidationError

from markets.errors import InvalidInputError, NoCandlesError, SmcError
from markets.models import JobState, Pair
from markets.moments import parse_time
from markets.selectors import (
    find_job,
    known_series,
    newest_candles,
    owner_of,
    require_pair,
    timeframes_of,
    visible_jobs,
)
from markets.serializers import row_number
from markets.series import SeriesKey, Timeframe
from markets.views import ask_to_cancel, page, redirect, wanted_part
from signals import selectors
from signals.engine import SCALES
from signals.engine.kinds import STATUS_TEXT
from signals.forms import StudyForm
from signals.models import Study
from signals.selectors.story import SignalStory, story
from signals.serializers import SignalQuery
from signals.services.evidence import study_now, track_record_json
from signals.tasks import submit_study

_EVENTS_SHOWN, _ROWS_SHOWN, _LIVE_SHOWN = 60, 50, 20
_NEAR = 0.02
_STUDIES_SHOWN, _CONDITIONS_SHOWN = 8, 40

# The overlays of the chart, by the name they have in its URL.
OVERLAYS = {
    "bos": ("BOS", "CHOCH"),
    "ob": ("OB", "BREAKER"),
    "fvg": ("FVG", "IFVG"),
    "sweep": ("SWEEP",),
    "eq": ("EQ",),
    "swing": ("SWING",),
}
DEFAULT_OVERLAYS = ("bos", "ob", "fvg", "sweep", "eq")


@require_GET
def charts(request: HttpRequest) -> HttpResponse:
    """Go to a chart: the pair of the first watched or stored series."""
    keys = known_series()
    wanted = request.COOKIES.get("smc_watch", "").split("%2C")[0]
    symbols = [key.symbol for key in keys]
    symbol = wanted if wanted in symbols else next(iter(symbols), "BTCUSDT")
    kept = [key.timeframe for key in keys if key.symbol == symbol]
    timeframe = Timeframe.M15 if Timeframe.M15 in kept or not kept else kept[0]
    return HttpResponseRedirect(reverse("chart", args=[symbol, timeframe.value]))


@require_GET
def chart(request: HttpRequest, symbol: str, timeframe: str) -> HttpResponse:
    """Candles with everything that was found on them. Its panels are parts that follow the chart."""
    series = SeriesKey.of(symbol, timeframe)
    pair = require_pair(series.symbol)
    shown = _shown_overlays(request)
    as_of = _moment(request, "as_of")
    context: dict[str, Any] = {
        "series": series,
        "symbol": series.symbol,
        "timeframe": series.timeframe.value,
        "pair": pair,
        "timeframes": timeframes_of(pair),
        "shown": shown,
        "usual": DEFAULT_OVERLAYS,
        "scale": request.GET.get("scope", "") if request.GET.get("scope") in SCALES else "",
        "as_of": as_of,
        "rows_url": reverse("chart", args=[series.symbol, series.timeframe.value]),
    }
    parts = {"events": "signals/_events.html", "side": "signals/_side.html", "signal-list": "signals/_list.html"}
    wanted = wanted_part(request)
    if wanted != "events":
        context |= _side(series, pair, with_panels=wanted != "signal-list")
    if wanted not in ("side", "signal-list"):
        context["events"], context["events_error"] = _events(series, context)
    return page(request, "signals/chart.html", context, parts=parts)


def _shown_overlays(request: HttpRequest) -> tuple[str, ...]:
    """Return the overlays named by ``ov``; the usual ones when the URL names none."""
    if "ov" not in request.GET:
        return DEFAULT_OVERLAYS
    return tuple(name for name in request.GET["ov"].split(",") if name in OVERLAYS)


def _moment(request: HttpRequest, name: str) -> int | None:
    """Return a moment of the URL in UTC ms; what cannot be read is no moment."""
    try:
        return parse_time(request.GET[name])
    except (KeyError, ValueError):
        return None


def _side(series: SeriesKey, pair: Pair, *, with_panels: bool) -> dict[str, Any]:
    """Return the panels beside the chart: bias, live signals of the pair, zones near its price."""
    told: dict[str, Any] = {"error": "", "signals": [], "zones": [], "bias": []}
    try:
        filter_ = selectors.SignalFilter(symbol=series.symbol)
        told["signals"] = selectors.newest_once(filter_, limit=_LIVE_SHOWN)
        if with_panels:
            told["zones"] = selectors.once_each(selectors.zones_near(series, within=_NEAR, limit=24))[:6]
            told["bias"] = [(each, selectors.bias(SeriesKey(series.symbol, each))) for each in timeframes_of(pair)]
            told["last"] = newest_candles(series, 1)
    except SmcError as error:
        told["error"] = str(error)
    return told


def _events(series: SeriesKey, context: dict[str, Any]) -> tuple[list[selectors.SignalRow], str]:
    """Return what the chart draws, as a table: the newest first."""
    kinds = frozenset(kind for name in context["shown"] for kind in OVERLAYS[name])
    if not kinds:
        return [], ""
    filter_ = selectors.SignalFilter(
        symbol=series.symbol,
        timeframe=series.timeframe,
        kinds=kinds,
        as_of=context["as_of"],
        scale=context["scale"] or None,
    )
    try:
        return selectors.signals(filter_, limit=_EVENTS_SHOWN).rows, ""
    except SmcError as error:
        return [], str(error)


@require_GET
def signal_list(request: HttpRequest) -> HttpResponse:
    """The explorer: filter, page, download. Every filter is in the URL."""
    given = {name: values for name, values in request.GET.lists() if any(values)}
    context: dict[str, Any] = {
        "given": {name: ",".join(values) for name, values in given.items()},
        "kinds": [kind for kinds in OVERLAYS.values() for kind in kinds],
        "statuses": STATUS_TEXT,
        "scales": list(SCALES),
        "timeframes": [each.value for each in Timeframe],
        "symbols": list(dict.fromkeys(key.symbol for key in known_series())),
        "errors": {},
    }
    context["chosen_kinds"] = context["given"].get("kind", "").split(",")
    answer = 200
    try:
        context |= _found(given, is_oldest_first=request.GET.get("sort") == "oldest")
    except InvalidInputError as error:
        context["errors"], answer = {error.field or "form": [str(error)]}, 422
    except ValidationError as error:
        context["errors"], answer = error.detail, 422
    return page(request, "signals/signals.html", context, parts={"results": "signals/_results.html"}, status=answer)


def _found(given: dict[str, list[str]], *, is_oldest_first: bool) -> dict[str, Any]:
    own = {name for name in ("sort", "page") if name in given}
    asked = {name: ",".join(values) for name, values in given.items() if name not in own}
    query = SignalQuery(data=asked)
    query.is_valid(raise_exception=True)
    filter_ = query.to_filter()
    if filter_.symbol is not None:
        require_pair(filter_.symbol)
    found = selectors.signals(
        filter_,
        limit=query.validated_data.get("limit", _ROWS_SHOWN),
        cursor=query.validated_data.get("cursor"),
        newest_first=not is_oldest_first,
    )
    return {"rows": found.rows, "next_cursor": found.next_cursor, "total": selectors.total(filter_)}


@require_GET
def signal(request: HttpRequest, signal_id: str) -> HttpResponse:
    """One signal: what led to it, what it is, what became of it."""
    told: SignalStory = story(selectors.signal(signal_id))
    return page(request, "signals/signal.html", {"story": told}, parts={"drawer": "signals/_drawer.html"})


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
        "noted": sum(row["q_value"] is not None and row["q_value"] < 0.1 for row in found["rows"]),
    }
