"""What a synthetic pair is like: its price level, its steps, its volatility and how much it trades."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markets.replay.market import Listing, split_symbol

# Price level, decimals of price and quantity, daily volatility (fraction), trades a minute.
_KNOWN = {
    "BTCUSDT": (60_000.0, 2, 5, 0.026, 1500.0),
    "ETHUSDT": (3_000.0, 2, 4, 0.033, 1100.0),
    "BNBUSDT": (600.0, 2, 3, 0.029, 300.0),
    "SOLUSDT": (150.0, 2, 3, 0.045, 500.0),
    "XRPUSDT": (0.6, 4, 0, 0.038, 260.0),
    "ADAUSDT": (0.5, 4, 1, 0.041, 150.0),
    "DOGEUSDT": (0.15, 5, 0, 0.048, 220.0),
    "LTCUSDT": (85.0, 2, 3, 0.036, 90.0),
}


@dataclass(frozen=True, slots=True)
class Character:
    """The constants of a synthetic pair.

    ``level`` is the price it returns to over the years (quote currency), ``daily_volatility`` a fraction,
    ``trades_per_minute`` and ``trade_size`` (quote currency) are of a usual minute.
    """

    listing: Listing
    key: NDArray[np.uint64]
    level: float
    daily_volatility: float
    trades_per_minute: float
    trade_size: float

    def generator(self, stream: int) -> np.random.Generator:
        """Return the random numbers of this pair number ``stream``: equal in every process, at any time."""
        counter = np.array([0, 0, 0, stream], np.uint64)
        return np.random.Generator(np.random.Philox(key=self.key, counter=counter))


def character_of(symbol: str, *, seed: int) -> Character:
    """Return what ``symbol`` is like in the market of ``seed``; the well-known ones are near their real selves."""
    digest = hashlib.blake2b(f"{seed}:{symbol}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, np.uint64)
    level, price_decimals, step_decimals, volatility, trades = _KNOWN.get(symbol) or _drawn(key)
    listing = Listing(symbol, *split_symbol(symbol), price_decimals, step_decimals)
    return Character(listing, key, level, volatility, trades, trade_size=400.0)


def _drawn(key: NDArray[np.uint64]) -> tuple[float, int, int, float, float]:
    random = np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 1, 0], np.uint64)))
    level = float(10 ** random.uniform(-2, 2.5))
    magnitude = math.floor(math.log10(level))
    volatility = float(random.uniform(0.03, 0.065))
    trades = float(10 ** random.uniform(0.3, 2.5))
    return level, max(2, 4 - magnitude), max(0, 1 + magnitude), volatility, trades
