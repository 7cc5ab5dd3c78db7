"""A backtest's metrics in words: names, figures with units, and why one is missing."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.template import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from backtests.engine.glossary import REASONS, TERMS, Unit, duration_text
from smcsite.templatetags.figures import NOTHING, as_percent, number, percent, side_class, signed, signed_percent
from smcsite.templatetags.times import when_iso

register = template.Library()

# Where the sign is the message.
_SIGNED = frozenset({"return_pct", "cagr_pct", "buy_hold_return_pct", "net_profit", "expectancy"})
_SHORT = {
    "return_pct": "Return",
    "max_drawdown_pct": "Max drawdown",
    "trades": "Trades",
    "win_rate": "Win rate",
    "profit_factor": "Profit factor",
    "expectancy_r": "Expectancy",
    "sharpe": "Sharpe",
    "cagr_pct": "Growth a year",
}


@register.filter
def metric_label(name: str) -> str:
    return TERMS[name].label if name in TERMS else name


@register.filter
def metric_short(name: str) -> str:
    return _SHORT.get(name) or metric_label(name)


@register.filter
def metric_value(value: Any, name: str) -> str:
    """Write a metric's figure with its unit."""
    if value is None:
        return NOTHING
    unit = TERMS[name].unit if name in TERMS else Unit.RATIO
    if unit is Unit.R:
        return " to ".join(f"{signed(each)}R" for each in value) if isinstance(value, list) else f"{signed(value)}R"
    if name in _SIGNED:
        return signed_percent(value) if unit is Unit.PERCENT else signed(value)
    writers = {
        Unit.COUNT: lambda: number(value, 0),
        Unit.FRACTION: lambda: as_percent(value, 1),
        Unit.PERCENT: lambda: percent(value),
        Unit.QUOTE: lambda: number(value),
        Unit.SECONDS: lambda: duration_text(value),
        Unit.RATIO: lambda: number(value),
    }
    return writers.get(unit, lambda: str(value))()


@register.simple_tag(takes_context=True)
def metric(context: Context, metrics: Mapping[str, Any], name: str) -> SafeString | str:
    """Write a metric of a run; one that is undefined tells why."""
    value = metrics.get(name)
    if value is None:
        reason = (metrics.get("undefined") or {}).get(name, "")
        if reason == "no_losses":
            return format_html('<span title="{}">∞</span>', REASONS["no_losses"])
        return format_html(
            '<span class="dim" title="{0}">– <span class="sr">{0}</span></span>', REASONS.get(reason, reason)
        )
    if name in TERMS and TERMS[name].unit is Unit.TIME:
        return when_iso(context, value)
    told = metric_value(value, name)
    signed_names = _SIGNED | {"expectancy_r", "total_r"}
    return format_html('<span class="{}">{}</span>', side_class(value) if name in signed_names else "", told)


@register.filter
def from_text(text: str | None) -> float | None:
    """Read a figure that the database gave as text."""
    try:
        return float(text) if text not in (None, "") else None
    except ValueError:
        return None
