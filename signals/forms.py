"""What the pages about signals ask of a person."""

from typing import Any

from django import forms

from markets.forms import TIMEFRAMES, AccessibleForm, TimeField, symbol_choices
from signals.engine import SCALES
from signals.models import Study
from signals.serializers import EvidenceQuery

SCALE_CHOICES = [(name, f"{name} ({length} bars)") for name, length in SCALES.items()]


class StudyForm(AccessibleForm):
    """What is to be studied; the same fields as the API's, read by the API's serializer."""

    symbol = forms.ChoiceField(label="Pair", choices=symbol_choices)
    timeframe = forms.ChoiceField(label="Timeframe", choices=TIMEFRAMES, initial="15m")
    scale = forms.ChoiceField(label="Structure", choices=SCALE_CHOICES, initial="internal", required=False)
    start = TimeField(label="From", required=False, help_text="UTC; empty: all that is stored")
    end = TimeField(label="To", required=False, help_text="UTC, exclusive")
    split = TimeField(label="Out of sample from", required=False, help_text="the same rows before and after this day")
    conditions = forms.BooleanField(label="Split by conditions", required=False)

    def to_query(self) -> EvidenceQuery:
        """Return the question as the API reads it, valid already; raise what the API raises."""
        names = {"symbol": "symbol", "timeframe": "timeframe", "scale": "scale", "split": "split"}
        asked: dict[str, Any] = {name: self.data.get(own) for name, own in names.items() if self.data.get(own)}
        asked |= {name: self.data.get(own) for name, own in (("from", "start"), ("to", "end")) if self.data.get(own)}
        query = EvidenceQuery(data={**asked, "conditions": bool(self.cleaned_data["conditions"])})
        query.is_valid(raise_exception=True)
        return query

    def to_job(self, *, owner: Any) -> Study:
        query = self.to_query()
        series = query.series
        return Study(symbol=series.symbol, timeframe=series.timeframe.value, owner=owner, spec=query.to_json())
