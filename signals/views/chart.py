"""The page of one series: its chart, and the panels that follow it."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_GET

from markets.errors import SmcError
from markets.models import Pair
from markets.moments import parse_time
from markets.selectors import known_series, newest_candles, require_pair, timeframes_of
from markets.series import SeriesKey, Timeframe
from markets.views import page, wanted_part
from signals import selectors
from signals.engine import SCALES

_EVENTS_SHOWN, _LIVE_SHOWN = 60, 20
_NEAR = 0.02

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
