"""A year of real candles through the whole live path; ``make soak`` runs it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from markets.replay.recorded import RecordedMarket
from markets.series import SeriesKey
from markets.store.foreign import read_foreign
from signals.engine.table import UNSET
from smcsite.env import KINDS
from tests.factories import shared_file
from tests.replaying import replay
from tests.signals.feed.processes import Workers, check_all, told_since, workers
from tests.waiting import eventually

pytestmark = [
    pytest.mark.processes,
    pytest.mark.broker,
    pytest.mark.full,
]

SERIES = SeriesKey.parse("BTCUSDT:15m")
HISTORY, HOUR = 1_000, 3_600_000
# As fast as the exchange goes; near its hole as slowly as a proof needs.
SPEED, CAREFUL_SPEED = 100_000, 600
COLUMNS = ["scale", "kind", "direction", "event_time", "ref_time", "confirm_time"]
VALUES = ["level", "top", "bottom", "strength", "range_pos"]


def test_a_year_of_real_candles_gives_live_what_detect_finds(tmp_path: Path) -> None:
    """Exchange, stream, store, signals, push: the ledger holds the rows of ``manage.py detect``, value for value."""
    file = shared_file("candles/BTCUSDT-15m-2023.parquet")
    candles, _ = read_foreign(file, SERIES.timeframe)
    market = RecordedMarket.of(file.name, {SERIES: candles})
    start, end = int(candles.open_time[HISTORY]), market.span()[1] + 15_000
    (hole,) = np.flatnonzero(np.diff(candles.open_time) > SERIES.timeframe.milliseconds)
    with (
        replay(source=market, speed=CAREFUL_SPEED, start=start, end=end) as exchange,
        workers(
            tmp_path,
            exchange,
            symbols="BTCUSDT",
            timeframes="15m",
            program=("-m", "tests.signals.feed.hoarding"),
            HISTORY_DAYS="365",
            INDICATORS=",".join(KINDS),
        ) as rig,
    ):
        rig.await_live(worker := rig.start())
        exchange.set_clock(speed=SPEED)
        exchange.wait_until(int(candles.open_time[hole]) - HOUR, timeout_seconds=600)
        # That the exchange has a hole there takes a minute of ours to be proven; no week is to pass meanwhile.
        exchange.set_clock(speed=CAREFUL_SPEED)
        eventually(lambda: int(rig.candles(SERIES).open_time[-1]) > candles.open_time[hole + 1] + HOUR, seconds=300)
        rig.await_live(worker)
        exchange.set_clock(speed=SPEED)
        exchange.wait_until(end, timeout_seconds=1_200)
        eventually(lambda: len(rig.candles(SERIES)) == len(candles), seconds=120)
        rig.finish(worker)
        assert check_all(rig, exchange) > 10_000
        told, found = ledger(rig), detected(rig, file, tmp_path / "detected.csv")
        new = found[found.confirm_time > told_since(rig.folder, SERIES)]
        pd.testing.assert_frame_equal(told, new.reset_index(drop=True), check_exact=True)


def ledger(rig: Workers) -> pd.DataFrame:
    """Return what was told, as ``detect`` writes it."""
    rows = [dict(row) for row in rig.ledger(SERIES)]
    print(f"\n{len(rows)} signals, {sum(row['is_late'] for row in rows)} late")
    return in_order(pd.DataFrame(rows))


def detected(rig: Workers, file: Path, out: Path) -> pd.DataFrame:
    """Return what ``detect`` finds in the file, in a data folder of its own."""
    folder = out.parent / "batch"
    for arguments in (
        ("migrate", "--verbosity", "0"),
        ("import_candles", str(file), "--symbol", "BTCUSDT", "--timeframe", "15m"),
        ("detect", "--symbol", "BTCUSDT", "--timeframe", "15m", "--scales", "internal,swing", "--out", str(out)),
    ):
        assert rig.run(*arguments, DATA_DIR=str(folder)).wait(120) == 0, rig.log[-2_000:]
    return in_order(pd.read_csv(out))


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    table = table[[*COLUMNS, *VALUES]].astype(dict.fromkeys(VALUES, float))
    return table.fillna({"ref_time": UNSET}).astype({"ref_time": int}).sort_values(COLUMNS, ignore_index=True)
