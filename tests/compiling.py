"""The engines' machine code in a run of several processes: compiled once, by one that begins with the run.

On a fresh clone that takes half a minute of a processor. Whoever needs an entry before it is there waits for it;
whoever starts processes of the service, which know nothing of this, waits for all.
"""

import fcntl
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent


def begin() -> Callable[[], None]:
    """Begin to compile, or to see that it has been done, in a process of its own; return what ends that."""
    process = subprocess.Popen([sys.executable, "-m", "tests.compiling"], cwd=_ROOT, stdin=subprocess.DEVNULL)

    def end() -> None:
        process.terminate()
        process.wait()

    return end


def await_end() -> None:
    """Wait until the process that compiles is through, where there is one."""
    with Path(__file__).open("rb") as source:
        fcntl.flock(source, fcntl.LOCK_SH)


def compile_in_turn() -> None:
    """Let one process at a time compile entries of a file while others wait, and load the machine code it kept."""
    # Imported here: a process that hands out tests and runs none needs no compiler.
    from numba.core.caching import NullCache
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.dispatcher import Dispatcher

    compile_ = Dispatcher.compile

    def in_turn(self: Any, signature: Any) -> Any:
        with global_compiler_lock:
            if isinstance(self._cache, NullCache):
                return compile_(self, signature)
            with _turn(self.py_func.__code__.co_filename):
                return compile_(self, signature)

    Dispatcher.compile = in_turn  # type: ignore[method-assign, assignment]


_held: set[str] = set()  # files; whoever changes it has numba's own lock, or is the only thread


@contextmanager
def _turn(file: str) -> Iterator[None]:
    if file in _held:
        yield
        return
    with Path(file).open("rb") as source:
        fcntl.flock(source, fcntl.LOCK_EX)
        _held.add(file)
        try:
            yield
        finally:
            _held.remove(file)


def _compile_all() -> None:
    from backtests.engine.run import run
    from backtests.engine.spec import BacktestSpec
    from markets.candles import Candles
    from markets.series import Timeframe
    from signals.engine import Detector, kernel
    from signals.evidence import EvidenceSpec, study
    from tests.factories import walk

    candles: Candles = walk(1, 2_000)
    # In one turn: to compile the second after the first takes a tenth of the time, for they have all parts in common.
    with _turn(kernel.__file__):
        detector = Detector()
        detector.run(candles.first(1_000))
        detector.step(candles.candle(1_000))
    run(candles, BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1m"}))
    study(candles, Timeframe.M1, EvidenceSpec(horizons=(12,), draws=100, with_conditions=True))


if __name__ == "__main__":
    gc.disable()  # as the command does
    compile_in_turn()
    with _turn(__file__):
        _compile_all()
