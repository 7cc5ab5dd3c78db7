"""import_candles and verify_store as a user meets them: one line, an exit code, and candles that pages can show."""

import json
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from markets.models import Pair, Series
from markets.selectors import candle_store, known_series
from markets.series import SeriesKey
from tests.factories import shared_file, walk
from tests.markets.store.disks import folder

QUARTER = SeriesKey.of("BTCUSDT", "15m")
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_root")]


def csv(n: int = 300, *, skip: slice = slice(0, 0)) -> str:
    rows = list(walk(1, n, timeframe=QUARTER.timeframe))
    del rows[skip]
    return "\n".join(",".join(map(str, each)) for each in rows)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    call_command(*map(str, arguments))
    return capsys.readouterr().out.splitlines()


def fails(*arguments: object) -> tuple[int, str]:
    with pytest.raises(CommandError) as told:
        call_command(*map(str, arguments))
    return told.value.returncode, str(told.value)


def imported(path: Path, symbol: str = "BTCUSDT", timeframe: str = "15m") -> list[object]:
    return ["import_candles", path, "--symbol", symbol, "--timeframe", timeframe]


def test_a_real_year_is_taken_in_once_with_its_one_gap(capsys: pytest.CaptureFixture[str]) -> None:
    path = shared_file("candles/BTCUSDT-15m-2023.parquet")
    gap = ["gaps=1", "gap 2023-03-24T12:45:00Z x5"]
    assert run(capsys, *imported(path)) == ["accepted=34994 duplicate=0 out_of_order=0 malformed=0", *gap]
    assert run(capsys, *imported(path)) == ["accepted=0 duplicate=34994 out_of_order=0 malformed=0", *gap]
    assert candle_store().edit(QUARTER) == 0


def test_what_is_taken_in_gets_its_rows_and_is_not_streamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text(csv())
    run(capsys, *imported(tmp_path / "file"))
    assert known_series() == [QUARTER]
    assert not Pair.objects.get().is_active
    assert not Series.objects.get().is_active


def test_counts_are_of_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = csv(10).splitlines()
    (tmp_path / "file").write_text("\n".join([*lines[5:], *lines[:6], "dirt", lines[3]]))
    line, *_ = run(capsys, *imported(tmp_path / "file"))
    assert line == "accepted=10 duplicate=2 out_of_order=2 malformed=1"


def test_a_candle_that_was_still_forming_is_told_and_not_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{line},{closed}" for line, closed in zip(csv(3).splitlines(), ("true", "true", "false"), strict=True)]
    (tmp_path / "file").write_text("\n".join(["open_time,open,high,low,close,volume,closed", *lines]))
    line, *_ = run(capsys, *imported(tmp_path / "file"))
    assert line == "accepted=2 duplicate=0 out_of_order=0 malformed=0 unclosed=1"
    assert (
        candle_store().read(QUARTER, start=None, end=None).open_time.tolist()
        == walk(1, 2, timeframe=QUARTER.timeframe).open_time.tolist()
    )


def test_many_gaps_are_told_shortly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("\n".join(csv(100).splitlines()[::3]))
    _, count, *gaps, more = run(capsys, *imported(tmp_path / "file"))
    assert count == "gaps=33"
    assert len(gaps) == 20
    assert more == "and 13 more gaps"


@pytest.mark.parametrize("content", ["", "dirt\ndirt\ndirt", "open_time,open,high,low,close\nx,1,2,1,2"])
def test_a_file_without_candles_ends_with_1_and_writes_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    code, line = fails(*imported(tmp_path / "file"))
    assert code == 1
    assert str(tmp_path / "file") in line
    assert "\n" not in line
    assert not Pair.objects.exists()
    assert not [*settings.DATA_ROOT.iterdir()]


def test_bad_arguments_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text(csv())
    for arguments in (
        imported(tmp_path / "absent"),
        imported(tmp_path),
        imported(tmp_path / "file", symbol="btc/usdt"),
        imported(tmp_path / "file", timeframe="3m"),
        imported(tmp_path / "file", timeframe="1h"),
    ):
        code, line = fails(*arguments)
        assert code == 2
        assert "\n" not in line
    for missing in (["import_candles"], ["import_candles", "x", "--symbol", "BTCUSDT"], ["verify_store", "--what"]):
        with pytest.raises(SystemExit) as ended:
            call_command(*missing)
        assert ended.value.code == 2
    assert not Pair.objects.exists()


def test_a_sound_store_is_told_with_its_gaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "verify_store") == ["files=0 candles=0 gaps=0 problems=0"]
    (tmp_path / "file").write_text(csv(skip=slice(20, 23)))
    run(capsys, *imported(tmp_path / "file"))
    gap, line = run(capsys, "verify_store")
    assert gap == "gap BTCUSDT:15m 2023-11-15T03:15:00Z x3"
    assert line == "files=2 candles=297 gaps=1 problems=0"
    told = json.loads("\n".join(run(capsys, "verify_store", "--json")))
    assert told == {
        "ok": True,
        "files": 2,
        "candles": 297,
        "problems": [],
        "gaps": [
            {"series": "BTCUSDT:15m", "start": "2023-11-15T03:15:00Z", "end": "2023-11-15T04:00:00Z", "candles": 3}
        ],
    }


def test_anything_wrong_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text(csv())
    run(capsys, *imported(tmp_path / "file"))
    path = folder(candle_store(), QUARTER) / "2023-11.parquet"
    path.write_bytes(path.read_bytes()[:700])
    code, line = fails("verify_store")
    assert (code, line) == (1, "1 problem in the store")
    assert "problem BTCUSDT:15m 2023-11.parquet: it is damaged or cut short" in capsys.readouterr().out
    code, _ = fails("verify_store", "--json")
    assert code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["problems"] == [
        {"series": "BTCUSDT:15m", "file": "2023-11.parquet", "reason": "it is damaged or cut short"}
    ]
    # Looking changes nothing: whoever wants to see the file finds it where it was.
    assert path.exists()
