"""The strategies: small classes that turn signals into orders. To add one, write its class here and a docs entry.

A strategy's fields are its parameters; ``orders`` sees the whole run and may use only what each order's confirm
bar knows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from backtests.engine.market import Market
from backtests.engine.orders import Orders, orders_of
from backtests.engine.parameters import choice, number, several, unknown_name, whole
from markets.candles import FloatArray
from signals.engine.kinds import Kind
from signals.engine.table import UNSET, IndexArray

S = TypeVar("S", bound="type[Strategy]")

STRATEGIES: dict[str, type["Strategy"]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """What a strategy is: a name, a sentence, parameters as fields, and orders."""

    name: ClassVar[str]
    meaning: ClassVar[str]

    def orders(self, market: Market) -> Orders:
        """Return an order a trigger, whatever the window and the direction wanted, in order of emission."""
        raise NotImplementedError


def registered(name: str, meaning: str) -> Callable[[S], S]:
    """Make a strategy known under ``name``."""

    def register(strategy: S) -> S:
        strategy.name, strategy.meaning = name, meaning
        STRATEGIES[name] = strategy
        return strategy

    return register


def strategy_type(name: str) -> "type[Strategy]":
    """Return the strategy's class; an unknown name is an error with near matches."""
    if name not in STRATEGIES:
        error = unknown_name("strategy", name, STRATEGIES)
        error.field = "strategy"
        raise error
    return STRATEGIES[name]


@registered("breakout", "enters in the direction of a break of structure or change of character")
@dataclass(frozen=True, slots=True, kw_only=True)
class Breakout(Strategy):
    kinds: tuple[str, ...] = several(("BOS", "CHOCH"), "breaks that are traded")
    stop: str = choice(
        "atr", ("atr", "structure"), "stop at a distance in ATR, or at the newest pivot of the opposite side"
    )
    stop_atr: float = number(2.0, 0.01, 100.0, "distance of the stop from the fill in ATR, when stop is atr")

    def orders(self, market: Market) -> Orders:
        signals = market.rows(*(Kind[kind] for kind in self.kinds))
        if self.stop == "structure":
            return orders_of(market, signals, stop=newest_pivots(market, signals))
        return orders_of(market, signals, stop_atr=self.stop_atr)


@registered("sweep_reversal", "enters in the direction of a liquidity sweep, with the stop beyond its extreme")
@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReversal(Strategy):
    stop_buffer_atr: float = number(0.1, 0.0, 100.0, "distance of the stop beyond the sweep's extreme, in ATR")

    def orders(self, market: Market) -> Orders:
        signals = market.rows(Kind.SWEEP)
        return orders_of(market, signals, stop=beyond_zone(market, signals, self.stop_buffer_atr))


@registered("fvg_retest", "waits with a limit in the middle of a fair value gap for its retest")
@dataclass(frozen=True, slots=True, kw_only=True)
class FvgRetest(Strategy):
    min_strength: float = number(50.0, 0.0, 100.0, "weakest gap that is traded, 0 to 100")
    stop_buffer_atr: float = number(0.1, 0.0, 100.0, "distance of the stop beyond the zone's far edge, in ATR")
    ttl_bars: int = whole(50, 1, 10_000, "bars that the limit waits")

    def orders(self, market: Market) -> Orders:
        gaps = market.rows(Kind.FVG)
        rows = market.table.rows
        signals = gaps[rows["strength"][gaps] >= self.min_strength]
        return orders_of(
            market,
            signals,
            stop=beyond_zone(market, signals, self.stop_buffer_atr),
            limit=np.ascontiguousarray(rows["level"][signals]),
            last_bar=lives_until(market, signals, rows["confirm_idx"][signals] + self.ttl_bars),
        )


@registered("sweep_choch_retest", "after a sweep and a change of character, waits for the retest of the zone between")
@dataclass(frozen=True, slots=True, kw_only=True)
class SweepChochRetest(Strategy):
    sequence_bars: int = whole(20, 1, 10_000, "bars within which the change of character follows the sweep")
    stop_buffer_atr: float = number(0.1, 0.0, 100.0, "distance of the stop beyond the sweep's extreme, in ATR")
    ttl_bars: int = whole(50, 1, 10_000, "bars that the limit waits")

    def orders(self, market: Market) -> Orders:
        changes = market.rows(Kind.CHOCH)
        sweeps = newest_before(market, changes, (Kind.SWEEP,), bars=self.sequence_bars)
        changes, sweeps = changes[sweeps >= 0], sweeps[sweeps >= 0]
        rows = market.table.rows
        side = rows["direction"][changes]
        extreme = np.where(side > 0, rows["bottom"][sweeps], rows["top"][sweeps])
        stop = extreme - side * self.stop_buffer_atr * market.atr(rows["confirm_idx"][changes])
        zone = self._zones(market, changes, sweeps)
        limit = np.where(zone >= 0, rows["level"][zone], np.nan)
        last_bar = lives_until(market, zone, rows["confirm_idx"][changes] + self.ttl_bars)
        return orders_of(market, changes, stop=stop, limit=limit, last_bar=last_bar)

    def _zones(self, market: Market, changes: IndexArray, sweeps: IndexArray) -> IndexArray:
        """Return the zone that each change of character's limit waits in, or -1: enter at the market."""
        rows = market.table.rows
        since = rows["confirm_idx"][sweeps]
        gaps = newest_before(market, changes, (Kind.FVG,), since=since, is_alive=True)
        blocks = newest_before(market, changes, (Kind.OB,), since=since, is_alive=True)
        return np.where(gaps >= 0, gaps, blocks)


@registered("random", "the null benchmark: the compared strategy's entries at random bars, with the same stops")
@dataclass(frozen=True, slots=True, kw_only=True)
class Random(Strategy):
    """Its orders are drawn by ``backtests.engine.null`` from the compared run's trades."""

    compared: str = choice("breakout", tuple(STRATEGIES), "strategy whose entries are compared with chance")
    seed: int = whole(0, 0, 2**31 - 1, "seed of the draw")
    as_compared: Strategy = field(default_factory=Breakout)

    def orders(self, market: Market) -> Orders:
        return self.as_compared.orders(market)


def newest_pivots(market: Market, signals: IndexArray) -> FloatArray:
    """Return the price of the newest pivot on the side of the stop that each signal's bar knows.

    Where there is none the stop is beyond reach of any price, so that the entry is refused.
    """
    rows = market.table.rows
    pivots = np.flatnonzero(rows["kind"] == Kind.SWING)
    side, bar = rows["direction"][signals], rows["confirm_idx"][signals]
    found = np.where(side > 0, np.inf, -np.inf)
    for direction in (1, -1):
        # Pivots of one side are confirmed in the order of their bars, so the last confirmed is the newest.
        opposite = pivots[rows["direction"][pivots] == -direction]
        at = np.searchsorted(rows["confirm_idx"][opposite], bar, side="right") - 1
        ours = (side == direction) & (at >= 0)
        found[ours] = rows["level"][opposite[at[ours]]]
    return found


def beyond_zone(market: Market, signals: IndexArray, buffer_atr: float) -> FloatArray:
    """Return the stop beyond the far edge of each signal's zone: its bottom for longs, its top for shorts."""
    rows = market.table.rows[signals]
    buffer = buffer_atr * market.atr(rows["confirm_idx"].astype(np.int64))
    return np.where(rows["direction"] > 0, rows["bottom"] - buffer, rows["top"] + buffer)


def lives_until(market: Market, zones: IndexArray, last_bar: IndexArray) -> IndexArray:
    """Return ``last_bar``, or the bar that invalidates the zone (number, -1: none) where that comes first."""
    ended = market.table.life_cycle().invalidated_idx[zones]
    return np.where((zones >= 0) & (ended != UNSET), np.minimum(ended, last_bar), last_bar).astype(np.int64)


def newest_before(
    market: Market,
    signals: IndexArray,
    kinds: tuple[int, ...],
    *,
    bars: int | None = None,
    since: IndexArray | None = None,
    is_alive: bool = False,
) -> IndexArray:
    """Return for each signal the newest one of ``kinds`` and of its direction known at its bar, or -1.

    It is confirmed at most ``bars`` before, or not before ``since``; with ``is_alive`` not yet invalidated.
    """
    rows = market.table.rows
    bar = rows["confirm_idx"]
    earliest = since if since is not None else bar[signals] - (bars or 0)
    ended = market.table.life_cycle().invalidated_idx if is_alive else None
    found = np.full(len(signals), -1, np.int64)
    for direction in (1, -1):
        those = market.rows(*kinds)
        those = those[rows["direction"][those] == direction]
        last = np.searchsorted(bar[those], bar[signals], side="right") - 1
        for k in np.flatnonzero(rows["direction"][signals] == direction):
            at = int(last[k])
            while at >= 0 and bar[those[at]] >= earliest[k]:
                if ended is None or ended[those[at]] == UNSET or ended[those[at]] > bar[signals[k]]:
                    found[k] = those[at]
                    break
                at -= 1
    return found


def strategy_fields(kind: "type[Strategy]") -> set[str]:
    return {each.name for each in fields(kind)}


def as_values(strategy: Strategy) -> dict[str, Any]:
    """Return the parameters of a strategy by name, those of the compared one included."""
    values = {name: getattr(strategy, name) for name in sorted(strategy_fields(type(strategy)))}
    inner = values.pop("as_compared", None)
    return {**as_values(inner), **values} if inner is not None else values
