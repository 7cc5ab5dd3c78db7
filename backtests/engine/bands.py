"""Monte Carlo: where the equity could have gone with the same trades in another order, or drawn anew in blocks."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.candles import FloatArray, TimeArray

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_POINTS = 200
# Draws are made some at a time, so that a run of many trades does not fill the memory.
_NUMBERS_AT_ONCE = 4_000_000


class Resampling(StrEnum):
    """``SHUFFLE`` keeps the trades and changes their order; ``BLOCK`` draws stretches of them with replacement."""

    SHUFFLE = "shuffle"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """Quantiles of equity over trades. ``at`` numbers of trades, ``quantiles`` of shape (5, len(at))."""

    at: NDArray[np.int64]
    quantiles: FloatArray
    final: FloatArray
    drawdown: FloatArray

    def as_json(self) -> dict[str, Any]:
        names = [f"{q:g}" for q in _QUANTILES]
        levels = (0.05, 0.5, 0.95)
        return {
            "trade": self.at.tolist(),
            "equity": dict(zip(names, self.quantiles.tolist(), strict=True)),
            "final_equity": dict(zip(("0.05", "0.5", "0.95"), np.quantile(self.final, levels).tolist(), strict=True)),
            "max_drawdown_pct": dict(
                zip(("0.05", "0.5", "0.95"), (100.0 * np.quantile(self.drawdown, levels)).tolist(), strict=True)
            ),
        }


def bands(
    exit_time: TimeArray, net: FloatArray, capital: float, *, draws: int, seed: int, resampling: Resampling
) -> Bands | None:
    """Return the bands of an account that makes trades' returns in another order; None without trades, or ruined.

    A trade's return is its net result over the account before it, by order of exit, so that results compound.
    """
    net = net[np.argsort(exit_time, kind="stable")]
    before = capital + np.concatenate([[0.0], np.cumsum(net)[:-1]])
    if not len(net) or (before <= 0).any():
        return None
    returns = np.maximum(net / before, -1.0)
    n = len(returns)
    at = np.unique(np.linspace(0, n, min(n + 1, _POINTS)).astype(np.int64))
    rng = np.random.default_rng(seed)
    picked, final, drawdown = [], [], []
    step = max(1, _NUMBERS_AT_ONCE // n)
    for first in range(0, draws, step):
        growth = np.cumprod(1.0 + _drawn(returns, min(step, draws - first), rng, resampling), axis=1)
        curve = capital * np.concatenate([np.ones((len(growth), 1)), growth], axis=1)
        picked.append(curve[:, at])
        final.append(curve[:, -1])
        drawdown.append((1.0 - curve / np.maximum.accumulate(curve, axis=1)).max(axis=1))
    quantiles = np.quantile(np.concatenate(picked), _QUANTILES, axis=0)
    return Bands(at, quantiles, np.concatenate(final), np.concatenate(drawdown))


def _drawn(returns: FloatArray, draws: int, rng: np.random.Generator, resampling: Resampling) -> FloatArray:
    n = len(returns)
    if resampling is Resampling.SHUFFLE:
        return rng.permuted(np.broadcast_to(returns, (draws, n)), axis=1)
    # Blocks of about the root of the count keep runs of wins and losses together; they wrap around the end.
    size = max(1, round(n**0.5))
    starts = rng.integers(0, n, (draws, -(-n // size)))
    places = (starts[:, :, None] + np.arange(size)) % n
    drawn: FloatArray = returns[places.reshape(draws, -1)[:, :n]]
    return drawn
