"""Looks through every stored candle file: ``manage.py verify_store``."""

import json
from typing import Any

from django.core.management.base import CommandParser

from markets.management.base import ProgressLine, SmcCommand
from markets.moments import iso
from markets.selectors import candle_store
from markets.store import Verified


class Command(SmcCommand):
    help = (
        "Open every candle file: readable, undamaged, sorted, unique, on the grid, prices consistent, and say which "
        "candles lack. Changes nothing; works while the service runs. Ends with 1 when anything is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")

    def run(self, **options: Any) -> None:
        line = ProgressLine(self, "verify")
        found = candle_store().verify(report=lambda done, of: line.show(done / of, f"{done} of {of} series"))
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(found), indent=1))
        else:
            self._show(found)
        if found.problems:
            count = len(found.problems)
            self.fail(f"{count} problem{'s' if count > 1 else ''} in the store", returncode=1)

    def _show(self, found: Verified) -> None:
        for problem in found.problems:
            self.stdout.write(f"problem {problem.series} {problem.file}: {problem.reason}")
        self.show_gaps(found.gaps, are_named=True)
        self.stdout.write(
            f"files={found.files} candles={found.candles} gaps={len(found.gaps)} problems={len(found.problems)}"
        )


def _as_json(found: Verified) -> dict[str, Any]:
    return {
        "ok": not found.problems,
        "files": found.files,
        "candles": found.candles,
        "problems": [
            {"series": str(problem.series), "file": problem.file, "reason": problem.reason}
            for problem in found.problems
        ],
        "gaps": [
            {
                "series": str(series),
                "start": iso(gap.start),
                "end": iso(gap.end),
                "candles": gap.count(series.timeframe),
            }
            for series, gap in found.gaps
        ],
    }
