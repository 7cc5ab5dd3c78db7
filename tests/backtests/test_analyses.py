"""Analyses as jobs: asked for by API, done in parts, visible while they run, cancelled, taken up again."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from backtests import tasks
from backtests.engine.bench import Bench
from backtests.engine.run import run
from backtests.engine.spec import BacktestSpec
from backtests.models import Analysis, AnalysisPart, Backtest
from backtests.services import analysing, running
from markets.models import Job, JobState
from markets.moments import iso
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services import jobs
from markets.store import Source
from tests.backtests.conftest import COUNT
from tests.factories import walk

pytestmark = pytest.mark.django_db

SPEC = {"symbol": "BTCUSDT", "timeframe": "15m"}
AXES = {"stop_atr": [1.0, 2.0, 3.0], "target_r": [1.0, 2.0]}


# A sweep and a walk-forward of three parts each: where it is asked for, and with what.
Check = Callable[[], None]
IN_PARTS = pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/sweeps/", {**SPEC, "axes": AXES}),
        (
            "/api/v1/analyses/",
            {**SPEC, "method": "walk_forward", "axes": {"stop_atr": [1, 2]}, "windows": 3, "in_sample": 2},
        ),
    ],
    ids=["sweep", "walk-forward"],
)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker: jobs wait to be run by hand, and nobody helps."""
    monkeypatch.setattr(tasks, "put_on_queue", lambda task, job_id: True)
    monkeypatch.setattr(tasks, "_call_for_help", lambda job: None)
    analysing._bench.cache_clear()


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    return client.post(path, json.dumps(body), content_type="application/json", headers=headers)


def test_a_sweep_is_asked_for_run_and_read(client: Client, series: SeriesKey) -> None:
    response = post(
        client, "/api/v1/sweeps/", {**SPEC, "kinds": "BOS", "axes": AXES, "metric": "net_profit", "note": "x"}
    )
    assert response.status_code == 202, response.content
    job = response.json()
    assert (job["state"], job["progress"], job["metrics"]) == ("queued", 0.0, None)
    assert job["grid"] == [[None, None]] * 3
    assert job["axes"] == AXES
    tasks.run_analysis(job["id"])
    told = client.get(response["Location"]).json()
    assert (told["state"], told["error"]) == ("done", "")
    assert told["metrics"]["parts_done"] == 3
    candles = candle_store().read(series, start=None, end=None)
    for row, stop in enumerate(AXES["stop_atr"]):
        for column, target in enumerate(AXES["target_r"]):
            spec = BacktestSpec.of({**SPEC, "kinds": "BOS", "stop_atr": stop, "target_r": target})
            assert told["grid"][row][column]["net_profit"] == run(candles, spec).metrics["net_profit"]
    listed = client.get("/api/v1/sweeps/").json()["results"]
    assert [each["id"] for each in listed] == [job["id"]]


@pytest.mark.parametrize("path", ["/api/v1/sweeps/", "/api/v1/analyses/"])
def test_a_list_of_analyses_reads_no_result(
    client: Client, series: SeriesKey, django_assert_num_queries: Any, path: str
) -> None:
    """A grid is a hundred kilobytes and more; it is told one by one."""
    for stop in (1.0, 2.0, 3.0):
        job = post(client, "/api/v1/sweeps/", {**SPEC, "axes": {"stop_atr": [stop], "target_r": [1.0, 2.0]}}).json()
        tasks.run_analysis(job["id"])
    with django_assert_num_queries(1):
        rows = client.get(path).json()["results"]
    assert [row["state"] for row in rows] == ["done"] * 3
    assert all(row["metrics"] is None for row in rows)


def test_what_is_done_of_a_sweep_is_visible(client: Client, series: SeriesKey) -> None:
    job = post(client, "/api/v1/sweeps/", {**SPEC, "axes": AXES}).json()
    jobs.take(Analysis, job["id"], worker="w")
    first = AnalysisPart.objects.filter(analysis=job["id"]).first()
    assert first is not None
    assert analysing.help_with(first.pk) is True
    assert analysing.help_with(first.pk) is False
    told = client.get(f"/api/v1/sweeps/{job['id']}/").json()
    assert told["state"] == "running"
    assert told["grid"][0][0]["trades"] > 0
    assert told["grid"][1] == [None, None]


@IN_PARTS
def test_a_second_attempt_goes_on_from_the_parts_that_are_done(
    client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    job = post(client, path, body).json()
    do_part = analysing.do_part
    done: list[int] = []
    again: list[int] = []

    def die_after_two(part: AnalysisPart, check: Check) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part.number)
        do_part(part, check)

    monkeypatch.setattr(analysing, "do_part", die_after_two)
    with pytest.raises(KeyboardInterrupt):
        tasks.run_analysis(job["id"])
    Job.objects.filter(pk=job["id"]).update(state=JobState.QUEUED)

    def note_and_do(part: AnalysisPart, check: Check) -> None:
        again.append(part.number)
        do_part(part, check)

    monkeypatch.setattr(analysing, "do_part", note_and_do)
    tasks.run_analysis(job["id"])
    assert sorted(done + again) == [0, 1, 2]
    assert client.get(f"{path}{job['id']}/").json()["state"] == "done"


@IN_PARTS
def test_a_cancelled_analysis_keeps_what_it_has(
    client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    job = post(client, path, body).json()
    do_part = analysing.do_part

    def cancel_then_do(part: AnalysisPart, check: Check) -> None:
        do_part(part, check)
        client.post(f"{path}{job['id']}/cancel")
        time.sleep(0.3)  # progress asks at most four times a second

    monkeypatch.setattr(analysing, "do_part", cancel_then_do)
    tasks.run_analysis(job["id"])
    told = client.get(f"{path}{job['id']}/").json()
    assert told["state"] == "cancelled"
    assert "grid" not in told or [row != [None, None] for row in told["grid"]] == [False, False, True]
    parts = AnalysisPart.objects.filter(analysis=job["id"]).order_by("number")
    assert [part.result is not None for part in parts] == [False, False, True]
    left = AnalysisPart.objects.filter(analysis=job["id"], finished_at=None).first()
    assert left is not None
    assert analysing.help_with(left.pk) is False


@pytest.mark.parametrize("who", ["leads", "helps"])
def test_a_part_under_way_is_left_when_its_analysis_is_cancelled(
    client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """A part may be a row of two thousand runs, and a cancel has three seconds."""
    many = {"stop_atr": [1.0], "target_r": [1 + k / 10 for k in range(40)]}
    job = post(client, "/api/v1/sweeps/", {**SPEC, "axes": many}).json()
    monkeypatch.setattr(analysing, "_WATCH_SECONDS", 0.0)
    trial, done = Bench.trial, []

    def cancel_after_two(self: Bench, spec: BacktestSpec) -> Any:
        found = trial(self, spec)
        done.append(spec)
        if len(done) == 2:
            client.post(f"/api/v1/sweeps/{job['id']}/cancel")
            time.sleep(0.3)  # progress asks at most four times a second
        return found

    monkeypatch.setattr(Bench, "trial", cancel_after_two)
    part = AnalysisPart.objects.get(analysis=job["id"])
    if who == "leads":
        tasks.run_analysis(job["id"])
        assert client.get(f"/api/v1/sweeps/{job['id']}/").json()["state"] == "cancelled"
    else:
        jobs.take(Analysis, job["id"], worker="w")
        assert analysing.help_with(part.pk) is False
    assert len(done) == 2
    part.refresh_from_db()
    assert part.result is None


def test_another_version_ends_an_analysis_that_is_under_way(
    client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = post(client, "/api/v1/sweeps/", {**SPEC, "axes": AXES}).json()
    monkeypatch.setattr("backtests.selectors.DETECTOR_VERSION", 999)
    tasks.run_analysis(job["id"])
    told = client.get(f"/api/v1/sweeps/{job['id']}/").json()
    assert told["state"] == "failed"
    assert "this version" in told["error"]


def test_candles_that_change_during_an_analysis_end_it(client: Client, series: SeriesKey) -> None:
    job = post(client, "/api/v1/sweeps/", {**SPEC, "axes": AXES}).json()
    candle_store().merge(series, walk(6, COUNT, timeframe=series.timeframe), source=Source.REST)
    tasks.run_analysis(job["id"])
    told = client.get(f"/api/v1/sweeps/{job['id']}/").json()
    assert told["state"] == "failed"
    assert "candles changed" in told["error"]


def test_candles_that_come_after_an_analysis_began_play_no_part(client: Client, series: SeriesKey) -> None:
    job = post(client, "/api/v1/sweeps/", {**SPEC, "axes": AXES}).json()
    longer = walk(5, COUNT + 50, timeframe=series.timeframe)
    candle_store().merge(series, longer.take(slice(COUNT, None)), source=Source.STREAM)
    tasks.run_analysis(job["id"])
    told = client.get(f"/api/v1/sweeps/{job['id']}/").json()
    assert told["state"] == "done", told["error"]


@pytest.mark.parametrize(
    ("body", "status", "field", "hint"),
    [
        ({}, 422, "axes", "one or two parameters"),
        ({"axes": {"stop_art": [1]}}, 422, "stop_art", "stop_atr"),
        ({"axes": {"stop_atr": []}}, 422, "axes", "list of values"),
        ({"axes": "stop_atr"}, 400, "axes", ""),
        ({"axes": AXES, "metric": "luck"}, 400, "metric", ""),
        ({"axes": {name: [1 + k / 99 for k in range(60)] for name in AXES}}, 413, "axes", "about"),
    ],
)
def test_bad_sweeps_are_refused(
    client: Client, series: SeriesKey, body: dict[str, Any], status: int, field: str, hint: str
) -> None:
    response = post(client, "/api/v1/sweeps/", {**SPEC, **body})
    assert response.status_code == status, response.content
    assert field in response.json()["errors"]
    assert hint in response.json()["detail"]
    assert not Job.objects.exists()


def test_too_many_runs_name_the_cap_and_the_time(
    client: Client, series: SeriesKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysing, "MAX_RUNS", 5)
    response = post(client, "/api/v1/sweeps/", {**SPEC, "axes": AXES})
    assert response.status_code == 413
    assert "at most 5 runs" in response.json()["detail"]
    assert "about" in response.json()["detail"]


def test_a_dry_run_tells_the_cost_and_runs_nothing(client: Client, series: SeriesKey) -> None:
    told = post(client, "/api/v1/sweeps/", {**SPEC, "axes": AXES, "dry_run": True})
    assert told.status_code == 200
    assert (told.json()["runs"], told.json()["candles"]) == (6, COUNT)
    assert told.json()["seconds"] >= 1
    assert not Job.objects.exists()


def test_the_same_key_gives_the_same_analysis(client: Client, series: SeriesKey) -> None:
    first, again = (
        post(client, "/api/v1/sweeps/", {**SPEC, "axes": AXES}, **{"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert first.json()["id"] == again.json()["id"]
    noted = post(client, "/api/v1/sweeps/", {**SPEC, "axes": AXES, "note": "another"}, **{"Idempotency-Key": "k"})
    assert noted.status_code == 409
    assert AnalysisPart.objects.count() == 3


@pytest.mark.parametrize(
    ("method", "options", "key"),
    [
        ("walk_forward", {"axes": {"stop_atr": [1, 2]}, "windows": 3, "in_sample": 2, "min_trades": 1}, "windows"),
        ("null", {"draws": 40, "seed": 7}, "metrics"),
        ("costs", {}, "grid"),
        ("look_ahead", {"cuts": 5}, "identical"),
    ],
)
def test_every_method_is_a_job(
    client: Client, series: SeriesKey, method: str, options: dict[str, Any], key: str
) -> None:
    response = post(client, "/api/v1/analyses/", {**SPEC, "method": method, **options})
    assert response.status_code == 202, response.content
    page = f"/web/backtest/sweep/{response.json()['id']}"
    assert 'data-state="queued"' in client.get(page).text
    tasks.run_analysis(response.json()["id"])
    told = client.get(response["Location"]).json()
    assert (told["state"], told["error"]) == ("done", "")
    assert told["metrics"][key]
    assert 'data-state="done"' in client.get(page).text
    assert told["method"] == method
    assert client.get(f"/api/v1/sweeps/{told['id']}/").status_code == 404
    assert [each["id"] for each in client.get("/api/v1/analyses/").json()["results"]] == [told["id"]]


def test_the_windows_of_a_walk_forward_lie_where_candles_are_stored(client: Client, series: SeriesKey) -> None:
    body = {**SPEC, "from": "2010-01-01", "method": "walk_forward", "axes": {"stop_atr": [1, 2]}, "windows": 3}
    job = post(client, "/api/v1/analyses/", body).json()
    parts = list(AnalysisPart.objects.filter(analysis=job["id"]).order_by("number"))
    assert parts[0].spec["start"] == candle_store().read(series, start=None, end=None).open_time[0]


def test_bands_and_comparisons_of_runs(client: Client, series: SeriesKey) -> None:
    ids = [running.run_now(BacktestSpec.of({**SPEC, "stop_atr": stop})).pk for stop in (1.0, 2.0)]
    for resampling in ("shuffle", "block"):
        told = client.get(f"/api/v1/backtests/{ids[0]}/bands/", {"resampling": resampling, "draws": 200}).json()
        assert len(told["bands"]["equity"]["0.5"]) == len(told["bands"]["trade"])
        trades = client.get(f"/api/v1/backtests/{ids[0]}/trades/").json()["results"]
        ends = [iso(Backtest.objects.get(pk=ids[0]).start), *sorted(each["exit_time"] for each in trades)]
        assert told["bands"]["time"] == [ends[count] for count in told["bands"]["trade"]]
    assert client.get(f"/api/v1/backtests/{ids[0]}/bands/", {"draws": "1"}).status_code == 400
    told = client.get("/api/v1/backtests/compare/", {"ids": f"{ids[0]},{ids[1]}"}).json()
    assert told["differences"] == {"stop_atr": [1.0, 2.0]}
    assert told["same_range"] is told["same_candles"] is True
    assert len(told["metrics"]["return_pct"]) == 2
    assert client.get("/api/v1/backtests/compare/", {"ids": str(ids[0])}).status_code == 400
    assert client.get("/api/v1/backtests/compare/", {"ids": f"{ids[0]},999999"}).status_code == 404
