"""``detect`` and ``audit_signals``, as a user calls them."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from markets.candles import Candles
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.store import Source
from signals.engine import Detector, Params
from signals.engine.table import UNSET, detect_columns
from signals.log import months
from signals.log.generations import current_folder
from signals.models import PublishedSignal
from signals.services import Tracker, enter_signals, note_told
from tests.factories import real_candles, walk

pytestmark = pytest.mark.django_db

EURUSD, MINUTES = SeriesKey.of("EURUSD", "15m"), SeriesKey.of("BTCUSDT", "1m")
NOW = datetime(2024, 1, 1, tzinfo=UTC)
# The totals of the definition's first section, with default parameters.
TOTALS = {
    "FVG": 5_020, "IFVG": 4_915, "SWING": 2_960, "SWEEP": 1_322, "OB": 1_197, "BREAKER": 1_135, "CHOCH": 616,
    "BOS": 581, "EQ": 116,
}  # fmt: skip
COLUMNS = [
    "kind", "direction", "event_idx", "event_time", "confirm_idx", "confirm_time", "level", "top", "bottom",
    "ref_idx", "ref_time", "strength", "range_pos", "tag", "mitigated_idx", "mitigated_time", "filled_idx",
    "filled_time", "invalidated_idx", "invalidated_time", "status",
]  # fmt: skip


def called(name: str, *args: str) -> str:
    out = io.StringIO()
    call_command(name, *args, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def detect(*args: str) -> str:
    return called("detect", "--symbol", "EURUSD", "--timeframe", "15m", *args)


def store(candles: Candles, series: SeriesKey) -> None:
    candle_store().merge(series, candles, source=Source.FILE)


def refused(*args: str) -> tuple[int, str]:
    """Return exit code and message of a call that must fail."""
    try:
        called(*args)
    except CommandError as error:
        return error.returncode, str(error)
    except SystemExit as error:
        return int(error.code or 0), ""
    pytest.fail("the command ended well")


def test_detect_finds_the_known_totals_of_a_year(data_root: Path) -> None:
    store(real_candles("EURUSD-15m-2022-10_2023-10"), EURUSD)
    out = data_root / "signals.csv"
    told = detect("--out", str(out)).splitlines()
    assert told[0].startswith("EURUSD:15m candles=24424 signals=17862")
    assert dict(line.split() for line in told[1:]) == {kind: str(count) for kind, count in TOTALS.items()}
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    for kind, count in TOTALS.items():
        assert sum(row["kind"] == kind for row in rows) == count


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_detect_writes_every_value_in_full(data_root: Path, suffix: str) -> None:
    candles = real_candles("EURUSD-15m-2022-10_2023-10").first(3_000)
    store(candles, EURUSD)
    out = data_root / f"signals{suffix}"
    detect("--out", str(out), "--swing-length", "4", "--fvg-min-atr", "0.2", "--break-mode", "wick")
    params = Params(swing_length=4, fvg_min_atr=0.2, break_mode="wick")
    wanted = detect_columns(Detector(params).run(candles).table)
    if suffix == ".csv":
        found = pd.read_csv(out, keep_default_na=False, dtype=str)
        for name in COLUMNS:
            cells = map(_time_cell if name.endswith(("_idx", "_time")) else _cell, wanted[name].tolist())
            assert found[name].tolist() == list(cells)
        return
    found = pd.read_parquet(out)  # noqa: TID251  # as anyone reads
    assert list(found.columns) == COLUMNS
    for name in COLUMNS:
        column = wanted[name]
        if column.dtype == object:
            assert found[name].tolist() == column.tolist()
            continue
        is_missing = (column == UNSET) if name.endswith(("_idx", "_time")) else np.isnan(column)
        assert found[name].isna().tolist() == is_missing.tolist()
        assert found[name].dropna().tolist() == column[~is_missing].tolist()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else repr(value)
    return str(value)


def _time_cell(value: int) -> str:
    return "" if value == UNSET else str(value)


def test_detect_feeds_only_the_candles_of_the_range(data_root: Path) -> None:
    candles = real_candles("EURUSD-15m-2022-10_2023-10").first(4_000)
    store(candles, EURUSD)
    out = data_root / "signals.parquet"
    detect("--from", "2022-11-01", "--to", "2022-11-15T12:00:00Z", "--out", str(out))
    part = candles.between(1_667_260_800_000, 1_668_513_600_000)
    wanted = Detector(Params()).run(part).table
    found = pd.read_parquet(out)  # noqa: TID251
    assert found["confirm_idx"].tolist() == wanted.column("confirm_idx").tolist()
    assert found["event_time"].tolist() == wanted.column("event_time").tolist()


def test_detect_runs_both_scales_and_names_them(data_root: Path) -> None:
    candles = real_candles("EURUSD-15m-2022-10_2023-10").first(3_000)
    store(candles, EURUSD)
    out = data_root / "signals.parquet"
    detect("--scales", "internal,swing", "--out", str(out))
    found = pd.read_parquet(out)  # noqa: TID251
    assert list(found.columns) == ["scale", *COLUMNS]
    for scale, length in (("internal", 5), ("swing", 50)):
        wanted = Detector(Params(swing_length=length)).run(candles).table
        of_scale = found[found["scale"] == scale]
        assert of_scale["kind"].tolist() == wanted.column("kind").tolist()
        assert of_scale["level"].tolist() == wanted.column("level").tolist()
    assert found["confirm_idx"].is_monotonic_increasing


def test_given_pivots_are_those_of_the_scale_swing(data_root: Path) -> None:
    candles = real_candles("EURUSD-15m-2022-10_2023-10").first(3_000)
    store(candles, EURUSD)
    out = data_root / "signals.parquet"
    detect("--scales", "internal,swing", "--swing-length", "20", "--swing-left", "7", "--out", str(out))
    found = pd.read_parquet(out)  # noqa: TID251
    for scale, params in (("internal", Params()), ("swing", Params(swing_length=20, swing_left=7))):
        wanted = Detector(params).run(candles).table
        of_scale = found[found["scale"] == scale]
        assert of_scale["confirm_idx"].tolist() == wanted.column("confirm_idx").tolist()
        assert of_scale["level"].tolist() == wanted.column("level").tolist()


@pytest.mark.parametrize("flag", ["--swing-length", "--swing-left"])
def test_pivots_given_for_a_scale_that_is_not_run_are_refused(data_root: Path, flag: str) -> None:
    out = str(data_root / "signals.csv")
    args = ("--symbol", "EURUSD", "--timeframe", "15m", "--scales", "internal", flag, "7", "--out", out)
    code, message = refused("detect", *args)
    assert code == 2
    assert message.startswith(f"{flag} is for the scale swing, which is not among --scales")


@pytest.mark.parametrize(
    "args",
    [
        ("--timeframe", "2m"), ("--symbol", "eurusd"), ("--symbol", ""), ("--swing-length", "0"),
        ("--swing-length", "x"), ("--swing-length", "1.5"), ("--swing-left", "-1"), ("--break-mode", "body"),
        ("--sweep-bars", "0"), ("--level-max-age", "-5"), ("--eq-atr", "-0.1"), ("--fvg-min-atr", "nan"),
        ("--fvg-min-pct", "inf"), ("--atr-period", "0"), ("--scales", "internal,inner"), ("--scales", ""),
        ("--from", "yesterday"), ("--from", "2023-01-02", "--to", "2023-01-01"), ("--out", "signals.xlsx"),
        ("--out", "signals"), ("--nope", "1"),
    ],
)  # fmt: skip
def test_a_bad_value_ends_detect_with_2(data_root: Path, args: tuple[str, ...]) -> None:
    store(real_candles("EURUSD-15m-2022-10_2023-10").first(100), EURUSD)
    defaults = {"--symbol": "EURUSD", "--timeframe": "15m", "--out": str(data_root / "signals.csv")}
    rest = [word for name, value in defaults.items() if name not in args for word in (name, value)]
    assert refused("detect", *rest, *args)[0] == 2
    assert not list(data_root.glob("signals*.*"))


def test_nothing_stored_ends_both_commands_with_1(data_root: Path) -> None:
    detecting = ("detect", "--symbol", "NOPE", "--timeframe", "1h", "--out", str(data_root / "x.csv"))
    assert refused(*detecting) == (1, "nothing is stored of NOPE:1h")
    assert refused(*detecting, "--from", "2024-01-01") == (1, "nothing is stored of NOPE:1h in the range")
    assert refused("audit_signals", "--symbol", "NOPE", "--timeframe", "1h") == (1, "nothing is stored of NOPE:1h")
    assert refused("audit_signals", "--symbol", "NOPE", "--timeframe", "1x")[0] == 2


def test_a_folder_that_is_not_there_ends_detect_with_1_and_leaves_nothing(data_root: Path) -> None:
    store(real_candles("EURUSD-15m-2022-10_2023-10").first(100), EURUSD)
    args = ("--symbol", "EURUSD", "--timeframe", "15m", "--out", str(data_root / "no" / "x.csv"))
    assert refused("detect", *args)[0] == 1


def audit() -> str:
    return called("audit_signals", "--symbol", "BTCUSDT", "--timeframe", "1m")


def followed() -> Tracker:
    """Follow a series live, entering what is found as the feed does."""
    candles = walk(5, 460, start=1_701_388_800_000 - 430 * 60_000)
    store(candles.first(400), MINUTES)
    follower = Tracker(MINUTES, store=candle_store(), root=settings.DATA_ROOT)
    follower.catch_up()
    for candle in candles.take(slice(400, None)):
        one = Candles.of([candle])
        merged = candle_store().merge(MINUTES, one, source=Source.STREAM)
        facts = follower.advance(one, edit=merged.edit)
        enter_signals(facts, now=NOW, late=False)
        note_told(facts)
    return follower


def test_an_audit_of_what_was_followed_finds_no_difference(data_root: Path) -> None:
    follower = followed()
    told = audit()
    assert f"published={PublishedSignal.objects.count()} revised=0 differences=0" in told
    follower.close()
    assert "differences=0" in audit()


def test_an_audit_finds_what_was_published_otherwise(data_root: Path) -> None:
    followed()
    row = PublishedSignal.objects.earliest("confirm_time")
    PublishedSignal.objects.filter(pk=row.pk).update(level=row.level * 1.0001)
    code, message = refused("audit_signals", "--symbol", "BTCUSDT", "--timeframe", "1m")
    assert (code, message) == (1, "1 differences between BTCUSDT:1m as told and its candles")
    PublishedSignal.objects.filter(pk=row.pk).update(revised_at=NOW)
    assert "revised=1 differences=0" in audit()


@pytest.mark.parametrize("what", ["value", "missing", "extra", "mark"])
def test_an_audit_finds_what_the_log_says_otherwise(data_root: Path, what: str) -> None:
    follower = followed()
    follower.close()
    folder = current_folder(data_root, MINUTES)
    assert folder is not None
    generation = follower._log.generation
    month = months.months_on_disk(folder, "signals")[0]
    rows, marks = months.read_signals(folder, month).copy(), months.read_marks(folder, month).copy()
    if what == "value":
        rows["strength"][5] += 1e-9
    elif what == "missing":
        rows = rows[:-1]
    elif what == "extra":
        rows = np.concatenate([rows[:7], rows[6:]])
        rows["number"][7] = 99_999
    else:
        marks["time"][3] += 60_000
    months.write_signals(folder, month, rows, MINUTES, generation)
    months.write_marks(folder, month, marks, MINUTES)
    assert refused("audit_signals", "--symbol", "BTCUSDT", "--timeframe", "1m")[0] == 1
