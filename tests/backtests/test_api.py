"""The API of backtests: runs made while one waits, runs as jobs, their reports, and what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from backtests import tasks
from backtests.engine.ledger import TRADE_COLUMNS
from backtests.engine.run import run
from backtests.engine.spec import BacktestSpec, all_parameters
from backtests.models import Backtest
from backtests.reports import report_files
from backtests.selectors import report_shelf
from backtests.services import running
from markets.models import Job
from markets.moments import iso
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from tests.backtests.conftest import COUNT, store_walk
from tests.factories import walk

pytestmark = pytest.mark.django_db

SPEC = {"symbol": "BTCUSDT", "timeframe": "15m"}


@pytest.fixture
def no_queue(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Jobs that would have gone to the queue."""
    queued: list[int] = []
    monkeypatch.setattr(tasks, "put_on_queue", lambda task, job_id: queued.append(job_id))
    return queued


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    return client.post(path, json.dumps(body), content_type="application/json", headers=headers)


def streamed(response: Any) -> bytes:
    return b"".join(response.streaming_content) if not response.is_async else _drain(response)


def _drain(response: Any) -> bytes:
    from asgiref.sync import async_to_sync

    async def read() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return async_to_sync(read)()


def test_a_run_made_now_answers_metrics_trades_and_links(client: Client, series: SeriesKey) -> None:
    response = client.get("/api/v1/backtest/", {"symbol": "BTCUSDT", "tf": "15m", "stop_atr": "3"})
    assert response.status_code == 200, response.content
    told = response.json()
    expected = run(candle_store().read(series, start=None, end=None), BacktestSpec.of({**SPEC, "stop_atr": 3}))
    assert told["metrics"]["trades"] == expected.metrics["trades"] > 20
    assert told["metrics"]["final_equity"] == expected.metrics["final_equity"]
    assert len(told["trades"]) == len(expected.trades)
    assert list(told["trades"][0]) == list(TRADE_COLUMNS)
    assert told["trades"][0]["entry_time"].endswith("Z")
    for name in ("trades", "equity", "csv", "trades_parquet"):
        assert client.get(told["reports"][name]).status_code == 200


def test_the_same_question_is_answered_by_the_run_there_is(
    client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.get("/api/v1/backtest/", SPEC)
    monkeypatch.setattr(running, "run_markets", None)  # whoever runs again fails
    again = client.get("/api/v1/backtest/", {**SPEC, "stop_atr": "2.0"})  # the default, said aloud
    assert again.content == first.content
    assert client.get("/api/v1/backtest/", SPEC, headers={"If-None-Match": first["ETag"]}).status_code == 304
    assert Backtest.objects.count() == 1


def test_new_candles_make_a_new_run(client: Client, series: SeriesKey) -> None:
    first = client.get("/api/v1/backtest/", SPEC).json()
    candle_store().merge(series, walk(5, COUNT + 200, timeframe=series.timeframe), source=Source.REST)
    second = client.get("/api/v1/backtest/", SPEC).json()
    assert second["id"] != first["id"]
    assert second["metrics"]["bars"] == COUNT + 200


def test_a_run_over_a_hole_says_so_everywhere(client: Client, data_root: Path, tmp_path: Path) -> None:
    candles = walk(5, COUNT, timeframe=Timeframe.M15)
    key = SeriesKey("BTCUSDT", Timeframe.M15)
    first, after = int(candles.open_time[1_000]), int(candles.open_time[1_010])
    for part in (candles.between(None, first), candles.between(after, None)):
        candle_store().merge(key, part, source=Source.FILE)
    ensure_series(key)
    told = client.get("/api/v1/backtest/", SPEC).json()
    assert told["metrics"]["bars"] == COUNT - 10
    assert told["metrics"]["provenance"]["holes"] == [["BTCUSDT", first, after]]
    assert 'data-testid="holes"' in client.get(f"/web/backtest/{told['id']}").text
    said = io.StringIO()
    call_command("backtest", symbol="BTCUSDT", timeframe="15m", out_dir=tmp_path / "report", stdout=said)
    assert f"note: BTCUSDT has a hole in the range: {iso(first)} x10" in said.getvalue()
    written = json.loads((tmp_path / "report" / "metrics.json").read_bytes())
    assert written["provenance"]["holes"] == [["BTCUSDT", first, after]]


def test_quick_runs_are_not_in_the_list(client: Client, series: SeriesKey) -> None:
    client.get("/api/v1/backtest/", SPEC)
    assert client.get("/api/v1/backtests/").json()["results"] == []


def test_a_range_too_large_to_wait_for_is_for_a_job(
    client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "MAX_CANDLES_NOW", COUNT - 1)
    response = client.get("/api/v1/backtest/", SPEC)
    assert response.status_code == 413
    assert f"{COUNT - 1:,}" in response.json()["detail"]
    assert "POST" in response.json()["detail"]
    start = int(candle_store().read(series, start=None, end=None).open_time[1])
    assert (
        client.get("/api/v1/backtest/", {**SPEC, "from": pd.Timestamp(start, unit="ms").isoformat()}).status_code == 200
    )


@pytest.mark.parametrize(
    ("changes", "status", "field", "hint"),
    [
        ({"strategy": "brekout"}, 400, "strategy", "breakout"),
        ({"stop_art": "2"}, 400, "stop_art", "stop_atr"),
        ({"stop_atr": "-1"}, 400, "stop_atr", "from 0.01 to 100"),
        ({"stop_atr": "nan"}, 400, "stop_atr", "number"),
        ({"kinds": "BOS,FVG"}, 400, "kinds", "BOS, CHOCH"),
        ({"ttl_bars": "5"}, 400, "ttl_bars", "breakout has no parameter"),
        ({"swing_length": "0"}, 400, "swing_length", "from 1 to 1000"),
        ({"timeframe": "7m"}, 400, "timeframe", ""),
        ({"symbol": "btc usdt"}, 400, "symbol", "BTCUSDT"),
        ({"symbol": "BTCUSD"}, 404, "symbol", "BTCUSDT"),
        ({"timeframe": "1h"}, 422, "symbol", "nothing is stored"),
        ({"from": "2030-01-02", "to": "2030-01-01"}, 422, "to", "after from"),
        ({"from": "2030-01-01"}, 422, "from", "no candles"),
        ({"from": "yesterday"}, 400, "from", "2024-01-31"),
        ({"partial_r": "2", "target_r": "1"}, 422, "partial_r", "below target_r"),
        ({"detail_timeframe": "15m"}, 422, "detail_timeframe", "below 15m"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_field_named(
    client: Client, series: SeriesKey, changes: dict[str, str], status: int, field: str, hint: str
) -> None:
    for response in (
        client.get("/api/v1/backtest/", {**SPEC, **changes}),
        post(client, "/api/v1/backtests/", {**SPEC, **changes}),
    ):
        assert response.status_code == status, response.content
        problem = response.json()
        assert field in problem["errors"]
        assert hint in problem["detail"]
    assert not Job.objects.exists()


def test_every_parameter_is_in_the_schema(client: Client) -> None:
    schema = client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    query = {each["name"] for each in schema["paths"]["/api/v1/backtest/"]["get"]["parameters"]}
    body = schema["components"]["schemas"][
        "BacktestRequestRequest" if "BacktestRequestRequest" in schema["components"]["schemas"] else "BacktestRequest"
    ]
    for name in (*all_parameters(), "symbol", "timeframe", "from", "to", "strategy"):
        assert name in query
        assert name in body["properties"]


def test_a_posted_run_becomes_a_job_and_its_results_are_read(
    client: Client, series: SeriesKey, no_queue: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = post(
            client, "/api/v1/backtests/", {**SPEC, "kinds": ["BOS"], "exit_on_opposite": True, "note": "hm"}
        )
    assert response.status_code == 202, response.content
    job = response.json()
    assert response["Location"].endswith(f"/api/v1/backtests/{job['id']}/")
    assert (job["state"], job["progress"], job["note"], job["metrics"]) == ("queued", 0.0, "hm", None)
    assert no_queue == [job["id"]]
    assert client.get(f"/api/v1/backtests/{job['id']}/trades/").status_code == 409

    tasks.run_backtest(job["id"])

    job = client.get(response["Location"]).json()
    assert (job["state"], job["progress"], job["attempts"]) == ("done", 1.0, 1)
    expected = run(
        candle_store().read(series, start=None, end=None),
        BacktestSpec.of({**SPEC, "kinds": "BOS", "exit_on_opposite": True}),
    )
    assert job["metrics"]["net_profit"] == expected.metrics["net_profit"]
    listed = client.get("/api/v1/backtests/").json()["results"]
    assert [each["id"] for each in listed] == [job["id"]]
    assert "breakdowns" not in listed[0]["metrics"]
    assert client.post(f"/api/v1/backtests/{job['id']}/cancel").status_code == 409


def test_trades_and_equity_are_told_as_json_csv_and_parquet(client: Client, series: SeriesKey) -> None:
    told = client.get("/api/v1/backtest/", SPEC).json()
    base = f"/api/v1/backtests/{told['id']}"
    whole = client.get(f"{base}/trades/").json()
    assert whole["count"] == len(whole["results"]) == len(told["trades"])
    assert whole["next"] is None
    page = client.get(f"{base}/trades/", {"limit": 3}).json()
    following = client.get(page["next"]).json()
    assert page["results"] + following["results"] == whole["results"][:6]

    report = streamed(client.get(f"{base}/report.csv"))
    assert report == (report_shelf().folder(told["id"]) / "trades.csv").read_bytes()
    assert streamed(client.get(f"{base}/trades/", {"format": "csv"})) == report
    cut = pd.read_csv(
        io.BytesIO(streamed(client.get(f"{base}/trades/", {"format": "csv", "limit": "2", "cursor": "1"})))
    )
    assert cut["trade"].tolist() == [2, 3]
    stored = report_shelf().folder(told["id"])
    for name in ("trades", "equity"):
        body = streamed(client.get(f"{base}/{name}/", {"format": "parquet"}))
        parquet = pq.ParquetFile(io.BytesIO(body)).read()
        assert parquet.equals(pq.ParquetFile(stored / f"{name}.parquet").read())
    assert len(parquet) == COUNT
    rows = client.get(f"{base}/equity/", {"limit": 5}).json()["results"]
    assert [row["equity"] for row in rows] == parquet["equity"].to_pylist()[:5]
    assert client.get(f"{base}/equity/", {"limit": 200_001}).status_code == 413


def test_a_run_is_shown_to_its_owner_and_to_staff(client: Client, series: SeriesKey) -> None:
    alice, charlie = (User.objects.create_user(name) for name in ("alice", "charlie"))
    job = running.new_backtest(BacktestSpec.of(SPEC), owner=alice)
    job.save()
    client.force_login(charlie)
    for path in ("", "trades/", "equity/", "report.csv"):
        assert client.get(f"/api/v1/backtests/{job.pk}/{path}").status_code in (403, 404)


def test_several_pairs_trade_on_one_account(client: Client, series: SeriesKey) -> None:
    store_walk("ETHUSDT", seed=6)
    told = client.get("/api/v1/backtest/", {**SPEC, "symbol": "ETHUSDT,BTCUSDT"}).json()
    assert {trade["symbol"] for trade in told["trades"]} == {"BTCUSDT", "ETHUSDT"}
    assert told["symbol"] == "BTCUSDT,ETHUSDT"


@pytest.mark.parametrize("candles", [COUNT, 5], ids=["both trade", "one is too short to trade"])
def test_every_report_of_several_pairs_names_the_pair_of_each_trade(
    client: Client, series: SeriesKey, candles: int
) -> None:
    store_walk("ETHUSDT", seed=6, count=candles)
    told = client.get("/api/v1/backtest/", {**SPEC, "symbol": "BTCUSDT,ETHUSDT"}).json()
    trading = {"BTCUSDT", "ETHUSDT"} if candles == COUNT else {"BTCUSDT"}
    pairs = [trade["symbol"] for trade in told["trades"]]
    assert set(pairs) == trading
    rows = client.get(told["reports"]["trades"]).json()["results"]
    assert rows == told["trades"]
    table = pq.ParquetFile(io.BytesIO(streamed(client.get(told["reports"]["trades_parquet"])))).read()
    assert table.column_names == list(rows[0])
    assert table["symbol"].to_pylist() == pairs
    written = pd.read_csv(io.BytesIO(streamed(client.get(told["reports"]["csv"]))))
    assert written["symbol"].tolist() == pairs
    page = client.get(told["reports"]["page"], {"tab": "trades"})
    assert page.status_code == 200
    assert [row["symbol"] for row in page.context["trades"]] == pairs[:100]
    assert page.content.decode().count("<td>BTCUSDT</td>") == pairs[:100].count("BTCUSDT")


def test_an_old_report_that_names_no_pair_shows_the_trades_of_the_one_that_traded(
    client: Client, series: SeriesKey
) -> None:
    store_walk("AAAUSDT", count=5)
    told = client.get("/api/v1/backtest/", {**SPEC, "symbol": "AAAUSDT,BTCUSDT"}).json()
    alone = run(candle_store().read(series, start=None, end=None), BacktestSpec.of(SPEC))
    report_shelf().publish(told["id"], report_files(alone), symbol="AAAUSDT+BTCUSDT", timeframe="15m")
    page = client.get(told["reports"]["page"], {"tab": "trades"})
    assert {row["symbol"] for row in page.context["trades"]} == {"BTCUSDT"}


def test_backtest_idempotent_post(client: Client, series: SeriesKey, no_queue: list[int]) -> None:
    first = post(client, "/api/v1/backtests/", SPEC, **{"Idempotency-Key": "k1"})
    candle_store().merge(series, walk(5, COUNT + 9, timeframe=series.timeframe), source=Source.REST)
    again = post(client, "/api/v1/backtests/", SPEC, **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    for body in ({**SPEC, "stop_atr": 3}, {**SPEC, "note": "another body"}):
        assert post(client, "/api/v1/backtests/", body, **{"Idempotency-Key": "k1"}).status_code == 409
    assert Backtest.objects.count() == 1
