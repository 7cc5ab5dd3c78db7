"""Pairs, candles and backfills by API: shapes, pages, formats, mistakes."""

import io
from datetime import UTC, datetime

import pandas as pd
import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import User
from django.test import Client

from markets.candles import Candles
from markets.models import Backfill
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from tests.downloads import body_of
from tests.factories import walk

pytestmark = pytest.mark.django_db

SERIES = SeriesKey.of("TOLDUSDT", "15m")
COUNT = 1_300


@pytest.fixture
def candles() -> Candles:
    found = walk(3, COUNT, timeframe=Timeframe.M15)
    candle_store().merge(SERIES, found, source=Source.FILE)
    ensure_series(SERIES)
    return found


def iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat().replace("+00:00", "Z")


def ask(client: Client, **parameters: str) -> dict[str, object]:
    answer = client.get("/api/v1/candles/", {"symbol": "TOLDUSDT", "timeframe": "15m", **parameters})
    assert answer.status_code == 200, answer.content
    found: dict[str, object] = answer.json()
    return found


def test_without_a_range_the_newest_are_told_oldest_first(client: Client, candles: Candles) -> None:
    rows = ask(client)["results"]
    assert isinstance(rows, list)
    assert len(rows) == 500
    assert rows[-1] == {
        "open_time": iso(int(candles.open_time[-1])),
        "open": candles.open[-1],
        "high": candles.high[-1],
        "low": candles.low[-1],
        "close": candles.close[-1],
        "volume": candles.volume[-1],
    }
    assert rows[0]["open_time"] == iso(int(candles.open_time[-500]))


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("end_name", ["to", "to_date"])
@pytest.mark.parametrize("start_name", ["from", "from_date"])
def test_following_next_tells_every_candle_once(
    client: Client, candles: Candles, start_name: str, end_name: str, order: str
) -> None:
    start, end = iso(int(candles.open_time[100])), iso(int(candles.open_time[1_200]))
    asked = f"symbol=TOLDUSDT&tf=15m&{start_name}={start}&{end_name}={end}&limit=400&order={order}"
    url: object = f"/api/v1/candles/?{asked}"
    times: list[str] = []
    for _ in range(10):
        page = client.get(str(url)).json()
        times += [row["open_time"] for row in page["results"]]
        url = page["next"]
        if url is None:
            break
    expected = [iso(time) for time in candles.open_time[100:1_200].tolist()]
    assert times == (expected if order == "asc" else expected[::-1])


def test_names_of_ranges_have_aliases_and_the_end_is_exclusive(client: Client, candles: Candles) -> None:
    start, end = iso(int(candles.open_time[5])), iso(int(candles.open_time[9]))
    assert ask(client, **{"from": start, "to": end}) == ask(client, from_date=start, to_date=end)
    rows = ask(client, **{"from": start, "to": end})["results"]
    assert isinstance(rows, list)
    assert len(rows) == 4


def test_csv_and_parquet_hold_what_json_tells(client: Client, candles: Candles) -> None:
    asked = {"symbol": "TOLDUSDT", "timeframe": "15m", "from": iso(int(candles.open_time[0])), "limit": "50"}
    told = pd.DataFrame(client.get("/api/v1/candles/", asked).json()["results"])
    as_csv = pd.read_csv(io.BytesIO(body_of(client.get("/api/v1/candles/", {**asked, "format": "csv"}))))
    body = body_of(client.get("/api/v1/candles/", {**asked, "format": "parquet"}))
    as_parquet = pq.ParquetFile(io.BytesIO(body)).read().to_pandas()
    pd.testing.assert_frame_equal(as_csv, told)
    pd.testing.assert_frame_equal(as_parquet, told)


def test_a_download_without_a_limit_holds_the_whole_range(client: Client, candles: Candles) -> None:
    asked = {"symbol": "TOLDUSDT", "timeframe": "15m", "from": "2020-01-01", "format": "csv"}
    body = body_of(client.get("/api/v1/candles/", asked))
    assert body.count(b"\n") == COUNT + 1


def downloaded(client: Client, **asked: str) -> pd.DataFrame:
    answer = client.get("/api/v1/candles/", {"symbol": "TOLDUSDT", "timeframe": "15m", **asked})
    body = io.BytesIO(body_of(answer))
    return pd.read_csv(body) if asked["format"] == "csv" else pq.ParquetFile(body).read().to_pandas()


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_download_may_begin_and_end_in_a_hole_of_months(client: Client, format_: str, order: str) -> None:
    series, day = SeriesKey.of("HOLEYUSDT", "15m"), 86_400_000
    middle = walk(3, 200, timeframe=Timeframe.M15)
    first, last = int(middle.open_time[0]), int(middle.open_time[-1])
    for start in (first - 90 * day, first, first + 90 * day):
        part = walk(3, 200, timeframe=Timeframe.M15, start=start)
        candle_store().merge(series, part, source=Source.FILE)
    ensure_series(series)
    asked = {"from": iso(first - 70 * day), "to": iso(last + 70 * day), "order": order, "format": format_}
    expected = middle.open_time if order == "asc" else middle.open_time[::-1]
    found = downloaded(client, symbol="HOLEYUSDT", **asked)
    assert found["open_time"].tolist() == [iso(time) for time in expected.tolist()]


@pytest.mark.parametrize("format_", ["csv", "parquet"])
@pytest.mark.parametrize("start", ["2019-01-01", "2031-01-01"])
def test_a_download_of_a_range_without_candles_has_the_columns(
    client: Client, candles: Candles, format_: str, start: str
) -> None:
    empty = downloaded(client, **{"from": start, "to": f"{start[:4]}-12-31", "format": format_})
    assert list(empty.columns) == ["open_time", "open", "high", "low", "close", "volume"]
    assert empty.empty


@pytest.mark.parametrize(
    ("wrong", "status", "names"),
    [
        ({"timeframe": "2m"}, 400, "timeframe"),
        ({"timeframe": "15M"}, 400, "timeframe"),
        ({"symbol": "TOLDUSD"}, 404, "TOLDUSDT"),
        ({"symbol": "../../etc"}, 400, "symbol"),
        ({"limit": "5001"}, 413, "5000"),
        ({"limit": "0"}, 400, "limit"),
        ({"limit": "ten"}, 400, "limit"),
        ({"from": "yesterday"}, 400, "from"),
        ({"from": "2024-01-02", "to": "2024-01-01"}, 422, "to"),
        ({"order": "up"}, 400, "order"),
        ({"format": "xml"}, 400, "format"),
    ],
)
def test_a_mistake_names_the_field_and_what_was_expected(
    client: Client, candles: Candles, wrong: dict[str, str], status: int, names: str
) -> None:
    answer = client.get("/api/v1/candles/", {"symbol": "TOLDUSDT", "timeframe": "15m", **wrong})
    assert answer.status_code == status
    assert answer["Content-Type"].startswith("application/problem+json")
    assert names in answer.text.replace(",", "")


def test_what_cannot_change_any_more_is_told_once(client: Client, candles: Candles) -> None:
    asked = {"symbol": "TOLDUSDT", "timeframe": "15m", "from": "2023-11-15", "to": "2023-11-16"}
    first = client.get("/api/v1/candles/", asked)
    again = client.get("/api/v1/candles/", asked, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_pairs_tell_the_coverage_of_each_timeframe(client: Client, candles: Candles) -> None:
    pair = next(row for row in client.get("/api/v1/pairs/").json()["results"] if row["symbol"] == "TOLDUSDT")
    assert (pair["base_asset"], pair["quote_asset"], pair["timeframes"]) == ("TOLD", "USDT", ["15m"])
    assert pair["coverage"]["15m"] == {
        "first": iso(int(candles.open_time[0])),
        "last": iso(int(candles.open_time[-1])),
        "candles": COUNT,
        "gaps": 0,
    }


def test_a_backfill_is_a_job_that_can_be_followed_and_cancelled(client: Client, candles: Candles) -> None:
    body = {"symbol": "TOLDUSDT", "timeframe": "15m", "from": "2023-01-01", "to": "2023-02-01", "note": "for a test"}
    answer = client.post("/api/v1/backfills/", body, content_type="application/json")
    assert answer.status_code == 202
    job = client.get(answer["Location"]).json()
    assert (job["state"], job["kind"], job["note"], job["progress"]) == ("queued", "backfill", "for a test", 0.0)
    assert client.get("/api/v1/backfills/").json()["results"][0]["id"] == job["id"]
    assert client.post(f"{answer['Location']}cancel").status_code == 202
    assert client.get(answer["Location"]).json()["state"] == "cancelled"
    assert client.post(f"{answer['Location']}cancel").status_code == 409


def test_a_key_that_was_used_gives_the_same_job_and_refuses_another_request(client: Client, candles: Candles) -> None:
    body = {"symbol": "TOLDUSDT", "timeframe": "15m"}
    headers = {"Idempotency-Key": "abc"}

    def post(body: dict[str, str]) -> tuple[int, object]:
        answer = client.post("/api/v1/backfills/", body, content_type="application/json", headers=headers)
        return answer.status_code, answer.json().get("id")

    first = post(body)
    assert first[0] == 202
    assert post(body) == first
    assert post({**body, "from": "2023-01-01"})[0] == 409
    assert Backfill.objects.count() == 1


@pytest.mark.parametrize("key", ["k" * 101, "tab\tbed", "nul\x00", "bell\x07", "größe"])
def test_a_key_that_no_row_can_hold_is_refused_by_its_header(client: Client, candles: Candles, key: str) -> None:
    body = {"symbol": "TOLDUSDT", "timeframe": "15m"}
    answer = client.post("/api/v1/backfills/", body, content_type="application/json", headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert "Idempotency-Key: must be at most 100 printable ASCII characters" in answer.json()["detail"]
    assert not Backfill.objects.exists()


def test_the_longest_key_fits_the_row_whoever_owns_it(client: Client, candles: Candles) -> None:
    client.force_login(User.objects.create_user("alice", pk=2**31 - 1))
    answer = client.post(
        "/api/v1/backfills/",
        {"symbol": "TOLDUSDT", "timeframe": "15m"},
        content_type="application/json",
        headers={"Idempotency-Key": "k" * 100},
    )
    assert answer.status_code == 202
    key = Backfill.objects.get().idempotency_key
    assert key is not None
    assert key.endswith("k" * 100)
    assert len(key) <= (Backfill._meta.get_field("idempotency_key").max_length or 0)


def test_a_job_that_is_not_there_is_not_found(client: Client) -> None:
    assert client.get("/api/v1/backfills/123456/").status_code == 404
    assert client.post("/api/v1/backfills/123456/cancel").status_code == 404
