"""Figures: percent, signs and the colours of their side, thousands apart, sizes."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

MINUS = "\N{MINUS SIGN}"
NOTHING = "–"

# Signed values are written with two places.
_NOTHING_TO_SEE = 0.005


@register.filter
def percent(value: float | None, places: int = 2) -> str:
    """Write a number that is in percent already."""
    if value is None or value != value:  # noqa: PLR0124
        return NOTHING
    return f"{_unsigned(value, places)} %" if value >= 0 else f"{MINUS}{_unsigned(value, places)} %"


@register.filter
def as_percent(fraction: float | None, places: int = 2) -> str:
    """Write a fraction as percent."""
    return percent(None if fraction is None else 100 * fraction, places)


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


@register.simple_tag
def signed_cell(value: float | None, unit: str = "") -> SafeString:
    """Write a signed value as the cell of a table, in its side's colour."""
    return format_html('<td class="num {}">{}{}</td>', side_class(value), signed(value), "" if value is None else unit)


@register.filter
def number(value: float | None, places: int = 2) -> str:
    """Write a number with thousands apart."""
    if value is None or value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124
        return NOTHING
    text = _unsigned(value, places)
    return f"{MINUS}{text}" if value < 0 and float(text.replace(",", "")) else text


@register.filter
def whole(value: float | None) -> str:
    return number(value, 0)


def _unsigned(value: float, places: int) -> str:
    return f"{abs(value):,.{places}f}"


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
