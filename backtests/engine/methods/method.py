"""What an analysis is: options, a plan of pieces, the work on one piece, and the whole that is made of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from backtests.engine.bench import Bench
from backtests.engine.spec import BacktestSpec
from markets.errors import InvalidInputError

# Measured on a loaded core with 15m breakout: a run, and a candle of a run. A run alone takes more: it reads its
# candles, finds their signals and writes a report, while those of an analysis share signals and keep their headlines.
_RUN_SECONDS, _CANDLE_SECONDS = 0.006, 1.5e-7

# JSON: pieces and results are rows of the database.
Piece = dict[str, Any]
Options = dict[str, Any]


class Method(Protocol):
    """An analysis. All are pure: equal inputs give equal pieces and equal results."""

    name: ClassVar[str]
    meaning: ClassVar[str]
    option_names: ClassVar[tuple[str, ...]]

    def read(self, spec: BacktestSpec, options: Mapping[str, Any]) -> Options:
        """Return the options in full; raise ``InvalidInputError`` for those that make no analysis of ``spec``."""
        ...

    def plan(self, spec: BacktestSpec, options: Options) -> list[Piece]:
        """Return the pieces, each a few seconds of work at most."""
        ...

    def runs(self, spec: BacktestSpec, options: Options) -> int:
        """Return how many runs it takes, for the estimate and the cap."""
        ...

    def work(self, bench: Bench, spec: BacktestSpec, piece: Piece) -> dict[str, Any]:
        """Do one piece."""
        ...

    def combine(
        self, spec: BacktestSpec, options: Options, pieces: Sequence[Piece], results: Sequence[dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Put results together; None stands for a piece that is not done yet."""
        ...


@dataclass(frozen=True, slots=True)
class WholeOption:
    """A whole number in [low, high] among the options of an analysis."""

    name: str
    default: int
    low: int
    high: int

    def read(self, options: Mapping[str, Any]) -> int:
        """Return what the options say, or the default where they say nothing."""
        value = options.get(self.name)
        if value is None or value == "":
            return self.default
        if isinstance(value, str) and value.strip().isdigit() and len(value) < 12:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise InvalidInputError(
                f"{self.name} must be a whole number from {self.low} to {self.high}, was {str(value)[:40]!r}",
                field=self.name,
            )
        return value


# Of methods that draw: equal seeds draw the same.
SEED = WholeOption("seed", default=0, low=0, high=10**9)


def estimate(runs: int, candles: int) -> dict[str, Any]:
    """Return that there are to be ``runs`` over ``candles`` each, and about how many seconds of one core they take."""
    return {"runs": runs, "candles": candles, "seconds": math.ceil(runs * (_RUN_SECONDS + _CANDLE_SECONDS * candles))}
