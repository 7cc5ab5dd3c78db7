"""What a study may be asked."""

from dataclasses import dataclass, field

from markets.errors import InvalidInputError
from signals.engine import Params
from signals.evidence.conditions import MOST_CONDITIONS

MAX_DRAWS, MAX_HORIZON, MAX_HORIZONS = 10_000, 1_000, 12
MAX_SEED = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSpec:
    """What to study. Times are UTC ms; signals are chosen by confirm time, ``start`` <= time < ``end``.

    ``horizons`` are candles, ``draws`` the shifts of the null, ``split`` the first moment of the
    out-of-sample part. Raises ``InvalidInputError`` for values out of range.
    """

    start: int | None = None
    end: int | None = None
    horizons: tuple[int, ...] = (4, 12, 24, 48)
    draws: int = 500
    seed: int = 0
    split: int | None = None
    with_conditions: bool = False
    params: Params = field(default_factory=Params)

    def __post_init__(self) -> None:
        if not self.horizons or len(self.horizons) > MAX_HORIZONS:
            raise InvalidInputError(f"1 to {MAX_HORIZONS} horizons, were {len(self.horizons)}", field="horizons")
        if any(not 1 <= each <= MAX_HORIZON for each in self.horizons):
            raise InvalidInputError(f"a horizon is 1 to {MAX_HORIZON} candles, were {self.horizons}", field="horizons")
        if not 100 <= self.draws <= MAX_DRAWS:
            raise InvalidInputError(f"draws must be from 100 to {MAX_DRAWS:,}, was {self.draws}", field="draws")
        if not 0 <= self.seed <= MAX_SEED:
            raise InvalidInputError(f"seed must be from 0 to {MAX_SEED:,}, was {self.seed}", field="seed")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise InvalidInputError("to must be after from", field="to")

    def moves(self, candles: int) -> int:
        """Return how often the null of a study of so many candles moves a signal, were there one at each candle.

        A study takes about a nanosecond a move.
        """
        tables = 1 + (self.split is not None) + MOST_CONDITIONS * self.with_conditions
        return candles * len(self.horizons) * self.draws * tables
