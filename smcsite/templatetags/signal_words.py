"""Signals in words: what each kind is called on screen, and what happened in one sentence."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from django import template
from django.template import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from signals.evidence.conditions import range_words
from smcsite.templatetags.figures import arrow, side_class
from smcsite.templatetags.prices import price

register = template.Library()

_LABELS = {"CHOCH": "CHoCH", "SWEEP": "Sweep", "SWING": "Swing", "BREAKER": "Breaker"}
_NAMES = {
    "SWING": "Swing point",
    "BOS": "Break of structure",
    "CHOCH": "Change of character",
    "FVG": "Fair value gap",
    "IFVG": "Inverse fair value gap",
    "SWEEP": "Liquidity sweep",
    "EQ": "Equal highs or lows",
    "OB": "Order block",
    "BREAKER": "Breaker block",
}
_TAGS = {
    "HH": "higher high",
    "LH": "lower high",
    "EH": "equal high",
    "HL": "higher low",
    "LL": "lower low",
    "EL": "equal low",
}
_STATUS_CLASSES = {"active": "tag-accent", "mitigated": "tag-warn", "filled": "", "invalidated": ""}
_STATUS_WORDS = {"mitigated": "touched"}

ZONES = frozenset({"FVG", "IFVG", "OB", "BREAKER"})


@register.filter
def kind_label(kind: str) -> str:
    return _LABELS.get(kind, kind)


@register.filter
def kind_name(kind: str) -> str:
    return _NAMES.get(kind, kind)


@register.filter
def status_word(status: str) -> str:
    return _STATUS_WORDS.get(status, status)


@register.filter
def range_word(place: float) -> str:
    """Say on which side of its range a price stands, in the words a study uses."""
    return str(range_words(np.array([place]))[0])


@register.filter
def is_zone(row: Any) -> bool:
    return row.kind in ZONES


@register.filter
def kind_text(row: Any) -> str:
    """Write a signal's direction and kind."""
    return f"{arrow(row.direction)} {kind_label(row.kind)}"


@register.filter
def direction_class(row: Any) -> str:
    return "tag-up" if row.direction > 0 else "tag-down"


@register.simple_tag
def kind_tag(row: Any) -> SafeString:
    """Write a signal's direction and kind, in the direction's colour."""
    return format_html('<span class="tag kind {}">{}</span>', direction_class(row), kind_text(row))


@register.simple_tag
def kind_head(row: Mapping[str, Any]) -> SafeString:
    """Write the direction and the kind that a row of a study is of, as the row's head."""
    direction = row["direction"]
    return format_html(
        '<th scope="row" class="nowrap"><span class="{}">{}</span> {}</th>',
        side_class(direction), arrow(direction), kind_label(row["kind"]),
    )  # fmt: skip


@register.simple_tag
def status_tag(row: Any) -> SafeString:
    return _status_tag(row.status)


@cache
def _status_tag(status: str) -> SafeString:
    return format_html('<span class="tag {}">{}</span>', _STATUS_CLASSES.get(status, ""), status_word(status))


@register.simple_tag
def strength_bar(row: Any) -> SafeString:
    """Draw a signal's strength as a bar, with its figure in words."""
    return _strength_bar(f"{row.strength:.0f}")


@cache
def _strength_bar(strength: str) -> SafeString:
    return format_html(
        '<progress class="strength" max="100" value="{0}" aria-label="Strength {0} of 100" '
        'title="Strength {0} of 100"></progress>',
        strength,
    )


@register.simple_tag
def strength_figure(row: Any) -> SafeString:
    """Write a signal's strength beside its bar."""
    return _strength_figure(f"{row.strength:.0f}")


@cache
def _strength_figure(strength: str) -> SafeString:
    return format_html('<progress class="strength" max="100" value="{0}" aria-hidden="true"></progress> {0}', strength)


@register.simple_tag
def row_facts(row: Any) -> SafeString:
    """Write the attributes by which scripts find and filter a signal's row."""
    return format_html(
        'data-testid="signal-row" data-signal-id="{}" data-symbol="{}" data-timeframe="{}" data-direction="{}" '
        'data-status="{}"',
        row.id, row.symbol, row.timeframe.value, row.direction, row.status,
    )  # fmt: skip


@register.simple_tag(takes_context=True)
def price_range(context: Context, row: Any) -> str:
    """Write the prices of a zone, low to high; of anything else its level."""
    if row.kind in ZONES and row.top is not None and row.bottom is not None:
        return f"{price(context, row.bottom, row.symbol)} – {price(context, row.top, row.symbol)}"
    return price(context, row.level, row.symbol)


@register.simple_tag(takes_context=True)
def sentence(context: Context, row: Any) -> str:
    """Say what a signal is, in one sentence with its prices."""
    is_up = row.direction > 0
    at = price_range(context, row)
    if row.kind in ("BOS", "CHOCH"):
        return _break_sentence(row, at, is_up=is_up)
    if row.kind == "SWEEP":
        beyond, back = ("high", "below") if not is_up else ("low", "above")
        later = ", a few candles later" if row.tag == "reclaim" else ""
        return f"Took the {beyond} at {at} and closed back {back}{later}"
    if row.kind == "EQ":
        return f"{row.tag or 2} equal {'highs' if is_up else 'lows'} at {at}"
    if row.kind == "SWING":
        return f"{'High' if is_up else 'Low'} at {at}{_explained(row.tag)}"
    side = "Bullish" if is_up else "Bearish"
    return f"{side} {_NAMES.get(row.kind, row.kind).lower()} {at}"


def _break_sentence(row: Any, at: str, *, is_up: bool) -> str:
    where = "above" if is_up else "below"
    if row.kind == "BOS":
        return f"Broke {where} {at}, the trend goes on"
    return f"Broke {where} {at}, the trend turned"


def _explained(tag: str) -> str:
    return f", a {_TAGS[tag]}" if tag in _TAGS else ""
