"""Reads of signals: lists as of any moment, counts, context, zones, and the ledger."""

from signals.log import SignalRow
from signals.selectors.context import NearZone, context, contexts, zones_near
from signals.selectors.courses import Bias, bias
from signals.selectors.ledger import ledger
from signals.selectors.listing import SignalFilter, SignalPage, signal, signals
from signals.selectors.logs import fresh_view, signal_log, stored_series
from signals.selectors.once import newest_once, once_each
from signals.selectors.summaries import summary, total

__all__ = [
    "Bias", "NearZone", "SignalFilter", "SignalPage", "SignalRow", "bias", "context", "contexts", "fresh_view",
    "ledger", "newest_once", "once_each", "signal", "signal_log", "signals", "stored_series", "summary", "total",
    "zones_near",
]  # fmt: skip
