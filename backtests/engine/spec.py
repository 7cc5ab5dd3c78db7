"""The specification of a run: every parameter with its type, bounds and meaning, in one place."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from backtests.engine.parameters import (
    Group,
    Parameter,
    choice,
    detector_parameters,
    flag,
    number,
    parameters_of,
    stored,
    unknown_name,
    whole,
)
from backtests.engine.strategies import STRATEGIES, Breakout, Random, Strategy, as_values, strategy_type
from markets.errors import InvalidInputError
from markets.series import EARLIEST, LATEST, SeriesKey, Timeframe
from signals.engine import Params

ENGINE_VERSION = 1

# What names the run itself; read at the doors, which know symbols and dates.
IDENTITY = ("symbol", "timeframe", "from", "to", "strategy")

_MAX_SYMBOLS = 50

_ACCOUNT, _COSTS, _EXITS = Group.ACCOUNT, Group.COSTS, Group.EXITS


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSpec:
    """What is to be run. A value that exists is valid; ``of`` reads one from flat names.

    ``start`` and ``end`` (exclusive) are UTC ms; None: the first stored candle, the end of the stored ones.
    Percentages, basis points and R are as traders write them; ``risk_fraction`` and its like are for the engine.
    """

    symbols: tuple[str, ...]
    timeframe: Timeframe
    start: int | None = None
    end: int | None = None
    strategy: Strategy = field(default_factory=Breakout)
    detector: Params = field(default_factory=Params)

    initial_capital: float = number(10_000.0, 1.0, 1e12, "capital at the start, quote currency", group=_ACCOUNT)
    risk_pct: float = number(
        1.0, 0.001, 100.0, "percent of the equity at the previous close that a stop costs", group=_ACCOUNT
    )
    max_leverage: float = number(1.0, 0.01, 125.0, "cap on the notional of open positions over equity", group=_ACCOUNT)
    max_positions: int = whole(1, 1, 100, "positions open at once, per pair", group=_ACCOUNT)
    direction: str = choice("both", ("both", "long", "short"), "which side is traded", group=_ACCOUNT)
    step_size: float | None = number(
        None, 0.0, 1e9, "quantity step, base currency; empty: the pair's when known; 0: no rounding", group=_ACCOUNT
    )
    tick_size: float | None = number(
        None, 0.0, 1e9, "price step, quote currency; empty: the pair's when known; 0: no rounding", group=_ACCOUNT
    )
    min_notional: float | None = number(
        None, 0.0, 1e12, "smallest order, quote currency; empty: the pair's when known; 0: none", group=_ACCOUNT
    )
    taker_fee_bps: float = number(10.0, 0.0, 1000.0, "fee of market and stop fills, basis points", group=_COSTS)
    maker_fee_bps: float = number(10.0, 0.0, 1000.0, "fee of limit and target fills, basis points", group=_COSTS)
    slippage_bps: float = number(2.0, 0.0, 1000.0, "against us on market and stop fills, basis points", group=_COSTS)
    spread_bps: float = number(0.0, 0.0, 1000.0, "bid to ask, half of it each side, basis points", group=_COSTS)
    target_r: float = number(2.0, 0.0, 1000.0, "distance of the target in R; 0: no target", group=_EXITS)
    max_bars: int = whole(0, 0, 1_000_000, "bars after which a position is closed at the open; 0: never", group=_EXITS)
    exit_on_opposite: bool = flag(False, "close at the next open after a signal against the position", group=_EXITS)
    break_even_r: float = number(
        0.0, 0.0, 1000.0, "gain in R at which the stop moves to the entry; 0: never", group=_EXITS
    )
    break_even_costs: bool = flag(True, "break-even is the entry plus the costs of both sides", group=_EXITS)
    trail_atr: float = number(
        0.0, 0.0, 1000.0, "distance in ATR at which the stop follows the best price; 0: it does not", group=_EXITS
    )
    partial_r: float = number(0.0, 0.0, 1000.0, "gain in R at which a part is closed; 0: never", group=_EXITS)
    partial_pct: float = number(50.0, 0.1, 99.9, "percent of the quantity closed at partial_r", group=_EXITS)
    touch_fills: bool = flag(False, "a price that only touches a target fills it", group=_EXITS)
    detail_timeframe: str | None = choice(
        None, tuple(Timeframe), "lower timeframe whose candles decide ambiguous bars; empty: none", group=_EXITS
    )

    def __post_init__(self) -> None:
        if not self.symbols or len(set(self.symbols)) != len(self.symbols) or len(self.symbols) > _MAX_SYMBOLS:
            raise InvalidInputError(f"symbol must name 1 to {_MAX_SYMBOLS} different pairs", field="symbol")
        for symbol in self.symbols:
            SeriesKey(symbol, self.timeframe)
        for parameter in parameters_of(type(self)):
            parameter.read(getattr(self, parameter.name))
        for parameter in parameters_of(type(self.strategy)):
            parameter.read(getattr(self.strategy, parameter.name))
        self._check_times()
        self._check_exits()

    def _check_times(self) -> None:
        for name, time in (("from", self.start), ("to", self.end)):
            if time is not None and not EARLIEST <= time <= LATEST:
                raise InvalidInputError(f"{name} must be a time before the year 2100, was {time}", field=name)
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise InvalidInputError("to must be after from", field="to")

    def _check_exits(self) -> None:
        if self.partial_r > 0 and 0 < self.target_r <= self.partial_r:
            raise InvalidInputError(
                f"partial_r must be below target_r, {self.target_r:g}, was {self.partial_r:g}", field="partial_r"
            )
        if self.detail is not None and self.detail.milliseconds >= self.timeframe.milliseconds:
            raise InvalidInputError(
                f"detail_timeframe must be below {self.timeframe.value}, was {self.detail.value}",
                field="detail_timeframe",
            )

    @property
    def detail(self) -> Timeframe | None:
        return None if self.detail_timeframe is None else Timeframe(self.detail_timeframe)

    @property
    def slip(self) -> float:
        """How much worse than the market a market fill is, a fraction: slippage and half the spread."""
        return (self.slippage_bps + self.spread_bps / 2.0) / 10_000.0

    @property
    def is_free_of_costs(self) -> bool:
        return self.taker_fee_bps == self.maker_fee_bps == self.slippage_bps == self.spread_bps == 0

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name what is run: equal specifications give equal reports."""
        text = json.dumps([ENGINE_VERSION, self.as_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def within(self, start: int, end: int) -> Self:
        """Return the same specification over another window (UTC ms)."""
        return replace(self, start=start, end=end)

    def as_dict(self) -> dict[str, Any]:
        """Return the flat JSON form, which ``of`` reads: every name that plays a part, with its value."""
        run = {each.name: getattr(self, each.name) for each in parameters_of(type(self))}
        flat = {
            "symbol": ",".join(self.symbols),
            "timeframe": self.timeframe.value,
            "from": self.start,
            "to": self.end,
            "strategy": self.strategy.name,
            **as_values(self.strategy),
            **run,
            **asdict(self.detector),
        }
        return {name: stored(value) for name, value in flat.items()}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read a specification from flat names; values are typed or text, lists separated by commas.

        Raises ``InvalidInputError`` for a name that means nothing here, with near matches, and for a bad value.
        """
        given = {name: value for name, value in values.items() if name not in IDENTITY}
        strategy = str(values.get("strategy") or Breakout.name)
        ours = parameters_for(strategy, compared=given.get("compared"))
        for name in given:
            if name not in ours:
                raise unknown_name("parameter", name, ours)
        read = {name: ours[name].read(value) for name, value in given.items()}
        detector = {name: read[name] for name in read if ours[name].group is Group.DETECTOR and read[name] is not None}
        chosen = {name: read[name] for name in read if ours[name].group is Group.STRATEGY}
        return cls(
            symbols=_symbols(values.get("symbol")),
            timeframe=Timeframe.parse(str(values.get("timeframe", ""))),
            start=values.get("from"),
            end=values.get("to"),
            strategy=_strategy(strategy, chosen),
            detector=Params.of(detector),
            **{name: read[name] for name in read if ours[name].group in (_ACCOUNT, _COSTS, _EXITS)},
        )


def _symbols(value: Any) -> tuple[str, ...]:
    if not value:
        raise InvalidInputError("symbol is missing", field="symbol")
    items = value.split(",") if isinstance(value, str) else list(value)
    # Sorted, so that the order in which pairs are named cannot change a result.
    return tuple(sorted(str(item).strip() for item in items))


def _strategy(name: str, chosen: dict[str, Any]) -> Strategy:
    kind = strategy_type(name)
    if kind is not Random:
        return kind(**chosen)
    compared = str(chosen.get("compared", Breakout.name))
    own = {each.name for each in parameters_of(Random)}
    inner = strategy_type(compared)(**{key: value for key, value in chosen.items() if key not in own})
    return Random(as_compared=inner, **{key: value for key, value in chosen.items() if key in own})


def parameters_for(strategy: str, *, compared: Any = None) -> dict[str, Parameter]:
    """Return every parameter of a run of ``strategy`` by name; random takes those of the compared one too."""
    kind = strategy_type(strategy)
    own = parameters_of(kind)
    if kind is Random:
        own += parameters_of(strategy_type(str(compared or Breakout.name)))
    return {each.name: each for each in (*own, *run_parameters())}


def run_parameters() -> tuple[Parameter, ...]:
    """Return the parameters that every run has, whatever its strategy: account, costs, exits, detector."""
    return (*parameters_of(BacktestSpec), *detector_parameters())


def all_parameters() -> dict[str, Parameter]:
    """Return every parameter of every strategy by name; where strategies share a name, the first one's."""
    found: dict[str, Parameter] = {}
    for strategy in STRATEGIES.values():
        for each in parameters_of(strategy):
            found.setdefault(each.name, each)
    return {**found, **{each.name: each for each in run_parameters()}}
