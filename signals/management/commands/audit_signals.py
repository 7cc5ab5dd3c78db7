"""Compares what was logged and published with what the candles say: ``manage.py audit_signals --symbol BTCUSDT …``."""

from typing import Any

from django.core.management.base import CommandParser

from markets.management.base import ProgressLine, SmcCommand
from markets.series import SeriesKey, Timeframe
from signals.services.auditing import audit

_SHOWN = 50


class Command(SmcCommand):
    help = "Find a series' signals anew from its stored candles and compare with the log and the ledger."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--symbol", required=True, help="the pair, such as BTCUSDT")
        parser.add_argument("--timeframe", "--tf", required=True, help=", ".join(Timeframe))

    def run(self, **options: Any) -> None:
        series = SeriesKey.of(options["symbol"], options["timeframe"])
        line = ProgressLine(self, str(series))
        result = audit(series, line.show)
        line.erase()
        for difference in result.differences[:_SHOWN]:
            self.stdout.write(difference)
        if len(result.differences) > _SHOWN:
            self.stdout.write(f"and {len(result.differences) - _SHOWN} more")
        self.stdout.write(
            f"{series} candles={result.candles} signals={result.signals} marks={result.marks} "
            f"published={result.published} revised={result.revised} differences={len(result.differences)}"
        )
        if result.differences:
            self.fail(f"{len(result.differences)} differences between {series} as told and its candles")
