"""What an analysis is: options, a plan of pieces, the work on one piece, and the whole that is made of them."""

import math
from collections.abc import Mapping, Sequence
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


def whole_option(options: Mapping[str, Any], name: str, *, default: int, low: int, high: int) -> int:
    """Read a whole number from the options."""
    value = options.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, str) and value.strip().isdigit() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInputError(
            f"{name} must be a whole number from {low} to {high}, was {str(value)[:40]!r}", field=name
        )
    return value


def estimate(runs: int, candles: int) -> dict[str, Any]:
    """Return that there are to be ``runs`` over ``candles`` each, and about how many seconds of one core they take."""
    return {"runs": runs, "candles": candles, "seconds": math.ceil(runs * (_RUN_SECONDS + _CANDLE_SECONDS * candles))}
