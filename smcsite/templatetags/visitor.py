"""What the visitor chose, and what a page's scripts are told of it."""

import json
from typing import Any

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.template import Context
from django.utils.html import json_script
from django.utils.safestring import SafeString

from markets.selectors import candle_store
from markets.series import SeriesKey
from smcsite.preferences import Preferences, rules_text
from smcsite.templatetags.prices import decimals_of
from smcsite.version import VERSION

register = template.Library()


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
def version() -> str:
    return VERSION


@register.simple_tag
def is_replay() -> bool:
    return bool(settings.ENV.is_replay)


@register.simple_tag
def is_disk_full() -> bool:
    return not candle_store().has_space()


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
def chart_facts(
    context: Context, series: SeriesKey, shown: Any, usual: Any, scale: str, as_of: int | None
) -> SafeString:
    """Give the chart's scripts what the URL asks for, and the overlays that it does when it names none."""
    facts = {
        "symbol": series.symbol,
        "timeframe": series.timeframe.value,
        "shown": list(shown),
        "usual": list(usual),
        "scale": scale,
        "asOf": as_of,
        "decimals": decimals_of(context, series.symbol),
    }
    return json_script(facts, "chart-facts")
