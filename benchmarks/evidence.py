"""How long a study takes: 100,000 candles, 500 draws, all kinds. ``python benchmarks/evidence.py``.

Compared in the same run with the null written the plain way: one numpy gather a draw.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._timing import seconds_of
from markets.series import Timeframe
from signals.engine import Detector, Params
from signals.evidence import EvidenceSpec, study
from signals.evidence.nulls import shifted_means
from signals.evidence.outcomes import average_true_ranges, forward_returns
from tests.factories import walk

CANDLES, DRAWS = 100_000, 500


def plain_shifted_means(values: np.ndarray, at: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return the mean of ``values`` at the shifted places, a draw at a time; NaN takes no part."""
    return np.array([np.nanmean(values[(at + shift) % len(values)]) for shift in shifts])


def main() -> None:
    candles = walk(1, CANDLES)
    spec = EvidenceSpec(draws=DRAWS)
    table_seconds = seconds_of(lambda: study(candles, Timeframe.M15, spec))
    print(f"evidence table, {CANDLES:,} candles, {DRAWS} draws, 72 rows: {table_seconds:.2f} s")
    signals = Detector(Params()).run(candles).table
    at = signals.column("confirm_idx").astype(np.int64)[:5_000]
    returns, _ = forward_returns(candles, average_true_ranges(candles, 14), 12)
    shifts = np.random.default_rng(0).integers(1, len(returns), DRAWS)
    at = at[at < len(returns)]
    ours = seconds_of(lambda: shifted_means(returns, at, shifts))
    plain = seconds_of(lambda: plain_shifted_means(returns, at, shifts))
    print(f"null of one row, {len(at):,} signals: {1000 * ours:.1f} ms; numpy a draw at a time: {1000 * plain:.1f} ms")
    print(f"ratio: {plain / ours:.1f}")


if __name__ == "__main__":
    main()
