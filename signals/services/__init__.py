"""Writes of signals: following a series candle by candle, and publishing what was found."""

from signals.log import MarkRow, SignalRow
from signals.services.publishing import mark_revised, publish, settle
from signals.services.tracking import Facts, Tracker, catch_up_series

__all__ = ["Facts", "MarkRow", "SignalRow", "Tracker", "catch_up_series", "mark_revised", "publish", "settle"]
