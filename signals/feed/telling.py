"""What the feed says of one series: its candles, what was found on them, what changed."""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError

from markets.candles import Candle
from markets.moments import milliseconds
from markets.selectors import tick_size
from markets.series import SeriesKey
from signals.push.channels import SIGNALS, candles_channel
from signals.push.messages import candle_body, mark_body, reset_body, signal_body
from signals.push.sender import Sender
from signals.services import Facts, MarkRow, SignalRow

# A pair's price step changes once in years; asking for it costs as much as writing a signal's row.
_STEP_SECONDS = 60.0


class Teller:
    """Puts facts of one series into messages and hands them to the sender."""

    def __init__(self, series: SeriesKey, sender: Sender) -> None:
        self._series = series
        self._channel = candles_channel(series)
        self._sender = sender
        self._step, self._step_asked_at = 0.0, -_STEP_SECONDS

    @property
    def is_watched(self) -> bool:
        """Whether anybody looks at the series' candles."""
        return self._sender.is_watched(self._channel)

    def forming(self, candle: Candle, preview: Facts) -> None:
        """Tell a candle as it stands, with what it would mean if it closed so."""
        text = candle_body(self._series, candle, is_closed=False, signals=preview.signals, marks=preview.marks)
        self._sender.send(self._channel, text, is_forming=True)

    def closed(self, candles: Sequence[Candle], facts: Facts) -> None:
        """Tell candles that closed, each with what was found on it."""
        for candle in candles:
            signals = [row for row in facts.signals if row.confirm_time == candle.open_time]
            marks = [row for row in facts.marks if row.time == candle.open_time]
            text = candle_body(self._series, candle, is_closed=True, signals=signals, marks=marks)
            self._sender.send(self._channel, text)

    def changed(self) -> None:
        """Tell that the series' candles are to be fetched again: many are new, or some are others."""
        self._sender.send(self._channel, reset_body(self._channel))

    def found(self, rows: Sequence[SignalRow], marks: Sequence[MarkRow], *, at: datetime, late: bool) -> None:
        """Tell what was entered into the ledger at that moment, and what became of what was entered before."""
        published_at = milliseconds(at)
        for row in rows:
            text = signal_body(row, published_at=published_at, late=late, tick_size=self._tick_size())
            self._sender.send(SIGNALS, text)
        for mark in marks:
            if mark.kind in settings.ENV.indicators:
                self._sender.send(SIGNALS, mark_body(mark))

    def revised(self) -> None:
        """Tell that signals which were told are marked as revised."""
        self._sender.send(SIGNALS, reset_body(SIGNALS))

    def _tick_size(self) -> float:
        now = time.monotonic()
        if now - self._step_asked_at >= _STEP_SECONDS:
            self._step_asked_at = now
            # What is entered in the ledger is told, with the digits known before if need be.
            with suppress(DatabaseError):
                self._step = tick_size(self._series.symbol)
        return self._step
