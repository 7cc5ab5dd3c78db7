"""Writes everything into one file: ``manage.py backup FILE``. The service may run meanwhile."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from markets.management.base import ProgressLine, SmcCommand
from smcsite.archiving import write_archive


class Command(SmcCommand):
    help = "Write candles, signals, reports, users and jobs into one file, readable by its owner alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the file to write; must not be there yet")

    def run(self, **options: Any) -> None:
        if not options["file"].absolute().parent.is_dir():
            self.fail(f"there is no folder {options['file'].absolute().parent}", returncode=2)
        written = write_archive(options["file"].absolute(), ProgressLine(self, "backup").show)
        self.stdout.write(f"{written.files} files, {written.size:,} bytes written to {options['file']}")
