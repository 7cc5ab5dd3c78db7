"""``{% candle_picture story %}``: the candles around a signal as an inline picture, drawn by the server."""

from typing import Any

import numpy as np
from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from signals.selectors.story import SignalStory

register = template.Library()

_WIDTH, _HEIGHT, _PAD = 432, 168, 8


@register.simple_tag
def candle_picture(story: SignalStory) -> SafeString:
    """Draw the candles, the signal's zone or level, and its event and confirm candles."""
    candles, row = story.candles, story.row
    if not len(candles):
        return SafeString("")
    top = row.top if row.top is not None else row.level
    bottom = row.bottom if row.bottom is not None else row.level
    low, high = min(float(candles.low.min()), bottom), max(float(candles.high.max()), top)
    scale = (_HEIGHT - 2 * _PAD) / ((high - low) or 1.0)
    step = _WIDTH / len(candles)

    def y(value: float) -> float:
        return round(_PAD + (high - value) * scale, 1)

    def x(time: int) -> float:
        return round(float(np.searchsorted(candles.open_time, time)) * step, 1)

    bodies = format_html_join("", '<path class="{}" d="{}"/>', _bodies(candles, step, y))
    marks = format_html(
        '<rect class="zone {0}" x="{1}" y="{2}" width="{3}" height="{4}"/>'
        '<line class="when" x1="{5}" x2="{5}" y1="0" y2="{6}"/>',
        "up" if row.direction > 0 else "down",
        x(min(row.ref_time, row.event_time)),
        y(top),
        round(_WIDTH - x(min(row.ref_time, row.event_time)), 1),
        max(1.0, round(y(bottom) - y(top), 1)),
        round(x(row.confirm_time) + step / 2, 1),
        _HEIGHT,
    )
    return format_html(
        '<svg class="picture" viewBox="0 0 {} {}" role="img" aria-label="{} candles around the signal; the vertical '
        'line is where it became knowable">{}{}</svg>',
        _WIDTH,
        _HEIGHT,
        len(candles),
        marks,
        bodies,
    )


def _bodies(candles: Any, step: float, y: Any) -> list[tuple[str, str]]:
    drawn: dict[str, list[str]] = {"up": [], "down": []}
    half = max(0.5, step * 0.36)
    rows = zip(candles.open, candles.high, candles.low, candles.close, strict=True)
    for i, (opened, high, low, close) in enumerate(rows):
        middle = (i + 0.5) * step
        upper, lower = y(max(opened, close)), y(min(opened, close))
        body = f"h{2 * half:.1f}v{max(lower - upper, 0.8):.1f}h{-2 * half:.1f}Z"
        wick = f"M{middle:.1f} {y(high)}V{y(low)}M{middle - half:.1f} {upper}"
        drawn["up" if close >= opened else "down"].append(wick + body)
    return [(name, "".join(paths)) for name, paths in drawn.items() if paths]
