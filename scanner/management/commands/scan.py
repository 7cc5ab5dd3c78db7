"""Ranks the stored pairs by volatility: ``manage.py scan --timeframe 1h --top 20``."""

import json
from typing import Any

from django.core.management.base import CommandParser

from markets.errors import NoCandlesError
from markets.management.base import ProgressLine, SmcCommand
from markets.series import Timeframe
from scanner.engine.volatility import Metric
from scanner.selectors import ranking
from scanner.serializers import ranked_json

_COLUMNS = ("rank", "symbol", "atr_pct", "realized_vol", "range_pct", "vs_median", "relative_volume", "change_24h_pct")


class Command(SmcCommand):
    help = "Rank the stored pairs by volatility, the most volatile first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--timeframe", "--tf", required=True, help=", ".join(Timeframe))
        parser.add_argument("--top", type=int, help="show only so many; default: all")
        parser.add_argument("--metric", choices=list(Metric), default=Metric.ATR.value, help="default: atr_pct")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, **options: Any) -> None:
        timeframe = Timeframe.parse(options["timeframe"])
        if options["top"] is not None and options["top"] < 1:
            self.fail(f"--top must be 1 or more, was {options['top']}", returncode=2)
        line = ProgressLine(self, f"scan {timeframe.value}")
        found = ranking(timeframe, metric=Metric(options["metric"]), top=options["top"], report=line.show)
        for each in found.skipped:
            self.stderr.write(f"{each.symbol} skipped: {each.reason}")
        if not found.rows:
            raise NoCandlesError(f"nothing is stored for {timeframe.value}")
        rows = [ranked_json(row, found) for row in found.rows]
        if options["json"]:
            self.stdout.write(json.dumps({"results": rows}, indent=2))
            return
        self.stdout.write("  ".join(f"{name:>14}" for name in _COLUMNS))
        for row in rows:
            self.stdout.write("  ".join(f"{_text(row[name]):>14}" for name in _COLUMNS))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
