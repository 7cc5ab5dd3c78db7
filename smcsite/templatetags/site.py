"""What templates need to tell things: times in the visitor's zone, prices at the pair's tick, signs and units."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html, format_html_join, json_script
from django.utils.safestring import SafeString

from markets.models import Job, Pair
from markets.selectors import SeriesCoverage
from signals.push.status import read_status
from smcsite.preferences import Preferences, rules_text

register = template.Library()

MINUS = "\N{MINUS SIGN}"
NOTHING = "–"

# Signed values are written with two places.
_NOTHING_TO_SEE = 0.005


@register.simple_tag(takes_context=True)
def preferences(context: Context) -> Preferences:
    """Return the visitor's choices; read once a request, defaults where there is none (a pushed part)."""
    request: HttpRequest | None = context.get("request")
    if request is None:
        return Preferences()
    if not hasattr(request, "_preferences"):
        request._preferences = Preferences.of(request)  # type: ignore[attr-defined]
    chosen: Preferences = request._preferences  # type: ignore[attr-defined]
    return chosen


@register.simple_tag
def is_replay() -> bool:
    return bool(settings.ENV.is_replay)


@register.simple_tag
def public_kinds() -> str:
    """Return the kinds that are published, for people."""
    return ", ".join(settings.ENV.indicators)


@register.simple_tag(takes_context=True)
def page_facts(context: Context) -> SafeString:
    """Give the page's scripts the visitor's choices, as JSON that no browser runs."""
    chosen = preferences(context)
    facts = {
        "zone": chosen.zone,
        "bars": chosen.bars,
        "sound": chosen.sound,
        "watched": chosen.watched,
        "rules": json.loads(rules_text(chosen.rules)),
    }
    return json_script(facts, "page-facts")


@register.simple_tag(takes_context=True)
def chart_facts(context: Context, symbol: str, timeframe: str, shown: Any, scale: str, as_of: int | None) -> SafeString:
    """Give the chart's scripts what the URL asks for."""
    facts = {
        "symbol": symbol,
        "timeframe": timeframe,
        "shown": list(shown),
        "scale": scale,
        "asOf": as_of,
        "decimals": _decimals_of(context, symbol),
    }
    return json_script(facts, "chart-facts")


def _moment(value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value
    return datetime.fromtimestamp(int(value) / 1000, UTC)


@register.simple_tag(takes_context=True)
def when(context: Context, value: Any, style: str = "short") -> SafeString | str:
    """Write a moment (UTC ms or datetime) in the visitor's zone, with the UTC instant behind it.

    ``style``: ``short`` (day and time), ``long`` (with the year and the zone), ``day``, ``ago``.
    """
    moment = _moment(value)
    if moment is None:
        return NOTHING
    if style == "ago":
        attributes = _time_attributes(moment, style, preferences(context).zone)
        return format_html("<time {}>{}</time>", attributes, ago(moment, _market_now(context)))
    return _time_element(moment, style, *calendar(context))


@register.simple_tag(takes_context=True)
def calendar(context: Context) -> tuple[str, int]:
    """Return what a written moment depends on beside itself, ``ago`` apart: the zone, and the year it is there."""
    chosen = preferences(context)
    return chosen.zone, _market_now(context).astimezone(chosen.zone_info).year


# A table writes hundreds of moments, and writes them again when it is asked for again.
@lru_cache(maxsize=4096)
def _time_element(moment: datetime, style: str, zone: str, this_year: int) -> SafeString:
    local = moment.astimezone(ZoneInfo(zone))
    text = f"{local:%d %b %Y}"
    if style == "long":
        text = f"{local:%d %b %Y %H:%M:%S} {zone}"
    elif style == "short":
        text = f"{local:%d %b %H:%M}" if local.year == this_year else f"{local:%d %b %Y %H:%M}"
    return format_html("<time {}>{}</time>", _time_attributes(moment, style, zone), text)


@lru_cache(maxsize=4096)
def _time_attributes(moment: datetime, style: str, zone: str) -> SafeString:
    long = f"{moment.astimezone(ZoneInfo(zone)):%d %b %Y %H:%M:%S} {zone}"
    stamp = f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return format_html('datetime="{}" data-style="{}" title="{}"', stamp, style, long)


@register.simple_tag(takes_context=True)
def when_iso(context: Context, text: str | None, style: str = "short") -> SafeString | str:
    """Write a moment that was told in ISO 8601."""
    return when(context, datetime.fromisoformat(text) if text else None, style)


def _market_now(context: Context) -> datetime:
    """Return the market's time, one for all of a page.

    A replayed market runs at its own speed, so our clock says nothing about it.
    """
    request: Any = context.get("request")
    if request is None:
        return timezone.now()
    if not hasattr(request, "_market_now"):
        told = read_status()["exchange_time"] if settings.ENV.is_replay else None
        request._market_now = datetime.fromisoformat(told) if told else timezone.now()
    now: datetime = request._market_now
    return now


def ago(moment: datetime, now: datetime) -> str:
    """Write how long ago a moment is, in one unit."""
    seconds = (now - moment).total_seconds()
    if seconds < 5:
        return "now"
    return f"{duration(seconds)} ago"


@register.filter
def duration(seconds: float | None) -> str:
    """Write a length of time in its largest unit."""
    if seconds is None:
        return NOTHING
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length * (2 if unit == "d" else 1):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


@register.simple_tag(takes_context=True)
def price(context: Context, value: float | None, symbol: str = "") -> str:
    """Write a price at the pair's tick size, with thousands apart."""
    if value is None or value != value:  # noqa: PLR0124 - NaN differs from itself
        return NOTHING
    return format_price(value, _decimals_of(context, symbol))


@register.simple_tag(takes_context=True)
def decimals(context: Context, symbol: str) -> int | str:
    """Return how many decimals a pair's prices have; empty when the exchange did not say."""
    found = _decimals_of(context, symbol)
    return "" if found is None else found


def _decimals_of(context: Context, symbol: str) -> int | None:
    """Return the decimals of a pair, None when they are unknown.

    A request asks once for all pairs. A part that is pushed has no request and brings its ``tick_size``.
    """
    if "tick_size" in context:
        return tick_decimals(context["tick_size"])
    keeper: Any = context.get("request") or context.render_context
    if not hasattr(keeper, "_decimals"):
        pairs = Pair.objects.values_list("symbol", "tick_size")
        keeper._decimals = {name: tick_decimals(tick) for name, tick in pairs}
    found: int | None = keeper._decimals.get(symbol)
    return found


def tick_decimals(tick: float) -> int | None:
    """Return the decimals of a price step; None when it is unknown (0)."""
    if tick <= 0:
        return None
    text = f"{tick:.10f}".rstrip("0")
    return len(text.partition(".")[2])


def format_price(value: float, places: int | None) -> str:
    """Write a price; without known decimals, with as many as tell it apart."""
    if places is None:
        text = f"{abs(value):,.8f}".rstrip("0") if abs(value) < 1 else f"{abs(value):,.4f}".rstrip("0")
        whole, _, rest = text.partition(".")
        text = f"{whole}.{rest.ljust(2, '0')}"
    else:
        text = f"{abs(value):,.{places}f}"
    return f"{MINUS}{text}" if value < 0 else text


@register.filter
def percent(value: float | None, places: int = 2) -> str:
    """Write a number that is in percent already."""
    if value is None or value != value:  # noqa: PLR0124
        return NOTHING
    return f"{_unsigned(value, places)} %" if value >= 0 else f"{MINUS}{_unsigned(value, places)} %"


@register.filter
def as_percent(fraction: float | None) -> str:
    """Write a fraction as percent."""
    return percent(None if fraction is None else 100 * fraction)


@register.filter
def as_whole_percent(fraction: float | None) -> str:
    return percent(None if fraction is None else 100 * fraction, 0)


@register.filter
def milliseconds(value: float | None) -> str:
    return NOTHING if value is None else duration(value / 1000)


@register.filter
def signed(value: float | None, places: int = 2) -> str:
    """Write a number with its sign, a true minus."""
    if value is None or value != value:  # noqa: PLR0124
        return NOTHING
    text = _unsigned(value, places)
    if not float(text.replace(",", "")):
        return text
    return f"+{text}" if value > 0 else f"{MINUS}{text}"


@register.filter
def signed_percent(value: float | None, places: int = 2) -> str:
    told = signed(value, places)
    return told if told == NOTHING else f"{told} %"


@register.filter
def number(value: float | None, places: int = 2) -> str:
    """Write a number with thousands apart."""
    if value is None or value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124
        return NOTHING
    text = _unsigned(value, places)
    return f"{MINUS}{text}" if value < 0 and float(text.replace(",", "")) else text


def _unsigned(value: float, places: int) -> str:
    return f"{abs(value):,.{places}f}"


@register.filter
def whole(value: float | None) -> str:
    return number(value, 0)


@register.simple_tag
def signed_cell(value: float | None, unit: str = "") -> SafeString:
    """Write a signed value as the cell of a table, in its side's colour."""
    return format_html('<td class="num {}">{}{}</td>', side_class(value), signed(value), "" if value is None else unit)


@register.filter
def side_class(value: float | None) -> str:
    """Return the class of a signed value; the text beside it carries the sign too, unless it rounds to zero."""
    if not value or abs(value) < _NOTHING_TO_SEE:
        return ""
    return "up" if value > 0 else "down"


@register.filter
def arrow(value: float | None) -> str:
    if not value:
        return "■"
    return "▲" if value > 0 else "▼"


@register.filter
def bias_word(value: float | None) -> str:
    if not value:
        return "None"
    return "Bull" if value > 0 else "Bear"


_STATE_CLASSES = {
    "live": "tag-ok",
    "ok": "tag-ok",
    "catching_up": "tag-accent",
    "stale": "tag-warn",
    "gapped": "tag-warn",
    "halted": "tag-warn",
    "degraded": "tag-warn",
    "down": "tag-danger",
}


@register.filter
def state_class(state: str) -> str:
    return _STATE_CLASSES.get(state, "")


@register.filter
def words(name: str) -> str:
    return str(name).replace("_", " ")


@register.filter
def spaced(text: str) -> str:
    """Write what is joined by commas so that it can be read, and broken at the end of a line."""
    return text.replace(",", ", ")


@register.filter
def small_number(value: float) -> str:
    """Write a tick or step size in plain digits; 0 is unknown."""
    return f"{value:.10f}".rstrip("0").rstrip(".") if value else NOTHING


@register.filter
def progress_percent(job: Job) -> int:
    return round(job.progress * 100)


@register.filter
def size(value: float | None) -> str:
    """Write a count of bytes."""
    if value is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


@register.filter
def item(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key)


@register.filter
def listed(value: Any) -> str:
    """Write a parameter's value: lists by comma, nothing as a dash, a flag as yes or no."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: Any) -> str:
    """Return the page's query string with changes; a value of None or empty removes the name."""
    kept = context["request"].GET.copy()
    for name, value in changes.items():
        kept.pop(name, None)
        if value not in (None, ""):
            kept[name] = str(value)
    text = kept.urlencode()
    return f"?{text}" if text else "?"


@register.simple_tag
def link(path: str, **parameters: Any) -> str:
    """Return a path with a query string, values that are None or empty left out."""
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


@register.simple_tag
def spark_points(values: Any, width: int = 96, height: int = 24) -> str:
    """Return the points of a sparkline's polyline."""
    numbers = [float(value) for value in values or ()]
    if len(numbers) < 2:
        return ""
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0
    step = width / (len(numbers) - 1)
    return " ".join(
        f"{i * step:.1f},{height - 1 - (value - low) / span * (height - 2):.1f}" for i, value in enumerate(numbers)
    )


@register.simple_tag
def coverage_strip(row: SeriesCoverage, width: int = 240) -> SafeString:
    """Draw what is stored of a series as a strip from its first to its last candle, gaps in another colour."""
    coverage = row.coverage
    if coverage is None:
        return SafeString("")
    step = row.series.timeframe.milliseconds
    span = coverage.last + step - coverage.first
    gaps = format_html_join(
        "",
        '<rect class="gap" x="{}" y="0" width="{}" height="14"/>',
        (
            (
                f"{(gap.start - coverage.first) / span * width:.2f}",
                f"{max((gap.end - gap.start) / span * width, 1):.2f}",
            )
            for gap in coverage.gaps[:500]
        ),
    )
    told = f"{100 * row.share:.2f} % stored, {len(coverage.gaps)} gaps"
    return format_html(
        '<svg class="strip" viewBox="0 0 {0} 14" preserveAspectRatio="none" role="img" aria-label="{1}">'
        '<title>{1}</title><rect class="have" width="{0}" height="14"/>{2}</svg>',
        width,
        told,
        gaps,
    )


@register.simple_tag(takes_context=True)
def current(context: Context, *prefixes: str) -> SafeString | str:
    """Mark the link of the page one is on."""
    path = context["request"].path if context.get("request") else ""
    is_here = any(
        path == prefix.rstrip("$") if prefix.endswith("$") else path.startswith(prefix) for prefix in prefixes
    )
    return SafeString('aria-current="page"') if is_here else ""
