"""What commands say to a shell: the answer on standard output, the rest on standard error, no trace for a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from django.conf import settings
from django.core.management import call_command

from markets.series import Timeframe
from tests.environment import NOWHERE, service_variables
from tests.factories import walk

pytestmark = pytest.mark.processes

OF_SERIES = ("--symbol", "FARUSDT", "--timeframe", "15m")


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a data folder, where no Redis is."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=service_variables(folder, REDIS_URL=f"redis://{NOWHERE}") | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_but_the_answer_is_on_standard_output_while_redis_is_away(tmp_path: Path) -> None:
    candles = walk(4, 3_000, timeframe=Timeframe.M15)
    columns = ("open_time", "open", "high", "low", "close", "volume")
    pd.DataFrame({name: getattr(candles, name) for name in columns}).to_parquet(tmp_path / "candles.parquet")
    run(tmp_path, "import_candles", str(tmp_path / "candles.parquet"), *OF_SERIES).check_returncode()
    for command in (("scan", "--timeframe", "15m"), ("evidence", *OF_SERIES), ("verify_store",)):
        ended = run(tmp_path, *command, "--json")
        assert ended.returncode == 0, ended
        assert json.loads(ended.stdout), command
    scanned = run(tmp_path, "scan", "--timeframe", "15m", "--json")
    assert "the cache is away" in scanned.stderr


def test_an_account_before_the_tables_are_made_is_refused_in_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    ended = run(tmp_path, "createsuperuser", "--noinput", "--username", "alice", "--email", "alice@example.org")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("CommandError: the database refuses: no such table")
    assert "manage.py migrate" in ended.stderr
    assert "MARKET_SOURCE=replay" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("value", ["99999999", "65536", "-1", "٨٠٨٠", "http"])
@pytest.mark.parametrize("name", ["serve", "runstream", "replay_exchange"])
def test_what_is_no_port_ends_a_command_with_2(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command(name, f"--port={value}")
    assert ended.value.code == 2
    assert f"to 65535, was {value!r}" in capsys.readouterr().err


def test_only_an_exchange_may_take_a_free_port(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("serve", "runstream"):
        with pytest.raises(SystemExit):
            call_command(name, "--port", "0")
        assert "must be a port from 1 to 65535" in capsys.readouterr().err
