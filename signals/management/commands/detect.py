"""Runs the engine over stored candles: ``manage.py detect --symbol BTCUSDT --timeframe 15m --out signals.csv``."""

import os
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from django.core.management.base import CommandParser

from markets.candles import Candles
from markets.errors import InvalidInputError, NoCandlesError
from markets.management.base import ProgressLine, SmcCommand, moment
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from signals.engine import SCALES, Detector, Kind, Params
from signals.engine.params import BREAK_MODES
from signals.engine.table import UNSET, detect_columns

_WRITERS: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    ".csv": lambda table, path: table.to_csv(path, index=False, lineterminator="\n"),
    ".parquet": lambda table, path: table.to_parquet(path, index=False, compression="snappy"),
}
_NUMBERS = {
    "swing_length": int, "swing_left": int, "sweep_bars": int, "level_max_age": int, "atr_period": int,
    "eq_atr": float, "fvg_min_atr": float, "fvg_min_pct": float,
}  # fmt: skip
_OF_PIVOTS = ("swing_length", "swing_left")


class Command(SmcCommand):
    help = "Run the engine over stored candles and write one row a signal, in the order in which they were emitted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--symbol", required=True, help="the pair, such as BTCUSDT")
        parser.add_argument("--timeframe", "--tf", required=True, help=", ".join(Timeframe))
        parser.add_argument("--from", dest="start", type=moment, help="first candle fed (UTC); default: the first")
        parser.add_argument("--to", dest="end", type=moment, help="end of the candles fed, exclusive; default: all")
        fields = Params.__dataclass_fields__
        for name, kind in _NUMBERS.items():
            metadata = fields[name].metadata
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=kind,
                help=f"{metadata['meaning']}; {metadata['low']} to {metadata['high']}, default {fields[name].default}",
            )
        parser.add_argument("--break-mode", choices=BREAK_MODES, help=fields["break_mode"].metadata["meaning"])
        parser.add_argument(
            "--scales", type=_scales, help="such as internal,swing: runs each, and adds a column; default: one run"
        )
        parser.add_argument("--out", required=True, type=Path, help="the file to write, .csv or .parquet")

    def run(self, **options: Any) -> None:
        series = SeriesKey.of(options["symbol"], options["timeframe"])
        given = {name: options[name] for name in (*_NUMBERS, "break_mode") if options[name] is not None}
        runs = _runs(options["scales"], given)
        out: Path = options["out"]
        if out.suffix not in _WRITERS:
            raise InvalidInputError(f"--out must end in .csv or .parquet, was {str(out)!r}", field="out")
        start, end = options["start"], options["end"]
        if start is not None and end is not None and end <= start:
            raise InvalidInputError("--to must be after --from", field="to")
        line = ProgressLine(self, str(series))
        line.show(0.0, "reading candles")
        candles = candle_store().read(series, start=start, end=end)
        if not len(candles):
            where = " in the range" if (start, end) != (None, None) else ""
            raise NoCandlesError(f"nothing is stored of {series}{where}")
        line.show(0.1, f"finding signals in {len(candles):,} candles")
        table = _found(candles, runs)
        line.show(0.5, f"writing {len(table):,} signals")
        _write(table, out)
        line.show(1.0)
        self._tell(series, len(candles), table, out)

    def _tell(self, series: SeriesKey, candles: int, table: pd.DataFrame, out: Path) -> None:
        self.stdout.write(f"{series} candles={candles} signals={len(table)} written to {out}")
        counts = Counter(table["kind"])
        for kind in Kind:
            self.stdout.write(f"{kind.name} {counts[kind.name]}")


def _scales(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if len(set(names)) != len(names) or not set(names) <= set(SCALES):
        raise ArgumentTypeError(f"must be one or more of {', '.join(SCALES)} by comma, was {text!r}")
    return names


def _runs(scales: list[str] | None, given: dict[str, Any]) -> dict[str, Params]:
    """Return the parameters of each run. Given ones of pivots are the scale ``swing``'s; ``internal`` keeps its own."""
    if scales is None:
        return {"": Params.of(given)}
    of_pivots = {name: given[name] for name in _OF_PIVOTS if name in given}
    if of_pivots and "swing" not in scales:
        name = next(iter(of_pivots))
        flag = f"--{name.replace('_', '-')}"
        message = f"{flag} is for the scale swing, which is not among --scales; without --scales it is for the one run"
        raise InvalidInputError(message, field=name)
    shared = {name: value for name, value in given.items() if name not in of_pivots}
    runs = {scale: {**shared, "swing_length": SCALES[scale]} for scale in scales}
    if "swing" in runs:
        runs["swing"] |= of_pivots
    return {scale: Params.of(values) for scale, values in runs.items()}


def _found(candles: Candles, runs: dict[str, Params]) -> pd.DataFrame:
    tables = []
    for scale, params in runs.items():
        table = pd.DataFrame(detect_columns(Detector(params).run(candles).table))
        if scale:
            table.insert(0, "scale", scale)
        tables.append(table)
    joined = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    # By confirm bar; within one bar, scales in the order given, each in its own order.
    joined = joined.iloc[np.argsort(joined["confirm_idx"].to_numpy(), kind="stable")]
    for name in joined.columns:
        if name.endswith(("_idx", "_time")):
            joined[name] = joined[name].astype("Int64").mask(joined[name] == UNSET)
    return joined


def _write(table: pd.DataFrame, path: Path) -> None:
    """Write the whole file or nothing."""
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        _WRITERS[path.suffix](table, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
