"""Moments in the visitor's zone, and lengths of time."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.conf import settings
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from signals.push.status import read_status
from smcsite.templatetags.figures import NOTHING
from smcsite.templatetags.visitor import preferences

register = template.Library()


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


def _moment(value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value
    return datetime.fromtimestamp(int(value) / 1000, UTC)


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


@register.filter
def milliseconds(value: float | None) -> str:
    return NOTHING if value is None else duration(value / 1000)
