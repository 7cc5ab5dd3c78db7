"""Prices at the tick of their pair."""

from typing import Any

from django import template
from django.template import Context

from markets.models import Pair
from smcsite.templatetags.figures import MINUS, NOTHING

register = template.Library()


@register.simple_tag(takes_context=True)
def price(context: Context, value: float | None, symbol: str = "") -> str:
    """Write a price at the pair's tick size, with thousands apart."""
    if value is None or value != value:  # noqa: PLR0124 - NaN differs from itself
        return NOTHING
    return format_price(value, decimals_of(context, symbol))


@register.simple_tag(takes_context=True)
def decimals(context: Context, symbol: str) -> int | str:
    """Return how many decimals a pair's prices have; empty when the exchange did not say."""
    found = decimals_of(context, symbol)
    return "" if found is None else found


def decimals_of(context: Context, symbol: str) -> int | None:
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
def small_number(value: float) -> str:
    """Write a tick or step size in plain digits; 0 is unknown."""
    return f"{value:.10f}".rstrip("0").rstrip(".") if value else NOTHING
