"""What any app's forms ask for: moments, pairs, timeframes."""

from typing import Any

from django import forms

from markets.moments import iso, parse_time
from markets.selectors import known_series
from markets.series import SYMBOL_PATTERN, Timeframe

TIMEFRAMES = [(each.value, each.value) for each in Timeframe]


class TimeInput(forms.DateInput):
    """A moment as browsers ask for it: a day, with a time where it begins within one.

    A full timestamp in the URL or a POST is as good.
    """

    input_type = "date"

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        if "T" in (context["widget"]["value"] or ""):
            context["widget"]["type"] = "datetime-local"
        return context

    def format_value(self, value: Any) -> str | None:
        if not value:
            return None
        try:
            text = iso(parse_time(value))
        except ValueError:
            return str(value)  # what was typed, beside what is wrong with it
        # Browsers take no zone, and times without one are read as UTC.
        return str(text).removesuffix("Z").removesuffix("T00:00:00")


class TimeField(forms.CharField):
    """A moment as UTC ms; a day alone is its first moment in UTC."""

    widget = TimeInput

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            return parse_time(str(text))
        except ValueError as error:
            raise forms.ValidationError(f"Must be {error}.") from None


def clean_symbol(text: str) -> str:
    """Return a symbol as we write it; what people type may be in lower case or with a slash."""
    symbol = text.strip().upper().replace("/", "").replace("-", "")
    if SYMBOL_PATTERN.fullmatch(symbol) is None:
        raise forms.ValidationError("Must be 1 to 20 of A-Z and 0-9, such as BTCUSDT.")
    return symbol


def symbol_choices() -> list[tuple[str, str]]:
    """Return the pairs that have a series, as a field asks for them: anew for each form."""
    return [(symbol, symbol) for symbol in dict.fromkeys(key.symbol for key in known_series())]
