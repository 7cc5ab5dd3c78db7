"""One signal with what led to it and what became of it."""

from dataclasses import dataclass
from typing import Any

from markets.candles import Candles
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from signals.log import SignalRow
from signals.models import PublishedSignal
from signals.selectors.context import context
from signals.selectors.ledger import NATURAL_KEY, ledger, natural_key
from signals.selectors.listing import SignalFilter, signals

_BEFORE, _AFTER = 40, 30
_CHAIN_BARS = 120
_BREAKS, _ZONES = ("BOS", "CHOCH"), ("OB", "FVG")
# Of what one candle tells, in which order it is read.
_ORDER = {"SWEEP": 0, "BOS": 1, "CHOCH": 1, "OB": 2, "FVG": 2, "IFVG": 3, "BREAKER": 3}


@dataclass(frozen=True, slots=True)
class SignalStory:
    """``chain`` holds related signals in order of time, the signal itself among them; ``higher`` the trends above it.

    ``candles`` are those around it, for a picture; ``published`` is the row of the ledger, if it was shown live.
    """

    row: SignalRow
    chain: tuple[SignalRow, ...]
    higher: dict[str, Any]
    candles: Candles
    published: PublishedSignal | None


def story(row: SignalRow) -> SignalStory:
    """Return what there is to tell of a signal."""
    step = row.timeframe.milliseconds
    around = candle_store().read(
        row.series,
        start=min(row.event_time, max(row.ref_time, row.event_time - _BEFORE * step)) - 8 * step,
        end=row.confirm_time + _AFTER * step,
    )
    above = [each for each in Timeframe if each.minutes > row.timeframe.minutes]
    stored = [each for each in above if candle_store().last_time(SeriesKey(row.symbol, each)) is not None]
    published = ledger(row.series).filter(**dict(zip(NATURAL_KEY, natural_key(row), strict=True)))
    return SignalStory(row, _chain(row), context(row, stored), around, published.first())


def _chain(row: SignalRow) -> tuple[SignalRow, ...]:
    """Return the sweep, the break and the zone of the same direction and scale that stand nearest to ``row``."""
    step = row.timeframe.milliseconds
    near = SignalFilter(
        symbol=row.symbol,
        timeframe=row.timeframe,
        scale=row.scale,
        direction=row.direction,
        kinds=frozenset({"SWEEP", *_BREAKS, *_ZONES}),
        start=row.confirm_time - _CHAIN_BARS * step,
        end=row.confirm_time + 1,
    )
    earlier = signals(near, limit=200).rows
    links = [row]
    for kinds in (("SWEEP",), _BREAKS, _ZONES):
        if row.kind not in kinds:
            links += [each for each in earlier if each.kind in kinds and each.id != row.id][:1]
    return tuple(sorted(links, key=lambda each: (each.confirm_time, _ORDER.get(each.kind, 0))))
