"""What a process that finds signals for long does before it begins."""

import gc

from markets.candles import Candles
from signals.engine import Detector


def load_engine() -> None:
    """Load the engine's machine code now, not while a candle or a job waits: half a second and 70 MB.

    It is half a million objects to Python, which stay. Python's search for cycles stops everything for 0.3 s when it
    comes by all of them, so they are put aside.
    """
    Detector().run(Candles.empty())
    gc.collect()
    gc.freeze()
