"""The signals by their definition: every rule of docs/concepts.md read literally, slow and without state.

Each signal and each of its marks is looked for in the whole list of candles, so this shares no structure
with the engine. It exists to be compared with.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from markets.candles import Candle
from signals.engine import Params

ORDER = ("IFVG", "BREAKER", "SWEEP", "STRUCTURE", "OB", "FVG", "SWING", "EQ")
NAN = math.nan


@dataclass
class Fact:
    kind: str
    direction: int
    event: int
    confirm: int
    ref: int
    level: float
    top: float = NAN
    bottom: float = NAN
    strength: float = 0.0
    tag: str = ""
    sequence: int = 0
    mitigated: int = -1
    filled: int = -1
    invalidated: int = -1
    range_pos: float = field(default=NAN, compare=False)

    @property
    def status(self) -> str:
        for name in ("invalidated", "filled", "mitigated"):
            if getattr(self, name) >= 0:
                return name
        return "active"


def ratio(a: float, b: float) -> float:
    return 0.0 if a <= 0 else 1.0 if b <= 0 else min(1.0, a / b)


class Definition:
    """All facts of ``candles`` under ``params``, in emission order."""

    def __init__(self, candles: list[Candle], params: Params) -> None:
        self.o = [c.open for c in candles]
        self.h = [c.high for c in candles]
        self.l = [c.low for c in candles]
        self.c = [c.close for c in candles]
        self.n = len(candles)
        self.p = params
        self.facts: list[Fact] = []
        self.pivots = {+1: self._pivots(+1), -1: self._pivots(-1)}
        for side in (+1, -1):
            self._swings(side)
            self._sweeps(side)
            self._equals(side)
        self._structure()
        self._gaps()
        for fact in self.facts:
            fact.range_pos = self.range_pos(fact.confirm)
        self.facts.sort(key=self._place)

    def _place(self, fact: Fact) -> tuple[int, ...]:
        group = "STRUCTURE" if fact.kind in ("BOS", "CHOCH") else fact.kind
        return (fact.confirm, ORDER.index(group), fact.sequence, -fact.direction, fact.event, fact.ref)

    # Mirrored columns: for side -1 prices change sign, so that every rule below is written for highs.
    def far(self, side: int, t: int) -> float:
        return self.h[t] if side > 0 else -self.l[t]

    def near(self, side: int, t: int) -> float:
        return self.l[t] if side > 0 else -self.h[t]

    def close(self, side: int, t: int) -> float:
        return side * self.c[t]

    def atr(self, t: int) -> float:
        total, first = 0.0, max(0, t - self.p.atr_period + 1)
        for j in range(first, t + 1):
            previous = self.c[j - 1] if j else None
            ranges = [self.h[j] - self.l[j]]
            if previous is not None:
                ranges += [abs(self.h[j] - previous), abs(self.l[j] - previous)]
            total += max(ranges)
        return total / (t + 1 - first)

    def body(self, t: int) -> float:
        return ratio(abs(self.c[t] - self.o[t]), self.h[t] - self.l[t])

    def first(self, after: int, test: Any) -> int:
        return next((t for t in range(after + 1, self.n) if test(t)), -1)

    def _pivots(self, side: int) -> list[int]:
        left, right = self.p.left, self.p.swing_length
        return [
            i
            for i in range(left, self.n - right)
            if all(self.far(side, i) > self.far(side, j) for j in range(i - left, i))
            and all(self.far(side, i) >= self.far(side, j) for j in range(i + 1, i + right + 1))
        ]

    def _swings(self, side: int) -> None:
        previous = None
        words = ("HH", "LH", "EH") if side > 0 else ("LL", "HL", "EL")
        for i in self.pivots[side]:
            x, t = self.far(side, i), i + self.p.swing_length
            tag = ""
            if previous is not None:
                tag = words[0] if x > previous else words[1] if x < previous else words[2]
            opposite = min(self.near(side, j) for j in range(i - self.p.left, t + 1))
            fact = Fact("SWING", side, i, t, i, side * x, tag=tag)
            fact.strength = 100 * ratio(x - opposite, 3 * self.atr(t))
            fact.mitigated = self.first(t, lambda j, x=x: self.far(side, j) > x)
            self.facts.append(fact)
            previous = x

    def _sweeps(self, side: int) -> None:
        for i in self.pivots[side]:
            x = self.far(side, i)
            taken = self.first(i + self.p.swing_length, lambda j, x=x: self.far(side, j) > x)
            if taken < 0 or 0 < self.p.level_max_age < taken - i:
                continue
            last = min(taken + self.p.sweep_bars, self.n)
            swept = next((s for s in range(taken, last) if self.close(side, s) <= x), -1)
            if swept < 0:
                continue
            bars = range(taken, swept + 1)
            extreme = max(self.far(side, j) for j in bars)
            spread = max(self.h[j] for j in bars) - min(self.l[j] for j in bars)
            edges = sorted((side * x, side * extreme))
            fact = Fact("SWEEP", -side, taken, swept, i, side * x, top=edges[1], bottom=edges[0])
            fact.tag = "wick" if swept == taken else "reclaim"
            fact.strength = 50 * ratio(extreme - x, self.atr(swept)) + 50 * ratio(
                extreme - self.close(side, swept), spread
            )
            fact.invalidated = self.first(swept, lambda j, e=extreme: self.far(side, j) > e)
            self.facts.append(fact)

    def _equals(self, side: int) -> None:
        touches = 1
        for a, b in zip(self.pivots[side], self.pivots[side][1:], strict=False):
            t = b + self.p.swing_length
            xa, xb = self.far(side, a), self.far(side, b)
            tolerance = self.p.eq_atr * self.atr(t)
            if abs(xa - xb) > tolerance:
                touches = 1
                continue
            touches += 1
            x = max(xa, xb)
            edges = sorted((side * xa, side * xb))
            fact = Fact("EQ", side, b, t, a, side * x, top=edges[1], bottom=edges[0], tag=str(touches))
            fact.strength = min(100.0, 50 * (1 - ratio(abs(xa - xb), tolerance)) + 25 * (touches - 1))
            fact.mitigated = self.first(t, lambda j, x=x: self.far(side, j) > x)
            if fact.mitigated >= 0 and self.close(side, fact.mitigated) > x:
                fact.invalidated = fact.mitigated
            self.facts.append(fact)

    def _reference(self, side: int, t: int, consumed: set[tuple[int, int]]) -> int | None:
        known = [i for i in self.pivots[side] if i + self.p.swing_length <= t - 1]
        if not known or (side, known[-1]) in consumed:
            return None
        return known[-1]

    def _structure(self) -> None:
        wick = self.p.break_mode == "wick"
        trend, consumed = 0, set[tuple[int, int]]()
        last_block: dict[int, int] = {}
        breaks: list[Fact] = []
        for t in range(self.n):
            sides = []
            for side in (+1, -1):
                i = self._reference(side, t, consumed)
                price = self.far(side, t) if wick else self.close(side, t)
                if i is not None and price > self.far(side, i):
                    sides.append((side, i, price))
            if len(sides) == 2 and self.c[t] >= self.o[t]:
                sides.reverse()
            for sequence, (side, i, price) in enumerate(sides):
                kind = "CHOCH" if trend == -side else "BOS"
                x = self.far(side, i)
                fact = Fact(kind, side, t, t, i, side * x, sequence=sequence)
                fact.tag = "ambiguous" if len(sides) == 2 else self.p.break_mode
                fact.strength = 50 * ratio(price - x, self.atr(t)) + 50 * self.body(t)
                trend = side
                consumed.add((side, i))
                breaks.append(fact)
                self.facts.append(fact)
                self._block(fact, last_block)
        for k, fact in enumerate(breaks):
            later = [other for other in breaks[k + 1 :] if other.direction == -fact.direction]
            fact.invalidated = later[0].confirm if later else -1
            side = fact.direction
            retest = self.first(fact.confirm, lambda j, s=side, f=fact: self.near(s, j) <= s * f.level)
            if retest >= 0 and (fact.invalidated < 0 or retest <= fact.invalidated):
                fact.mitigated = retest

    def _block(self, broken: Fact, last_block: dict[int, int]) -> None:
        side = broken.direction
        bars = range(broken.ref + 1, broken.confirm)
        m = min(bars, key=lambda j: (self.near(side, j), -j))
        if last_block.get(side) == m:
            return
        last_block[side] = m
        top, bottom = self.h[m], self.l[m]
        fact = Fact("OB", side, m, broken.confirm, broken.ref, (top + bottom) / 2, top, bottom, broken.strength)
        fact.tag, fact.sequence = broken.kind, broken.sequence
        self.facts.append(fact)
        self._live(fact, "BREAKER")

    def _gaps(self) -> None:
        for t in range(2, self.n):
            if self.l[t] > self.h[t - 2] and self.c[t - 1] > self.o[t - 1]:
                side, top, bottom = +1, self.l[t], self.h[t - 2]
            elif self.h[t] < self.l[t - 2] and self.c[t - 1] < self.o[t - 1]:
                side, top, bottom = -1, self.l[t - 2], self.h[t]
            else:
                continue
            gap = top - bottom
            if gap < self.p.fvg_min_atr * self.atr(t) or gap < self.p.fvg_min_pct / 100 * self.c[t - 1]:
                continue
            strength = 70 * ratio(gap, self.atr(t)) + 30 * self.body(t - 1)
            fact = Fact("FVG", side, t - 1, t, t - 2, (top + bottom) / 2, top, bottom, strength)
            self.facts.append(fact)
            self._live(fact, "IFVG")

    def _live(self, zone: Fact, turned: str) -> None:
        side = zone.direction
        near, far = (zone.top, zone.bottom) if side > 0 else (-zone.bottom, -zone.top)
        zone.mitigated = self.first(zone.confirm, lambda j: self.near(side, j) <= near)
        zone.filled = self.first(zone.confirm, lambda j: self.near(side, j) <= far)
        zone.invalidated = self.first(zone.confirm, lambda j: self.close(side, j) < far)
        if turned and zone.invalidated >= 0:
            j = zone.invalidated
            fact = Fact(turned, -side, j, j, zone.event, zone.level, zone.top, zone.bottom, zone.strength)
            self.facts.append(fact)
            self._live(fact, "")

    def range_pos(self, t: int) -> float:
        edges = {}
        for side in (+1, -1):
            known = [i for i in self.pivots[side] if i + self.p.swing_length <= t]
            if not known:
                return NAN
            edges[side] = max(self.far(side, j) for j in range(known[-1], t + 1))
        top, bottom = edges[+1], -edges[-1]
        return NAN if top == bottom else (self.c[t] - bottom) / (top - bottom)
