"""What the market's pages ask of a person."""

from typing import Any

from django import forms
from django.forms.renderers import DjangoTemplates
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from markets.models import Backfill, Pair
from markets.moments import iso, parse_time
from markets.selectors import known_series, timeframes_of
from markets.series import SYMBOL_PATTERN, Timeframe

TIMEFRAMES = [(each.value, each.value) for each in Timeframe]
SOURCES = [("auto", "Archive, then REST"), ("archive", "Archive only"), ("rest", "REST only")]


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


class QuickRenderer(DjangoTemplates):
    """Writes inputs and selects at once.

    Django renders up to three templates for an input and two for an option, which takes more than half of the time
    of a page whose form has forty fields, or a select of four hundred time zones.
    """

    def render(self, template_name: str, context: dict[str, Any], request: Any = None) -> str:
        widget, name = context.get("widget", {}), template_name.removeprefix("django/forms/widgets/")
        if name in _INPUTS or (name == "checkbox_option.html" and not widget.get("wrap_label")):
            return _input(widget)
        if name == "select.html":
            return _select(widget)
        return super().render(template_name, context, request)


_INPUTS = frozenset(f"{each}.html" for each in ("checkbox", "date", "input", "number", "text"))


def _input(widget: dict[str, Any]) -> SafeString:
    value = {} if widget["value"] is None else {"value": widget["value"]}
    return format_html(
        "<input{}>", flatatt({"type": widget["type"], "name": widget["name"], **value, **widget["attrs"]})
    )


def _select(widget: dict[str, Any]) -> SafeString:
    groups = [(name, format_html_join("", "{}", map(_option, options))) for name, options, _ in widget["optgroups"]]
    told = [format_html('<optgroup label="{}">{}</optgroup>', *each) if each[0] else each[1] for each in groups]
    attributes = flatatt({"name": widget["name"], **widget["attrs"]})
    return format_html("<select{}>{}</select>", attributes, format_html_join("", "{}", ((each,) for each in told)))


def _option(option: dict[str, Any]) -> tuple[SafeString]:
    return (
        format_html("<option{}>{}</option>", flatatt({"value": option["value"], **option["attrs"]}), option["label"]),
    )


class AccessibleForm(forms.Form):
    """A form whose fields carry our classes. Django itself says which are wrong, and by which words."""

    default_renderer = QuickRenderer
    error_css_class = "has-error"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dress()

    def dress(self) -> None:
        """Give each field's widget the class of its look."""
        for field in self.fields.values():
            widget = field.widget
            widget.attrs.setdefault("autocomplete", "off")
            if isinstance(widget, forms.CheckboxInput | forms.CheckboxSelectMultiple):
                continue
            widget.attrs.setdefault("class", "select" if isinstance(widget, forms.Select) else "input")


def clean_symbol(text: str) -> str:
    """Return a symbol as we write it; what people type may be in lower case or with a slash."""
    symbol = text.strip().upper().replace("/", "").replace("-", "")
    if SYMBOL_PATTERN.fullmatch(symbol) is None:
        raise forms.ValidationError("Must be 1 to 20 of A-Z and 0-9, such as BTCUSDT.")
    return symbol


def symbol_choices() -> list[tuple[str, str]]:
    """Return the pairs that have a series, as a field asks for them: anew for each form."""
    return [(symbol, symbol) for symbol in dict.fromkeys(key.symbol for key in known_series())]


class BackfillForm(AccessibleForm):
    """Which candles are to be fetched."""

    symbol = forms.ChoiceField(label="Pair", choices=symbol_choices)
    timeframe = forms.ChoiceField(label="Timeframe", choices=TIMEFRAMES, initial="15m")
    start = TimeField(label="From", required=False, help_text="UTC; empty: the series' own start")
    end = TimeField(label="To", required=False, help_text="UTC, exclusive; empty: now")
    source = forms.ChoiceField(label="Source", choices=SOURCES, initial="auto", required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        start, end = cleaned.get("start"), cleaned.get("end")
        if start is not None and end is not None and end <= start:
            self.add_error("end", "Must be after From.")
        return cleaned

    def to_job(self, *, owner: Any) -> Backfill:
        wanted = self.cleaned_data
        source = wanted["source"] or "auto"
        spec = {**{name: wanted[name] for name in ("symbol", "timeframe", "start", "end")}, "source": source}
        return Backfill(
            symbol=wanted["symbol"],
            timeframe=wanted["timeframe"],
            start=wanted["start"],
            end=wanted["end"],
            source=source,
            owner=owner,
            spec=spec,
        )


class PairForm(AccessibleForm):
    """A pair that is to be followed."""

    symbol = forms.CharField(label="Pair", max_length=24, widget=forms.TextInput(attrs={"placeholder": "SOLUSDT"}))
    wanted = forms.MultipleChoiceField(
        label="Timeframes",
        choices=TIMEFRAMES,
        widget=forms.CheckboxSelectMultiple,
        initial=[each.value for each in Timeframe],
    )

    def clean_symbol(self) -> str:
        return clean_symbol(self.cleaned_data["symbol"])

    @property
    def timeframes(self) -> list[Timeframe]:
        return [Timeframe(each) for each in self.cleaned_data["wanted"]]


class TimeframesForm(AccessibleForm):
    """Which timeframes of a known pair are followed; none pauses it."""

    wanted = forms.MultipleChoiceField(choices=TIMEFRAMES, required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, pair: Pair, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", f"{pair.symbol}-%s")
        kwargs.setdefault("initial", {"wanted": _active(pair)})
        super().__init__(*args, **kwargs)
        self.all = [each.value for each in timeframes_of(pair)]

    @property
    def timeframes(self) -> list[Timeframe]:
        return [Timeframe(each) for each in self.cleaned_data["wanted"]]


def _active(pair: Pair) -> list[str]:
    return [row.timeframe for row in pair.series.all() if row.is_active and pair.is_active]
