"""How every command of the service behaves: exit codes, one clear line for a mistake, progress."""

import logging
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from markets.candles import Gap
from markets.errors import InvalidInputError, NoCandlesError, SmcError
from markets.moments import iso, parse_time
from markets.series import SeriesKey

# Work of few and long steps shows each at once.
_STEP = 0.05
_SHOWN_GAPS = 20
_ERASE = "\x1b[2K"


class SmcCommand(BaseCommand):
    """A command that ends 0 on success, 1 on failure with one line, 2 on bad arguments; never with a traceback
    for a user's mistake. Subclasses write ``run``. Standard output is for what it answers; one that is a part of the
    service (``is_service``) logs there, as all parts do.
    """

    is_service = False

    def run_from_argv(self, argv: list[str]) -> None:
        with nullcontext() if self.is_service else _logs_on_standard_error():
            super().run_from_argv(argv)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        # Django turns a bad argument into CommandError when called from code; here it always ends the command.
        parser.called_from_command_line = True
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.run(**options)
        except NoCandlesError as error:
            self.fail(str(error), returncode=1)
        except InvalidInputError as error:
            self.fail(str(error), returncode=2)
        except (SmcError, OSError) as error:
            self.fail(str(error), returncode=1)
        except DatabaseError as error:
            self.fail(told_by_database(error), returncode=1)
        except KeyboardInterrupt:
            self.fail("interrupted", returncode=1)

    def run(self, **options: Any) -> None:
        raise NotImplementedError

    def fail(self, message: str, *, returncode: int = 1) -> NoReturn:
        if self.stderr.isatty():
            self.stderr.write(_ERASE, ending="")  # a progress line that was under way
        raise CommandError(" ".join(message.split()), returncode=returncode)

    def show_gaps(self, gaps: Sequence[tuple[SeriesKey, Gap]], *, are_named: bool = False) -> None:
        """Write the first of the gaps, named by their series where that is not plain, and how many more there are."""
        for series, gap in gaps[:_SHOWN_GAPS]:
            name = f"{series} " if are_named else ""
            self.stdout.write(f"gap {name}{iso(gap.start)} x{gap.count(series.timeframe)}")
        if len(gaps) > _SHOWN_GAPS:
            self.stdout.write(f"and {len(gaps) - _SHOWN_GAPS} more gaps")


@contextmanager
def _logs_on_standard_error() -> Iterator[None]:
    """Let what is logged to standard output go to standard error meanwhile."""
    out, ours = sys.stdout, logging.getLogger().handlers
    moved = [each for each in ours if isinstance(each, logging.StreamHandler) and each.stream is out]
    for handler in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(out)


def told_by_database(error: DatabaseError) -> str:
    """Return what a command says when the database is away or lacks its tables."""
    return f"the database refuses: {error}; is it there and up to date (manage.py migrate)?"


def ensure_tables() -> None:
    """Make the tables of a data folder that was never served, so that a file can be imported before the first start."""
    if not connection.introspection.table_names():
        call_command("migrate", interactive=False, verbosity=0)


def moment(text: str) -> int:
    """Read a command's date argument as UTC ms."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise ArgumentTypeError(f"must be {error}") from None


def port_from(lowest: int) -> Callable[[str], int]:
    """Return the reader of a command's port argument; where 0 is allowed, it takes a free one."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and lowest <= int(text) <= 65_535):
            raise ArgumentTypeError(f"must be a port from {lowest} to 65535, was {text!r}")
        return int(text)

    return read


class ProgressLine:
    """Says how far long work is: one line that renews itself on a terminal, plain lines now and then elsewhere.

    Elsewhere quick work has a last line only, so that a mistake that shows at once is told in one line.
    """

    def __init__(self, command: BaseCommand, what: str) -> None:
        self._out = command.stderr
        self._what = what
        self._is_terminal = command.stderr.isatty()
        self._last_shown = 0.0 if self._is_terminal else time.monotonic()
        self._fraction = 0.0

    def show(self, fraction: float, detail: str = "") -> None:
        now = time.monotonic()
        is_step = self._is_terminal and fraction - self._fraction >= _STEP
        if now - self._last_shown < (0.1 if self._is_terminal else 5.0) and fraction < 1.0 and not is_step:
            return
        self._last_shown, self._fraction = now, fraction
        filled = int(24 * min(1.0, fraction))
        bar = f"[{'#' * filled}{'.' * (24 - filled)}] " if self._is_terminal else ""
        line = f"{self._what} {bar}{fraction:4.0%} {detail}".rstrip()
        ending = "\r" if self._is_terminal and fraction < 1.0 else "\n"
        self._out.write(f"{_ERASE}{line}" if self._is_terminal else line, ending=ending)
        self._out.flush()

    def erase(self) -> None:
        """Make room on a terminal for what was found."""
        if self._is_terminal:
            self._out.write(_ERASE, ending="")
            self._out.flush()
