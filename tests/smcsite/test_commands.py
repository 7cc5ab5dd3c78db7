"""What commands say to a shell: the answer on standard output, the rest on standard error, no trace for a mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from django.conf import settings

from markets.series import Timeframe
from tests.environment import NOWHERE
from tests.factories import walk

pytestmark = pytest.mark.processes

OF_SERIES = ("--symbol", "FARUSDT", "--timeframe", "15m")


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a data folder, where no Redis is."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATA_DIR": str(folder), "REDIS_URL": f"redis://{NOWHERE}", **variables},
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
