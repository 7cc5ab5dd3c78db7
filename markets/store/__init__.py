"""Closed candles in Parquet files: durable when told so, whole whenever read."""

from markets.store.clearing import ClearedUp
from markets.store.combining import Revised, Source
from markets.store.coverage import Coverage
from markets.store.shelf import Version
from markets.store.store import CandleStore, digest_of
from markets.store.verify import Problem, Verified
from markets.store.writing import Merged

__all__ = [
    "CandleStore",
    "ClearedUp",
    "Coverage",
    "Merged",
    "Problem",
    "Revised",
    "Source",
    "Verified",
    "Version",
    "digest_of",
]
