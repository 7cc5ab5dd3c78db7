"""Fetches the candles a series lacks: ``manage.py backfill --symbol BTCUSDT --timeframe 1m --from 2023-01-01``."""

import time
from typing import Any

from django.core.management.base import CommandParser

from markets.management.base import ProgressLine, SmcCommand, ensure_tables, moment
from markets.moments import iso
from markets.series import SeriesKey, Timeframe
from markets.services.backfilling import BackfillSource, Filled, Plan, backfill, plan_backfill
from markets.services.exchange import open_exchange


class Command(SmcCommand):
    help = "Fetch the candles a series lacks, from the archive and by REST. Safe to end and start again at any time."
    requires_system_checks = ()  # they read every page, which costs a second and 100 MB

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--symbol", required=True, help="the pair, such as BTCUSDT")
        parser.add_argument("--timeframe", "--tf", required=True, help=", ".join(Timeframe))
        parser.add_argument(
            "--from", dest="start", type=moment, help="first day or moment (UTC); default: HISTORY_DAYS"
        )
        parser.add_argument("--to", dest="end", type=moment, help="end, exclusive; default: now")
        parser.add_argument("--source", choices=list(BackfillSource), default="auto", help="default: auto")
        parser.add_argument("--dry-run", action="store_true", help="show the plan and fetch nothing")

    def run(self, **options: Any) -> None:
        series = SeriesKey.of(options["symbol"], options["timeframe"])
        ensure_tables()
        exchange = open_exchange()
        plan = plan_backfill(
            exchange, series, start=options["start"], end=options["end"], source=BackfillSource(options["source"])
        )
        self._show_plan(plan)
        if options["dry_run"]:
            return
        line, began = ProgressLine(self, str(series)), time.monotonic()

        def report(fraction: float, stage: str) -> None:
            elapsed = time.monotonic() - began
            eta = f", {elapsed * (1 - fraction) / fraction:.0f} s left" if 0.01 < fraction < 1 else ""
            line.show(fraction, f"{stage}{eta}")

        self._show_result(series, backfill(exchange, plan, report), seconds=time.monotonic() - began)

    def _show_plan(self, plan: Plan) -> None:
        for note in plan.notes:
            self.stdout.write(note)
        rest = "" if plan.source == BackfillSource.ARCHIVE else ", the rest by REST"
        self.stdout.write(
            f"{plan.series} {iso(plan.start)} to {iso(plan.end)}: {plan.candles:,} candles missing in "
            f"{len(plan.missing)} ranges; {len(plan.files)} archive files{rest}"
        )

    def _show_result(self, series: SeriesKey, filled: Filled, *, seconds: float) -> None:
        rate = f", {filled.added / seconds:,.0f} a second" if filled.added and seconds else ""
        for reason in filled.left_out:
            self.stdout.write(reason)
        self.stdout.write(f"added={filled.added} revised={filled.revised} gaps={len(filled.gaps)}{rate}")
        self.show_gaps([(series, gap) for gap in filled.gaps])
