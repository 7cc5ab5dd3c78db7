"""Closed candles as columns, and the rules that decide what becomes one."""

from markets.candles.columns import (
    COLUMNS,
    FLOW_COLUMNS,
    PRICE_COLUMNS,
    BoolArray,
    Candle,
    CandleFlow,
    Candles,
    FloatArray,
    Flow,
    TimeArray,
    join,
)
from markets.candles.gaps import Gap, find_gaps
from markets.candles.intake import Intake, take_file_rows
from markets.candles.resampling import resample

__all__ = [
    "COLUMNS",
    "FLOW_COLUMNS",
    "PRICE_COLUMNS",
    "BoolArray",
    "Candle",
    "CandleFlow",
    "Candles",
    "FloatArray",
    "Flow",
    "Gap",
    "Intake",
    "TimeArray",
    "find_gaps",
    "join",
    "resample",
    "take_file_rows",
]
