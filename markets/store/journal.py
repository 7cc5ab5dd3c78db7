"""The journal beside a Parquet file: candles later than all in it, each durable with one short write.

To write a whole day anew for every candle takes milliseconds that all who wait for a signal would wait as well. So a
live candle is appended here first, and a little later the file is written with all of them and the journal emptied.
Until then both together are what is stored. A reader takes the journal first and the file after it, so that what has
left the one is in the other; rows that are in both it takes from the file.
"""

import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from markets.candles import COLUMNS, FLOW_COLUMNS, Candles, Flow, join
from markets.store.files import Sheet, frozen
from markets.store.layout import Span, span_named

_SUFFIX = ".journal"
JOURNALS = f".*{_SUFFIX}"
_VALUES = np.dtype([("open_time", "<i8"), *((name, "<f8") for name in (*COLUMNS[1:], *FLOW_COLUMNS))])
_ROW = np.dtype([("values", _VALUES), ("check", "<u4")])
ROW_BYTES = _ROW.itemsize


class Journal(NamedTuple):
    """What stands in a journal. ``size`` counts its bytes, also those at its end that are no candle."""

    candles: Candles
    size: int

    @property
    def is_sound(self) -> bool:
        """Whether all of it is candles: a crash while one was appended, or damage, leaves something else."""
        return self.size == len(self.candles) * ROW_BYTES


NO_JOURNAL = Journal(Candles.empty(), 0)


@lru_cache(maxsize=16_384)
def journal_name(span: Span) -> str:
    """Return the name of the journal beside the file of ``span``."""
    return f".{span.name.removesuffix('.parquet')}{_SUFFIX}"


@lru_cache(maxsize=16_384)
def span_of_journal(name: str) -> Span | None:
    """Return the span whose journal has this name, None for any other name."""
    if not (name.startswith(".") and name.endswith(_SUFFIX)):
        return None
    return span_named(f"{name[1:].removesuffix(_SUFFIX)}.parquet")


def pack(candles: Candles) -> bytes:
    """Return candles as rows of a journal, each with its checksum."""
    flow = candles.flow if candles.flow is not None else Flow.unknown(len(candles))
    rows = np.empty(len(candles), _ROW)
    for name in COLUMNS:
        rows["values"][name] = getattr(candles, name)
    for name in FLOW_COLUMNS:
        rows["values"][name] = getattr(flow, name)
    rows["check"] = [zlib.crc32(row.tobytes()) for row in rows["values"]]
    return rows.tobytes()


def read_journal(path: Path) -> Journal:
    """Read a journal up to the first row that is not whole; one that is not there has no candles."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return NO_JOURNAL
    rows = np.frombuffer(data, _ROW, count=len(data) // ROW_BYTES)
    sound = [zlib.crc32(row.tobytes()) == check for row, check in zip(rows["values"], rows["check"], strict=True)]
    values = rows["values"][: sound.index(False) if False in sound else len(sound)]
    # A writer that lost its lock, and was late to notice, may have added what another had added already.
    values = values[values["open_time"] > np.append(-1, np.maximum.accumulate(values["open_time"])[:-1])]
    flow = Flow(*(np.ascontiguousarray(values[name]) for name in FLOW_COLUMNS))
    return Journal(Candles(*(np.ascontiguousarray(values[name]) for name in COLUMNS), flow=flow), len(data))


def with_journal(sheet: Sheet, journal: Journal) -> Sheet:
    """Return a file's content with that of its journal after it."""
    last = int(sheet.candles.open_time[-1])
    later = journal.candles.between(last + 1, None)
    if sheet.candles.flow is None:
        later = later.with_flow(None)
    candles = frozen(join((sheet.candles, later))) if len(later) else sheet.candles
    return Sheet(candles, sheet.edit, sheet.sequence, sheet.seal, is_sound=journal.is_sound)
