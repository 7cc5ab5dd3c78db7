"""How the benchmarks take times: of several runs, by the clock or by the processor."""

import time
from collections.abc import Callable
from statistics import median


def seconds_of(work: Callable[[], object], *, rounds: int = 5) -> float:
    """Return the clock's median time of some rounds, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times)


def best(work: Callable[[], object], *, times: int) -> float:
    """Return the processor's seconds of the best run."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)
