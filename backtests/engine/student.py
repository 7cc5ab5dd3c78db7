"""Student's t distribution, as tests of a mean use it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def two_sided_p(t: Any, degrees: Any) -> NDArray[np.float64]:
    """Return how likely a ``t`` at least this far from 0 is by chance, for ``degrees`` of freedom; both broadcast."""
    # Every command would wait a third of a second for it, and most never ask.
    from scipy.special import stdtr  # noqa: PLC0415

    p: NDArray[np.float64] = 2.0 * stdtr(degrees, -np.abs(t))
    return p
