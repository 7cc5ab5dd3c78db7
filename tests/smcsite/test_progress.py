"""How far a command is: a bar on a terminal, plain lines elsewhere, and never among what it prints."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from markets.store import Source
from tests.factories import walk

pytestmark = pytest.mark.django_db

SERIES = SeriesKey.of("FARUSDT", "15m")
OF_SERIES = ("--symbol", SERIES.symbol, "--timeframe", "15m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def series(data_root: Path) -> None:
    candle_store().merge(SERIES, walk(4, 3_000, timeframe=SERIES.timeframe), source=Source.FILE)
    ensure_series(SERIES)


def called(name: str, *arguments: str, told: io.StringIO) -> str:
    """Return what a command prints; how far it is goes to ``told``."""
    printed = io.StringIO()
    call_command(name, *arguments, stdout=printed, stderr=told)
    return printed.getvalue()


@pytest.mark.parametrize("name", ["backtest", "detect", "audit_signals", "scan"])
def test_a_command_draws_a_bar_on_a_terminal(name: str, tmp_path: Path) -> None:
    arguments = {
        "backtest": (*OF_SERIES, "--out-dir", str(tmp_path)),
        "detect": (*OF_SERIES, "--out", str(tmp_path / "found.csv")),
        "audit_signals": OF_SERIES,
        "scan": ("--timeframe", "15m"),
    }[name]
    told = Terminal()
    printed = called(name, *arguments, told=told)
    assert "[####" in told.getvalue()
    assert "[####" not in printed


def test_elsewhere_quick_work_says_in_one_line_that_it_is_done(tmp_path: Path) -> None:
    told = io.StringIO()
    called("detect", *OF_SERIES, "--out", str(tmp_path / "found.csv"), told=told)
    assert told.getvalue() == f"{SERIES} 100%\n"


def test_json_is_all_that_is_printed() -> None:
    told = Terminal()
    printed = called("scan", "--timeframe", "15m", "--json", told=told)
    assert [row["symbol"] for row in json.loads(printed)["results"]] == [SERIES.symbol]
    assert "1 of 1 pairs" in told.getvalue()


def test_a_failure_leaves_no_bar_behind_its_line(tmp_path: Path) -> None:
    told = Terminal()
    with pytest.raises(CommandError):
        called("detect", *OF_SERIES, "--out", str(tmp_path / "no" / "found.csv"), told=told)
    assert told.getvalue().endswith("\r\x1b[2K")


def test_a_mistake_is_one_line_where_there_is_no_terminal(tmp_path: Path) -> None:
    told = io.StringIO()
    with pytest.raises(CommandError, match="nothing is stored"):
        called("detect", "--symbol", "NONEUSDT", "--tf", "15m", "--out", str(tmp_path / "found.csv"), told=told)
    assert told.getvalue() == ""
