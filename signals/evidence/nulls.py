"""The null hypothesis: the same signals at other times.

All signals of a row are moved together around the circle of the range. Their directions and their
clustering stay, only their tie to the prices is cut.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from markets.candles import FloatArray
from signals.engine.compiled import entry
from signals.engine.table import IndexArray

_SIGMAS = 1.959963984540054  # of a 95 % interval

# Signals moved between two reports: a fraction of a second, whatever the length of a series.
_MOVES_A_REPORT = 100_000_000


def shifted_means(
    outcomes: FloatArray, at: IndexArray, shifts: IndexArray, tell: Callable[[], None] = lambda: None
) -> FloatArray:
    """Return the mean of ``outcomes``, shape (m,), at the candles ``at`` moved by each shift around the circle.

    ``tell`` is called now and then, and may raise to stop.
    """
    means = np.empty(len(shifts))
    step = max(1, _MOVES_A_REPORT // max(1, len(at)))
    for start in range(0, len(shifts), step):
        tell()
        part = slice(start, start + step)
        _shift(means[part], outcomes, at, shifts[part])
    return means


@entry
def _shift(means: Any, outcomes: Any, at: Any, shifts: Any) -> None:
    m = len(outcomes)
    for k in range(len(shifts)):
        total = 0.0
        for i in range(len(at)):
            moved = at[i] + shifts[k]
            total += outcomes[moved if moved < m else moved - m]
        means[k] = total / len(at)


@dataclass(frozen=True, slots=True)
class Judged:
    """An observed mean against its null. ``drift`` is the null's own mean: what the market gave anyone."""

    mean: float
    drift: float
    ci_low: float
    ci_high: float
    p_value: float


def judge(null: FloatArray, mean: float) -> Judged:
    """Compare ``mean`` with the means of its shifted signals.

    The p-value is two-sided: the share of shifts at least as far from the null's mean, the observation
    itself counted in, so it is never 0. The 95 % interval spans 1.96 standard deviations of the null, which
    know of overlapping windows and clustered signals as the textbook's standard error does not.
    """
    drift = float(null.mean())
    p_value = (1 + int((np.abs(null - drift) >= abs(mean - drift)).sum())) / (len(null) + 1)
    spread = _SIGMAS * float(null.std(ddof=1))
    return Judged(mean, drift, mean - spread, mean + spread, p_value)


def adjusted(p_values: list[float | None]) -> list[float | None]:
    """Return Benjamini and Hochberg's q-values over all that was looked at; None stays None."""
    known = [(p, i) for i, p in enumerate(p_values) if p is not None]
    q_values: list[float | None] = [None] * len(p_values)
    smallest = 1.0
    for rank, (p, i) in sorted(enumerate(sorted(known), start=1), reverse=True):
        smallest = min(smallest, p * len(known) / rank)
        q_values[i] = smallest
    return q_values


def wilson(hits: int, n: int) -> tuple[float, float] | None:
    """Return Wilson's 95 % interval of a share; None of nothing."""
    if n == 0:
        return None
    share, z2 = hits / n, _SIGMAS**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _SIGMAS * float(np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return middle - half, middle + half
