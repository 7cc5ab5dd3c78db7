"""What the market's pages ask of a person."""

from typing import Any

from django import forms

from markets.forms.fields import TIMEFRAMES, TimeField, clean_symbol, symbol_choices
from markets.forms.rendering import AccessibleForm
from markets.models import Backfill, Pair
from markets.selectors import timeframes_of
from markets.series import Timeframe

SOURCES = [("auto", "Archive, then REST"), ("archive", "Archive only"), ("rest", "REST only")]


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
