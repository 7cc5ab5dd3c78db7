"""What a series has and what it lacks, by arithmetic over open times."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from markets.candles import Gap, TimeArray, find_gaps
from markets.series import Timeframe


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is stored of a series: its first and last open time (UTC ms), how many candles, what lacks between."""

    first: int
    last: int
    count: int
    gaps: tuple[Gap, ...]


class Stretch(NamedTuple):
    """The same of one file."""

    rows: int
    first: int
    last: int
    gaps: tuple[Gap, ...]

    @classmethod
    def of(cls, times: TimeArray, timeframe: Timeframe) -> "Stretch":
        return cls(len(times), int(times[0]), int(times[-1]), tuple(find_gaps(times, timeframe)))


def add_up(stretches: Iterable[Stretch], timeframe: Timeframe) -> Coverage | None:
    """Return the coverage of files that do not overlap."""
    ordered = sorted((each for each in stretches if each.rows), key=lambda each: each.first)
    if not ordered:
        return None
    gaps: list[Gap] = list(ordered[0].gaps)
    for before, after in pairwise(ordered):
        if before.last + timeframe.milliseconds < after.first:
            gaps.append(Gap(before.last + timeframe.milliseconds, after.first))
        gaps += after.gaps
    return Coverage(ordered[0].first, ordered[-1].last, sum(each.rows for each in ordered), tuple(gaps))
