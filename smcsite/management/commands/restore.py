"""Unpacks a backup into an empty data folder: ``manage.py restore FILE``."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from markets.management.base import ProgressLine, SmcCommand
from smcsite.archiving import unpack_archive


class Command(SmcCommand):
    help = "Unpack a backup into an empty DATA_DIR; every file is checked against its digest."
    requires_system_checks = ()  # there is no database yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="what `backup` wrote")

    def run(self, **options: Any) -> None:
        if not options["file"].is_file():
            self.fail(f"there is no file {options['file']}", returncode=2)
        unpacked = unpack_archive(options["file"], ProgressLine(self, "restore").show)
        self.stdout.write(f"{unpacked.files} files restored from {options['file']}")
