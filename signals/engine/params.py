"""The detector's parameters: what they mean, which values they take, and their digest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from markets.errors import InvalidInputError

BREAK_MODES = ("close", "wick")

# The two scales that are computed live: swing_length of each (docs/concepts.md#scales).
SCALES = {"internal": 5, "swing": 50}


def _whole(default: int | None, low: int, high: int, meaning: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning})


def _number(default: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"low": 0.0, "high": high, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Parameters of one detector run. Raises ``InvalidInputError`` for a value out of range."""

    swing_length: int = _whole(5, 1, 1000, "bars to the right of a pivot that must not exceed it")
    swing_left: int | None = _whole(
        None, 0, 1000, "bars to the left of a pivot that must stay below it; as swing_length"
    )
    break_mode: str = field(default="close", metadata={"choices": BREAK_MODES, "meaning": "what breaks a level"})
    atr_period: int = _whole(14, 1, 500, "true ranges in the average true range")
    fvg_min_atr: float = _number(0.0, 100.0, "smallest fair value gap, in ATR")
    fvg_min_pct: float = _number(0.0, 100.0, "smallest fair value gap, in percent of the middle close")
    sweep_bars: int = _whole(1, 1, 100, "bars within which a sweep must close back, the piercing bar included")
    level_max_age: int = _whole(500, 0, 1_000_000, "oldest level that can be swept, in bars; 0: no limit")
    eq_atr: float = _number(0.1, 100.0, "largest distance of equal highs or lows, in ATR")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            if "choices" in each.metadata:
                if value not in each.metadata["choices"]:
                    raise InvalidInputError(
                        f"{each.name} must be one of {', '.join(each.metadata['choices'])}, was {value!r}",
                        field=each.name,
                    )
                continue
            low, high = each.metadata["low"], each.metadata["high"]
            is_right_type = isinstance(value, (int, float) if isinstance(low, float) else int)
            if not is_right_type or isinstance(value, bool) or not low <= value <= high:
                noun = "a number" if isinstance(low, float) else "a whole number"
                raise InvalidInputError(
                    f"{each.name} must be {noun} from {low} to {high}, was {value!r}", field=each.name
                )

    @property
    def left(self) -> int:
        """Bars to the left of a pivot, resolved."""
        return self.swing_length if self.swing_left is None else self.swing_left

    @property
    def digest(self) -> str:
        """Eight hex digits that name these parameters."""
        canonical = {**asdict(self), "swing_left": self.left}
        canonical = {name: float(value) if isinstance(value, float) else value for name, value in canonical.items()}
        return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()[:8]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping; an unknown name is an error that lists the known ones."""
        known = {each.name for each in fields(cls)}
        for name in values:
            if name not in known:
                raise InvalidInputError(
                    f"unknown detector parameter {name!r}; one of {', '.join(sorted(known))}", field=name
                )
        floats = {each.name for each in fields(cls) if isinstance(each.metadata.get("low"), float)}
        return cls(**{name: _as_float(value) if name in floats else value for name, value in values.items()})


def _as_float(value: Any) -> Any:
    # A whole number is a fine value for a real parameter, and 0 and 0.0 must have one digest.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def scale_params(scale: str) -> Params:
    """Return the parameters of a live scale, ``internal`` or ``swing``."""
    if scale not in SCALES:
        raise InvalidInputError(f"unknown scale {scale!r}; one of {', '.join(SCALES)}", field="scale")
    return Params(swing_length=SCALES[scale])
