"""Figures of a study in a picture and in words."""

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from signals.evidence import NOTED
from smcsite.templatetags.figures import NOTHING

register = template.Library()

_WIDTH, _HEIGHT = 160, 18


@register.simple_tag
def interval(low: float | None, middle: float | None, high: float | None, reach: float) -> SafeString | str:
    """Draw a mean with its confidence interval on an axis from minus to plus ``reach``; decoration beside figures."""
    if middle is None or reach <= 0:
        return ""
    centre = _x(0.0, reach)
    line: SafeString | str = ""
    if low is not None and high is not None:
        line = format_html('<line class="bar" x1="{}" x2="{}" y1="9" y2="9"/>', _x(low, reach), _x(high, reach))
    return format_html(
        '<svg class="interval {}" viewBox="0 0 {} {}" aria-hidden="true">'
        '<line class="zero" x1="{}" x2="{}" y1="1" y2="17"/>{}<circle cx="{}" cy="9" r="3"/></svg>',
        "up" if middle > 0 else "down", _WIDTH, _HEIGHT, centre, centre, line, _x(middle, reach),
    )  # fmt: skip


def _x(value: float, reach: float) -> str:
    share = (max(-reach, min(reach, value)) + reach) / (2 * reach)
    return f"{4 + share * (_WIDTH - 8):.1f}"


@register.filter
def verdict(row: dict[str, Any]) -> str:
    """Say in words what a row of forward returns supports."""
    if not row["enough"]:
        return "not enough data"
    if row["q_value"] is None or row["q_value"] >= NOTED:
        return "like chance"
    better = row["mean_atr"] > (row["drift_atr"] or 0.0)
    return "better than chance" if better else "worse than chance"


@register.filter
def verdict_class(row: dict[str, Any]) -> str:
    return {"better than chance": "tag-up", "worse than chance": "tag-down"}.get(verdict(row), "tag-line")


@register.filter
def probability(value: float | None) -> str:
    return NOTHING if value is None else ("< 0.01" if value < 0.01 else f"{value:.2f}")
