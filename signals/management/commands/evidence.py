"""Measures what signals were worth: ``manage.py evidence --symbol BTCUSDT --timeframe 15m``."""

import json
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from markets.management.base import ProgressLine, SmcCommand, moment
from markets.series import SeriesKey, Timeframe
from signals.engine import SCALES, scale_params
from signals.evidence import EvidenceSpec
from signals.services.evidence import evidence_json, study_series

_DEFAULT = EvidenceSpec()
_COLUMNS = (
    "kind", "direction", "horizon", "n", "mean_atr", "mean_pct", "hit_rate", "ci_low", "ci_high", "p_value", "q_value",
)  # fmt: skip


class Command(SmcCommand):
    help = "Measure what followed the signals of a stored series, against the same signals at other times."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--symbol", required=True, help="the pair, such as BTCUSDT")
        parser.add_argument("--timeframe", "--tf", required=True, help=", ".join(Timeframe))
        parser.add_argument("--from", dest="start", type=moment, help="first confirm time; default: the first candle")
        parser.add_argument("--to", dest="end", type=moment, help="end, exclusive; no candle after it is read")
        parser.add_argument(
            "--horizons", type=whole_numbers, default=_DEFAULT.horizons, help="candles; default: 4,12,24,48"
        )
        parser.add_argument("--draws", type=int, default=_DEFAULT.draws, help="random shifts of the null; default: 500")
        parser.add_argument("--seed", type=int, default=_DEFAULT.seed, help="of the random shifts; default: 0")
        parser.add_argument("--split", type=moment, help="where the out-of-sample part begins")
        parser.add_argument("--scale", choices=list(SCALES), default="internal", help="default: internal")
        parser.add_argument(
            "--conditions", action="store_true", help="also split by strength, range, session and trend"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, **options: Any) -> None:
        series = SeriesKey.of(options["symbol"], options["timeframe"])
        spec = EvidenceSpec(
            start=options["start"],
            end=options["end"],
            horizons=options["horizons"],
            draws=options["draws"],
            seed=options["seed"],
            split=options["split"],
            with_conditions=options["conditions"],
            params=scale_params(options["scale"]),
        )
        line = ProgressLine(self, str(series))
        told = evidence_json(series, study_series(series, spec, report=line.show))
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=2, allow_nan=False))
            return
        self._show_table(told["rows"])
        if told["conditions"]:
            self.stdout.write("")
            self._show_table(told["conditions"], extra=("condition", "value"))
        self.stdout.write("")
        self.stdout.write("Read q, not p: it allows for how many rows were looked at. See docs/evidence.md.")

    def _show_table(self, rows: list[dict[str, Any]], *, extra: tuple[str, ...] = ()) -> None:
        columns = (*_COLUMNS, *extra)
        self.stdout.write(" ".join(f"{name:>13}" for name in columns))
        for row in rows:
            if row.get("sample", "all") == "all" and row["n"]:
                self.stdout.write(" ".join(f"{_text(row[name]):>13}" for name in columns))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers separated by commas."""
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"must be whole numbers separated by commas, was {text!r}") from None
