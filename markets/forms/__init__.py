"""Forms: what they are made of in every app, and those of the market's pages."""

from markets.forms.fields import TIMEFRAMES, TimeField, clean_symbol, symbol_choices
from markets.forms.markets import BackfillForm, PairForm, TimeframesForm
from markets.forms.rendering import AccessibleForm

__all__ = [
    "TIMEFRAMES",
    "AccessibleForm",
    "BackfillForm",
    "PairForm",
    "TimeField",
    "TimeframesForm",
    "clean_symbol",
    "symbol_choices",
]
