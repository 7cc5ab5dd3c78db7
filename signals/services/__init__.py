"""Writes of signals: following a series candle by candle, and entering what was found into the ledger."""

from signals.log import MarkRow, SignalRow
from signals.services.ledger import enter_signals, mark_revised, note_told
from signals.services.tracking import Facts, Tracker, catch_up_series

__all__ = ["Facts", "MarkRow", "SignalRow", "Tracker", "catch_up_series", "enter_signals", "mark_revised", "note_told"]
