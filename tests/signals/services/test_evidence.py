"""Studies of stored series: by service, command, API and job; the track record."""

import json

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from markets.errors import NoCandlesError, TooLargeError
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from signals.engine import DETECTOR_VERSION, Detector, Params
from signals.evidence import EvidenceSpec
from signals.models import PublishedSignal, Study
from signals.services import evidence
from signals.tasks import run_study, submit_study
from tests.factories import walk

pytestmark = pytest.mark.django_db

COUNT = 4_000


@pytest.fixture
def series(request: pytest.FixtureRequest) -> SeriesKey:
    """A series of its own for each test, stored and known."""
    key = SeriesKey.of(f"EV{abs(hash(request.node.name)) % 10**9}", "15m")
    candle_store().merge(key, walk(5, COUNT, timeframe=Timeframe.M15), source=Source.FILE)
    ensure_series(key)
    return key


def test_nothing_after_the_end_of_the_range_is_read(series: SeriesKey) -> None:
    """A study up to a moment is the same before and after the candles that follow it are stored."""
    candles = candle_store().read(series, start=None, end=None)
    end = int(candles.open_time[2_500])
    short = SeriesKey.of(f"{series.symbol}S", "15m")
    candle_store().merge(short, candles.between(None, end), source=Source.FILE)
    spec = EvidenceSpec(end=end, draws=100, with_conditions=True)
    whole, cut = evidence.study_series(series, spec), evidence.study_series(short, spec)
    assert whole == cut


def test_a_series_without_candles_is_an_error_that_names_it() -> None:
    with pytest.raises(NoCandlesError, match="NOTHING:1h"):
        evidence.study_series(SeriesKey.of("NOTHING", "1h"), EvidenceSpec())


def test_a_range_too_large_for_a_request_names_the_cap(series: SeriesKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MAX_CANDLES_NOW", COUNT - 1)
    with pytest.raises(TooLargeError, match=f"{COUNT - 1:,}"):
        evidence.study_now(series, EvidenceSpec(draws=100))
    end = int(candle_store().read(series, start=None, end=None).open_time[-1])
    assert evidence.study_now(series, EvidenceSpec(draws=100, end=end))["provenance"]["candles"] == COUNT - 1


def test_more_draws_than_a_request_may_ask_for_are_for_a_job(series: SeriesKey, client: Client) -> None:
    asked = {
        "symbol": series.symbol,
        "timeframe": "15m",
        "horizons": ",".join(str(each) for each in range(1, 13)),
        "draws": "10000",
        "conditions": "true",
        "split": "2023-11-20",
    }
    answer = client.get("/api/v1/signals/evidence/", asked)
    assert answer.status_code == 413
    assert "6,000,000,000" in answer.json()["detail"]
    assert "POST" in answer.json()["detail"]
    assert list(answer.json()["errors"]) == ["draws"]
    assert client.post("/api/v1/studies/", asked, content_type="application/json").status_code == 202
    assert client.get("/api/v1/signals/evidence/", asked | {"draws": "100"}).status_code == 200
    late = client.get("/api/v1/signals/evidence/", asked | {"from": "2023-12-20T00:00Z"})
    assert late.status_code == 200


def test_all_that_the_page_asks_is_answered_at_once() -> None:
    largest = EvidenceSpec(split=0, with_conditions=True)
    assert largest.moves(evidence.MAX_CANDLES_NOW) <= evidence.MAX_MOVES_NOW


def test_the_same_question_is_answered_from_the_cache_until_the_candles_change(
    series: SeriesKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.clear()
    first = evidence.study_now(series, EvidenceSpec(draws=100))
    with monkeypatch.context() as patch:
        patch.setattr(evidence, "study_series", None)
        assert json.dumps(evidence.study_now(series, EvidenceSpec(draws=100))) == json.dumps(first)
    more = walk(9, 10, timeframe=Timeframe.M15, start=first["provenance"]["last_time"] + 900_000)
    candle_store().merge(series, more, source=Source.STREAM)
    again = evidence.study_now(series, EvidenceSpec(draws=100))
    assert again["provenance"]["candles"] == COUNT + 10


def test_candles_of_a_higher_timeframe_change_an_answer_with_conditions(series: SeriesKey) -> None:
    cache.clear()
    spec = EvidenceSpec(draws=100, with_conditions=True)

    def conditions() -> set[str]:
        return {row["condition"] for row in evidence.study_now(series, spec)["conditions"]}

    assert "trend 4h" not in conditions()
    hours = SeriesKey(series.symbol, Timeframe.H4)
    candle_store().merge(hours, walk(6, 100, timeframe=Timeframe.H4), source=Source.FILE)
    assert "trend 4h" in conditions()


def test_the_command_prints_the_table_and_json(series: SeriesKey, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["evidence", "--symbol", series.symbol, "--timeframe", "15m", "--draws", "100", "--horizons", "4,12"]
    call_command(*asked)
    assert "mean_atr" in capsys.readouterr().out
    call_command(*asked, "--json")
    told = json.loads(capsys.readouterr().out)
    assert {row["horizon"] for row in told["rows"]} == {4, 12}
    assert {"kind", "direction", "n", "mean_atr", "hit_rate", "ci_low", "p_value", "q_value", "enough"} <= set(
        told["rows"][0]
    )
    few = [row for row in told["rows"] if row["n"] < 50]
    assert few
    assert all(row["p_value"] is None and not row["enough"] for row in few)


@pytest.mark.parametrize(
    ("extra", "code", "names"),
    [
        (["--draws", "3"], 2, "draws"),
        (["--horizons", "0"], 2, "horizon"),
        (["--from", "2030-01-01"], 1, "no candles"),
    ],
)
def test_the_command_names_what_is_wrong(series: SeriesKey, extra: list[str], code: int, names: str) -> None:
    with pytest.raises(CommandError, match=names) as error:
        call_command("evidence", "--symbol", series.symbol, "--timeframe", "15m", *extra)
    assert error.value.returncode == code


def test_the_api_answers_now_and_by_job(
    series: SeriesKey, client: Client, django_capture_on_commit_callbacks: object
) -> None:
    asked = {"symbol": series.symbol, "tf": "15m", "horizons": "4", "draws": "100"}
    now = client.get("/api/v1/signals/evidence/", asked)
    assert now.status_code == 200
    assert now.json()["provenance"]["symbol"] == series.symbol
    answer = client.post("/api/v1/studies/", asked, content_type="application/json", headers={"Idempotency-Key": "one"})
    assert answer.status_code == 202
    assert (
        client.post(
            "/api/v1/studies/", asked, content_type="application/json", headers={"Idempotency-Key": "one"}
        ).json()["id"]
        == answer.json()["id"]
    )
    run_study(answer.json()["id"])
    done = client.get(answer["Location"]).json()
    assert done["state"] == "done"
    assert done["metrics"]["rows"] == now.json()["rows"]
    assert client.post(f"{answer['Location']}cancel").status_code == 409


def test_a_list_of_studies_tells_no_tables_and_reads_none(series: SeriesKey, client: Client) -> None:
    spec = {"symbol": series.symbol, "timeframe": "15m", "draws": 100}
    counts = []
    for _ in range(2):
        run_study(submit_study(Study(symbol=series.symbol, timeframe="15m", spec=spec)).pk)
        with CaptureQueriesContext(connection) as queries:
            told = client.get("/api/v1/studies/").json()["results"]
        assert [row["state"] for row in told] == ["done"] * len(told)
        assert all("metrics" not in row and row["spec"] == spec for row in told)
        assert not any('"result"' in query["sql"] for query in queries)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    with CaptureQueriesContext(connection) as queries:
        assert f"#{told[0]['id']}" in client.get("/web/evidence").text
    assert not any('"result"' in query["sql"] for query in queries)
    assert client.get(f"/api/v1/studies/{told[0]['id']}/").json()["metrics"]["rows"]


@pytest.mark.parametrize(
    ("draws", "status"),
    [(100, 202), ("100", 202), (100.0, 202), (100.5, 400), ("100.0", 400), (1e300, 400), (True, 400), ([100], 400)],
)
def test_a_whole_number_is_one_however_json_writes_it(
    series: SeriesKey, client: Client, draws: object, status: int
) -> None:
    asked = {"symbol": series.symbol, "timeframe": "15m", "draws": draws}
    answer = client.post("/api/v1/studies/", asked, content_type="application/json")
    assert answer.status_code == status
    if status == 400:
        assert list(answer.json()["errors"]) == ["draws"]


def test_a_cancelled_study_ends_without_a_result(series: SeriesKey) -> None:
    spec = {"symbol": series.symbol, "timeframe": "15m", "draws": 100}
    job = submit_study(Study(symbol=series.symbol, timeframe="15m", spec=spec))
    Study.objects.filter(pk=job.pk).update(is_cancel_requested=True)
    run_study(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result) == ("cancelled", None)


def publish_all(series: SeriesKey, *, late: int, drop: int) -> int:
    """Write the series' signals into the ledger: the first ``late`` as late, the last ``drop`` not at all."""
    candles = candle_store().read(series, start=None, end=None)
    table = Detector(Params()).run(candles).table
    rows = []
    for place, (kind, row, confirm) in enumerate(
        zip(table.column("kind"), table.rows, table.column("confirm_time").tolist(), strict=True)
    ):
        if place < len(table) - drop:
            rows.append(
                PublishedSignal(
                    symbol=series.symbol, timeframe="15m", scale="internal", kind=kind,
                    direction=int(row["direction"]), event_time=int(row["event_time"]), ref_time=int(row["ref_time"]),
                    confirm_time=confirm, closed_at=confirm + 900_000, level=float(row["level"]), strength=50.0,
                    published_at=timezone.now(), is_late=place < late, detector_version=DETECTOR_VERSION,
                    params_digest=Params().digest,
                )
            )  # fmt: skip
    PublishedSignal.objects.bulk_create(rows)
    return len(rows)


def test_the_track_record_sets_what_was_told_in_time_beside_what_is_found_now(series: SeriesKey) -> None:
    told = publish_all(series, late=40, drop=7)
    record = evidence.track_record(series, "internal", draws=100)
    assert record.counts["late"] == 40
    assert record.counts["in_time"] == told - 40
    assert record.counts["missing"] == 0
    assert record.counts["extra"] >= 7
    assert record.published is not None
    assert record.published.provenance["signals"] == told - 40
    assert record.counts["recomputed"] == record.counts["in_time"] + record.counts["extra"]


def test_a_long_track_record_judges_what_was_told_in_its_newest_candles(
    series: SeriesKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_all(series, late=0, drop=0)
    whole = evidence.track_record(series, "internal", draws=100)
    monkeypatch.setattr(evidence, "MAX_CANDLES_NOW", 1_000)
    record = evidence.track_record(series, "internal", draws=100)
    last = candle_store().last_time(series)
    assert last is not None
    newest = PublishedSignal.objects.filter(confirm_time__gt=last - 1_000 * 900_000).count()
    assert 100 < newest < whole.counts["in_time"]
    assert record.counts == {"in_time": newest, "late": 0, "revised": 0, "recomputed": newest, "missing": 0, "extra": 0}


def test_a_series_that_told_nothing_yet_has_an_empty_track_record(series: SeriesKey, client: Client) -> None:
    answer = client.get("/api/v1/signals/track-record/", {"symbol": series.symbol, "timeframe": "15m"})
    assert answer.status_code == 200
    assert answer.json()["counts"]["in_time"] == 0
    assert answer.json()["published"] is None
