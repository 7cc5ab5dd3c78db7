"""Compiles the engines: ``manage.py compile_engines``. ``serve`` and the image's build run it."""

import gc
import time
from typing import Any

import numpy as np

from markets.candles import Candles
from markets.management.base import SmcCommand
from signals.engine import Detector


class Command(SmcCommand):
    help = "Compile the engines and keep the machine code on disk, so that no request and no candle waits for it."
    requires_system_checks = ()  # it touches no data

    def run(self, **options: Any) -> None:
        began = time.monotonic()
        gc.disable()  # to search what the compiler leaves for cycles takes an eighth of the time, and frees little
        times = np.arange(8, dtype=np.int64) * 60_000
        prices = np.full(8, 100.0)
        candles = Candles(times, prices, prices, prices, prices, prices)
        detector = Detector()
        detector.run(candles.first(7))
        detector.step(candles.candle(7))
        self.stdout.write(f"engines ready after {time.monotonic() - began:.1f} s")
