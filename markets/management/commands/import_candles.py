"""Takes in candles from a file: ``manage.py import_candles btc.csv --symbol BTCUSDT --timeframe 15m``."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from markets.errors import InvalidInputError
from markets.management.base import ProgressLine, SmcCommand, ensure_tables
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.services.recording import record
from markets.store import Source
from markets.store.foreign import read_foreign

_ROWS_A_STEP = 250_000


class Command(SmcCommand):
    help = (
        "Take in candles from a CSV or Parquet file, in any order; needs no exchange. What is stored already stays. "
        "Safe to repeat."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path",
            type=Path,
            help="Binance's 12-column CSV or its zip; or CSV or Parquet of "
            "open_time, open, high, low, close[, volume][, closed]",
        )
        parser.add_argument("--symbol", required=True, help="the pair, such as BTCUSDT")
        parser.add_argument("--timeframe", "--tf", required=True, help=", ".join(Timeframe))

    def run(self, **options: Any) -> None:
        series, path = SeriesKey.of(options["symbol"], options["timeframe"]), options["path"]
        if not path.is_file():
            raise InvalidInputError(f"there is no file {path}", field="path")
        candles, intake = read_foreign(path, series.timeframe)
        # The row first: a database that refuses ends the command here, with nothing stored that no page would show.
        ensure_tables()
        ensure_series(series)
        line, added = ProgressLine(self, str(series)), 0
        for low in range(0, len(candles), _ROWS_A_STEP):
            merged = record(series, candles.take(slice(low, low + _ROWS_A_STEP)), source=Source.FILE)
            added += merged.added
            line.show(min(1.0, (low + _ROWS_A_STEP) / len(candles)), f"{added:,} candles added")
        counts = (
            f"accepted={added} duplicate={intake.duplicate + len(candles) - added} "
            f"out_of_order={intake.out_of_order} malformed={intake.malformed}"
        )
        # Few files have such rows, and the line of those that have none is what scripts compare.
        self.stdout.write(f"{counts} unclosed={intake.unclosed}" if intake.unclosed else counts)
        self._show_gaps_between(series, int(candles.open_time[0]), int(candles.open_time[-1]))

    def _show_gaps_between(self, series: SeriesKey, first: int, last: int) -> None:
        coverage = candle_store().coverage(series)
        gaps = [gap for gap in coverage.gaps if first <= gap.start <= last] if coverage is not None else []
        self.stdout.write(f"gaps={len(gaps)}")
        self.show_gaps([(series, gap) for gap in gaps])
