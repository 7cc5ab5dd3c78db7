"""Context: what higher timeframes said at a signal's confirmation, and nothing later; zones near the price."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.test import Client

from markets.candles import Candles
from markets.moments import iso
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series, note_state
from markets.store import Source
from signals import selectors
from signals.engine import Detector, scale_params
from signals.log import SeriesLog
from signals.selectors import SignalFilter
from tests.downloads import body_of
from tests.factories import walk

# Who brings a log up asks whether the stream waits for a candle.
pytestmark = pytest.mark.django_db

MINUTES, QUARTERS = SeriesKey.of("BTCUSDT", "1m"), SeriesKey.of("BTCUSDT", "15m")


def gathered(candles: Candles, timeframe: Timeframe) -> Candles:
    """Return the whole candles of a higher timeframe, made of candles of a lower one."""
    group = candles.open_time // timeframe.milliseconds
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(candles))
    return Candles(
        group[starts] * timeframe.milliseconds,
        candles.open[starts],
        np.maximum.reduceat(candles.high, starts),
        np.minimum.reduceat(candles.low, starts),
        candles.close[ends - 1],
        np.add.reduceat(candles.volume, starts),
    )


def stored_pair() -> tuple[Candles, Candles]:
    minutes = walk(31, 6_000, start=1_700_006_400_000)
    quarters = gathered(minutes, Timeframe.M15)
    candle_store().merge(MINUTES, minutes, source=Source.FILE)
    candle_store().merge(QUARTERS, quarters, source=Source.FILE)
    return minutes, quarters


def known(quarters: Candles, moment: int) -> dict[str, object] | None:
    """Return trend and range position of the candles that had closed at ``moment``, found from these alone."""
    closed = quarters.between(None, moment - Timeframe.M15.milliseconds + 1)
    if not len(closed):
        return None
    detector = Detector(scale_params("internal"))
    detector.run(closed)
    return {"trend": detector.trend, "range_pos": None if np.isnan(detector.range_pos) else detector.range_pos}


def test_context_comes_from_candles_that_had_closed_when_the_signal_was_confirmed(data_root: Path) -> None:
    _, quarters = stored_pair()
    rows = selectors.signals(SignalFilter(symbol="BTCUSDT", timeframe=Timeframe.M1), limit=1_000).rows
    oldest = selectors.signals(SignalFilter(timeframe=Timeframe.M1), limit=20, newest_first=False).rows
    for row in [*oldest, *rows[::23]]:
        told = selectors.context(row, [Timeframe.M15, Timeframe.H4])
        assert told == {"15m": known(quarters, row.confirmed_at), "4h": None}
    assert {selectors.context(row, [Timeframe.M15])["15m"]["trend"] for row in rows} >= {1, -1}


def test_context_follows_candles_as_they_come_and_change(data_root: Path) -> None:
    _, quarters = stored_pair()
    row = selectors.signals(SignalFilter(timeframe=Timeframe.M1), limit=1).rows[0]
    selectors.context(row, [Timeframe.M15])
    last = quarters.candle(len(quarters) - 40)
    changed = Candles.of([last._replace(high=last.high * 1.2, close=last.high * 1.1)])
    candle_store().merge(QUARTERS, changed, source=Source.REST)
    after = candle_store().read(QUARTERS, start=None, end=None)
    assert selectors.context(row, [Timeframe.M15])["15m"] == known(after, row.confirmed_at)
    more = walk(32, 30, timeframe=Timeframe.M15, start=int(quarters.open_time[-1]) + 1)
    candle_store().merge(QUARTERS, more, source=Source.STREAM)
    bias = selectors.bias(QUARTERS)
    assert bias is not None
    assert bias.open_time == more.open_time[-1]
    told = known(candle_store().read(QUARTERS, start=None, end=None), 10**15)
    assert {"trend": bias.trend, "range_pos": bias.range_pos} == told


def test_no_trend_is_told_of_candles_behind_one_that_may_come_yet(data_root: Path) -> None:
    """It would be another when that candle has come."""
    quarters = gathered(walk(31, 6_000, start=1_700_006_400_000), Timeframe.M15)
    ensure_series(QUARTERS)
    hole = 300
    note_state(QUARTERS, error="", held_from=int(quarters.open_time[hole]))
    candle_store().merge(QUARTERS, quarters.first(hole), source=Source.FILE)
    before = selectors.bias(QUARTERS)
    assert before is not None
    for count in (hole + 50, len(quarters)):
        candle_store().merge(QUARTERS, quarters.take(slice(hole + 1, count)), source=Source.FILE)
        assert selectors.bias(QUARTERS) == before
    note_state(QUARTERS, error="", held_from=None)
    candle_store().merge(QUARTERS, quarters, source=Source.FILE)
    after = selectors.bias(QUARTERS)
    assert after is not None
    assert {"trend": after.trend, "range_pos": after.range_pos} == known(quarters, 10**15)
    assert after != before


def test_signals_are_filtered_by_the_trend_above_them(data_root: Path) -> None:
    stored_pair()
    rows = selectors.signals(SignalFilter(timeframe=Timeframe.M1, scale="internal"), limit=10_000).rows
    told = selectors.contexts(rows, [Timeframe.M15])
    trends = {row.id: (each["15m"] or {"trend": 0})["trend"] for row, each in zip(rows, told, strict=True)}
    for trend in (1, -1, None):
        wanted = SignalFilter(timeframe=Timeframe.M1, scale="internal", higher=Timeframe.M15, higher_trend=trend)
        kept = selectors.signals(wanted, limit=10_000).rows
        assert kept == [row for row in rows if trends[row.id] == (row.direction if trend is None else trend)]
        assert kept


@pytest.mark.django_db
def test_a_download_of_signals_holds_what_json_tells(client: Client, data_root: Path) -> None:
    stored_pair()
    asked = {"timeframe": "1m", "limit": "1000"}
    told = client.get("/api/v1/signals/", asked).json()["results"]
    body = body_of(client.get("/api/v1/signals/", {**asked, "format": "parquet"}))
    assert pq.ParquetFile(io.BytesIO(body)).read().to_pylist() == told


@pytest.mark.django_db
def test_api_and_page_filter_by_the_trend_above(client: Client, data_root: Path) -> None:
    stored_pair()
    asked = {"timeframe": "1m", "scale": "internal", "higher": "15m", "context": "15m", "limit": "1000"}
    results = client.get("/api/v1/signals/", asked).json()["results"]
    assert results
    assert all(each["context"]["15m"]["trend"] == each["direction"] for each in results)
    against = client.get("/api/v1/signals/", {**asked, "direction": "1", "higher_trend": "-1"}).json()["results"]
    assert against
    assert {(each["direction"], each["context"]["15m"]["trend"]) for each in against} == {(1, -1)}
    page = client.get("/web/signals", {"timeframe": "1m", "scale": "internal", "higher": "15m"}).content.decode()
    assert "<option selected>15m</option>" in page
    assert results[0]["id"] in page


def test_api_tells_the_zones_that_were_open_when_a_chart_begins(client: Client, data_root: Path) -> None:
    minutes, _ = stored_pair()
    asked = {"timeframe": "1m", "kind": "FVG,IFVG,OB,BREAKER", "limit": "1000"}
    began = str(iso(int(minutes.open_time[-500])))
    told = client.get("/api/v1/signals/", {**asked, "open_at": began}).json()["results"]
    assert {each["status"] for each in told} >= {"active", "mitigated", "invalidated"}
    assert all(each["confirm_time"] < began for each in told)
    assert all(
        each[name] is None or each[name] >= began for each in told for name in ("filled_time", "invalidated_time")
    )
    then = client.get("/api/v1/signals/", {**asked, "open_at": began, "as_of": began}).json()["results"]
    assert [each["id"] for each in then] == [each["id"] for each in told]
    assert {each["status"] for each in then} == {"active", "mitigated"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "value"), [("open_at", "noon"), ("higher", "7m"), ("higher_trend", "1"), ("higher_trend", "up")]
)
def test_what_cannot_be_meant_is_refused_by_name(client: Client, data_root: Path, name: str, value: str) -> None:
    answer = client.get("/api/v1/signals/", {name: value})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [name]
    assert client.get("/web/signals", {name: value}).status_code == 422


def test_bias_of_nothing_stored_is_none(data_root: Path) -> None:
    assert selectors.bias(SeriesKey.of("NOPE", "1h")) is None


def test_zones_near_the_price_are_the_open_ones_nearest_first(data_root: Path) -> None:
    # Asked before the last candles are there as well: what is remembered of then is not told afterwards.
    candle_store().merge(MINUTES, walk(31, 6_000, start=1_700_006_400_000).first(5_500), source=Source.FILE)
    assert selectors.zones_near(MINUTES, within=0.05, limit=100)
    minutes, _ = stored_pair()
    SeriesLog(MINUTES, store=candle_store(), root=data_root).catch_up()
    price = float(minutes.close[-1])
    near = selectors.zones_near(MINUTES, within=0.05, limit=100)
    assert near
    assert [each.distance for each in near] == sorted(each.distance for each in near)
    rows = selectors.signals(SignalFilter(timeframe=Timeframe.M1), limit=20_000).rows
    zones = [row for row in rows if row.kind in ("FVG", "IFVG", "OB", "BREAKER")]
    wanted = set()
    for row in zones:
        assert row.top is not None
        assert row.bottom is not None
        distance = max(row.bottom - price, price - row.top, 0.0) / price
        if row.filled_time is None and row.invalidated_time is None and distance <= 0.05:
            wanted.add(row.id)
    assert {each.signal.id for each in near} == wanted
    assert len(selectors.zones_near(MINUTES, within=0.05, limit=2)) == 2
    assert selectors.zones_near(SeriesKey.of("NOPE", "1m")) == []
