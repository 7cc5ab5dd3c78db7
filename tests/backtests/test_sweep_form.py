"""A sweep asked for with the form of a new run: it becomes a job, and every mistake is told beside its field."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.test import Client

from backtests import tasks
from backtests.engine.breakdowns import FEW
from backtests.engine.methods.costs import MULTIPLES
from backtests.engine.parameters import parameters_of
from backtests.engine.spec import BacktestSpec
from backtests.engine.strategies import STRATEGIES
from backtests.forms import BacktestForm
from backtests.models import Analysis, Backtest
from backtests.services import analysing
from backtests.services.analysing import new_analysis, save_analysis
from backtests.tasks import run_analysis
from markets.series import SeriesKey
from tests.backtests.conftest import COUNT
from tests.markup import squeezed

pytestmark = pytest.mark.django_db

RUN = {"symbol": "BTCUSDT", "timeframe": "15m", "strategy": "breakout"}


@pytest.fixture(autouse=True)
def queued(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Jobs that would have gone to the queue."""
    numbers: list[int] = []
    monkeypatch.setattr(tasks, "put_on_queue", lambda task, job_id: numbers.append(job_id))
    return numbers


@pytest.fixture
def usual(series: SeriesKey, client: Client) -> dict[str, Any]:
    """The fields of the form as a browser sends them when nobody changed one."""
    return {**sent(client.get("/web/backtest").context["form"]), **RUN}


def sent(form: BacktestForm) -> dict[str, Any]:
    """Return what a browser sends of a form that nobody changed: no boxes without a tick."""
    values = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    return {name: value for name, value in values.items() if value is not None and value is not False}


def typed(text: str, name: str) -> str | None:
    """Return what stands in an input of the page."""
    found = re.search(rf'<input[^>]* name="{name}"[^>]* value="([^"]*)"', text)
    return found.group(1) if found else None


def error_beside(text: str, name: str) -> str:
    """Return what the page says is wrong with a field, empty for nothing."""
    found = re.search(rf'id="id_{name}_error">(.*?)</span>', text)
    return found.group(1) if found else ""


def test_two_parameters_with_their_values_start_a_sweep(
    client: Client, usual: dict[str, Any], queued: list[int], django_capture_on_commit_callbacks: Any
) -> None:
    asked = {"axis_1": "stop_atr", "values_1": "0.1:0.3:0.1", "axis_2": "max_bars", "values_2": "0, 10:30:10"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post("/web/backtest", {**usual, **asked, "metric": "net_profit", "note": "wider"})
    job = Analysis.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/web/backtest/sweep/{job.pk}")
    assert queued == [job.pk]
    assert job.spec["axes"] == {"stop_atr": [0.1, 0.2, 0.3], "max_bars": [0, 10, 20, 30]}
    assert (job.method, job.spec["metric"], job.note, job.parts.count()) == ("sweep", "net_profit", "wider", 3)
    assert not Backtest.objects.exists()
    listed = client.get("/web/backtest").text
    assert f"/web/backtest/sweep/{job.pk}" in listed
    assert "wider" in listed


def test_scripts_are_sent_on_to_the_page_of_the_sweep(client: Client, usual: dict[str, Any]) -> None:
    asked = {"axis_2": "direction", "values_2": "long,short"}
    answer = client.post("/web/backtest", {**usual, **asked}, headers={"HX-Request": "true"})
    assert answer["HX-Redirect"] == f"/web/backtest/sweep/{Analysis.objects.get().pk}"


def test_without_a_parameter_to_vary_a_single_run_starts(client: Client, usual: dict[str, Any]) -> None:
    assert usual["metric"] == "expectancy_r"
    client.post("/web/backtest", usual)
    assert Backtest.objects.count() == 1
    assert not Analysis.objects.exists()


@pytest.mark.parametrize(
    ("asked", "field", "told"),
    [
        ({"axis_1": "stop_art", "values_1": "1"}, "axis_1", "did you mean stop_atr"),
        ({"axis_1": "kinds", "values_1": "BOS"}, "axis_1", "unknown parameter"),
        ({"axis_1": "detail_timeframe", "values_1": "1m"}, "axis_1", "unknown parameter"),
        ({"values_1": "1, 2"}, "axis_1", "Must be the parameter that takes these values."),
        ({"axis_1": "stop_atr"}, "values_1", "stop_atr needs values, each a number from"),
        ({"axis_1": "stop_atr", "values_1": " , "}, "values_1", "stop_atr needs values"),
        ({"axis_1": "stop_atr", "values_1": "1, two"}, "values_1", "must be a number from"),
        ({"axis_1": "stop_atr", "values_1": "1, nan"}, "values_1", "must be a number from"),
        ({"axis_1": "stop_atr", "values_1": "1, -1"}, "values_1", "must be a number from"),
        ({"axis_1": "max_bars", "values_1": "10:20:2.5"}, "values_1", "must be a whole number"),
        ({"axis_1": "stop_atr", "values_1": "1, 1.0"}, "values_1", "stop_atr has the value 1.0 twice"),
        ({"axis_1": "stop_atr", "values_1": "1:2"}, "values_1", "must be from:to:step"),
        ({"axis_1": "stop_atr", "values_1": "2:1:0.5"}, "values_1", "must rise"),
        ({"axis_1": "stop_atr", "values_1": "1:2:0"}, "values_1", "the step of stop_atr must be a number from"),
        ({"axis_1": "stop_atr", "values_1": "1:2:1e-999"}, "values_1", "the step of stop_atr must be a number from"),
        ({"axis_1": "stop_atr", "values_1": "1:x:1"}, "values_1", "must be a number from"),
        ({"axis_1": "step_size", "values_1": ":1:1"}, "values_1", "must be a number from"),
        ({"axis_1": "step_size", "values_1": "0:1:"}, "values_1", "the step of step_size must be a number from"),
        ({"axis_1": "direction", "values_1": "long:short:1"}, "values_1", "a range is for numbers"),
        ({"axis_1": "max_bars", "values_1": "0:1000000:1"}, "values_1", "1,000,001 values, more than the 2,500"),
        (
            {"axis_1": "stop_atr", "values_1": "1, 2", "axis_2": "stop_atr", "values_2": "3"},
            "axis_2",
            "another parameter than the first",
        ),
        (
            {"axis_1": "max_bars", "values_1": "1:100:1", "axis_2": "stop_atr", "values_2": "1:3:0.05"},
            "values_2",
            "4,100 settings, more than the 2,500 allowed",
        ),
        ({"axis_1": "partial_r", "values_1": "1, 5"}, "values_1", "partial_r must be below target_r"),
        ({"axis_1": "stop_atr", "values_1": "1, 2", "metric": "luck"}, "metric", "Must be one of expectancy_r"),
    ],
)
def test_a_mistake_is_told_beside_its_field_and_nothing_typed_is_lost(
    client: Client, usual: dict[str, Any], asked: dict[str, str], field: str, told: str
) -> None:
    answer = client.post("/web/backtest", {**usual, **asked, "note": "kept"})
    text = squeezed(answer.text)
    assert answer.status_code == 422
    assert told in error_beside(text, field)
    assert text.count('_error">') == 1, "one mistake is told once"
    assert '<details class="group" open><summary>Sweep' in text
    assert {name: typed(text, name) for name in ("values_1", "values_2") if name in asked} == {
        name: value for name, value in asked.items() if name.startswith("values")
    }
    assert typed(text, "note") == "kept"
    assert not Analysis.objects.exists()


def test_what_is_too_much_for_one_analysis_is_told_beside_the_values(
    client: Client, usual: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysing, "MAX_RUNS", 3)
    answer = client.post("/web/backtest", {**usual, "axis_1": "stop_atr", "values_1": "1:4:1"})
    assert "at most 3 runs" in error_beside(answer.text, "values_1")


def test_the_estimate_counts_the_runs_and_the_stored_candles(client: Client, usual: dict[str, Any]) -> None:
    asked = {"axis_1": "stop_atr", "values_1": "1:2:0.5", "axis_2": "target_r", "values_2": "1,2"}
    told = squeezed(client.get("/web/backtest/estimate", {**usual, **asked}).text)
    assert f"Sweep of 6 runs over {COUNT:,} candles" in told
    assert "Sweep" not in client.get("/web/backtest/estimate", usual).text
    early = client.get("/web/backtest/estimate", {**usual, **asked, "from": "2020-01-01"}).text
    assert f"Sweep of 6 runs over {COUNT:,} candles" in squeezed(early)
    wrong = client.get("/web/backtest/estimate", {**usual, **asked, "values_2": "1,x"})
    assert "target_r must be a number" in wrong.text


def test_the_estimate_is_what_a_dry_run_of_the_api_tells(client: Client, usual: dict[str, Any]) -> None:
    for path, axis, axes in (
        ("/api/v1/backtests/", {}, {}),
        ("/api/v1/sweeps/", {"axis_1": "stop_atr", "values_1": "1,2"}, {"axes": {"stop_atr": [1.0, 2.0]}}),
    ):
        shown = client.get("/web/backtest/estimate", {**usual, **axis}).context
        told = client.post(path, {**RUN, **axes, "dry_run": True}, content_type="application/json").json()
        assert {name: shown[name] for name in told} == told


def test_a_form_without_scripts_keeps_what_was_typed_when_it_shows_another_strategys_fields(
    client: Client, usual: dict[str, Any]
) -> None:
    asked = {"strategy": "sweep_reversal", "axis_1": "target_r", "values_1": "1:3:1", "slippage_bps": "7"}
    text = client.get("/web/backtest", {**usual, **asked}).text
    assert '<option value="target_r" selected>' in text
    assert (typed(text, "values_1"), typed(text, "slippage_bps")) == ("1:3:1", "7.0")


@pytest.mark.parametrize("compared", [each for each in STRATEGIES if each != "random"])
def test_entries_at_random_are_compared_with_any_strategy(client: Client, series: SeriesKey, compared: str) -> None:
    chosen = {"strategy": "random", "compared": compared}
    shown = client.get("/web/backtest", chosen, headers={"HX-Request": "true", "HX-Target": "strategy-fields"})
    assert set(re.findall(r'name="(\w+)"', shown.text)) >= {each.name for each in parameters_of(STRATEGIES[compared])}
    answer = client.post(
        "/web/backtest", {**sent(client.get("/web/backtest", chosen).context["form"]), **RUN, **chosen}
    )
    assert answer.status_code == 302, answer.context["form"].errors
    run = Backtest.objects.get()
    assert run.spec == BacktestSpec.of({**RUN, **chosen}).as_dict()

    again = client.get(f"/web/backtest?again={run.pk}&strategy=random").context["form"]
    client.post("/web/backtest", sent(again))
    assert Backtest.objects.latest("pk").spec == run.spec
    assert Backtest.objects.count() == 2


def test_fields_of_another_strategy_do_not_keep_a_run_from_starting(client: Client, usual: dict[str, Any]) -> None:
    """Without scripts, or faster than they are, the fields are still those of the strategy chosen before."""
    answer = client.post("/web/backtest", {**usual, "strategy": "random", "compared": "fvg_retest"})
    assert answer.status_code == 302, answer.context["form"].errors
    assert Backtest.objects.get().spec["ttl_bars"] == 50


def test_a_cell_leads_to_the_form_filled_with_its_values(client: Client, series: SeriesKey) -> None:
    values = {**RUN, "from": None, "kinds": "BOS", "break_even_costs": False, "slippage_bps": 7.0}
    axes = {"stop_atr": [1.0, 2.0], "exit_on_opposite": [True, False]}
    job = save_analysis(new_analysis("sweep", BacktestSpec.of(values), {"axes": axes, "metric": "expectancy_r"}))
    run_analysis(job.pk)
    text = squeezed(client.get(f"/web/backtest/sweep/{job.pk}").text)
    cells = re.findall(r'<td class="num heat[^>]*><a href="([^"]*)" title="([0-9,]+) trades?">', text)
    assert len(cells) == 4
    grid = client.get(f"/api/v1/sweeps/{job.pk}/").json()["grid"]
    assert [told for _, told in cells] == [f"{cell['trades']:,}" for row in grid for cell in row]
    assert text.count("is-thin") == sum(cell["trades"] < FEW for row in grid for cell in row)
    assert f"fewer than {FEW} trades" in text
    assert text.count("is-robust") == 1

    address = unescape(cells[2][0])
    assert dict(parse_qsl(urlsplit(address).query)).keys().isdisjoint({"target_r", "from"}), "usual values are left out"
    client.post("/web/backtest", sent(client.get(address).context["form"]))
    expected = BacktestSpec.of({**values, "stop_atr": 2.0, "exit_on_opposite": True}).as_dict()
    assert Backtest.objects.get().spec == expected


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (None, None, (None, None)),
        ("2023-11-20", "2023-11-30T00:00:00Z", ("2023-11-20", "2023-11-30")),
        ("2023-11-20T12:15:00Z", None, ("2023-11-20T12:15:00", None)),
        ("2023-11-20T12:15:30.500Z", "2023-11-30T23:45", ("2023-11-20T12:15:30.500", "2023-11-30T23:45:00")),
    ],
)
def test_a_run_again_and_a_cell_ask_for_the_range_that_was_asked_for(
    client: Client,
    series: SeriesKey,
    usual: dict[str, Any],
    start: str | None,
    end: str | None,
    shown: tuple[str | None, str | None],
) -> None:
    asked = {name: text for name, text in (("from", start), ("to", end)) if text}
    client.post("/web/backtest", {**usual, **asked})
    run = Backtest.objects.get()
    client.post("/web/backtest", {**usual, **asked, "axis_1": "stop_atr", "values_1": "2"})
    job = Analysis.objects.get()
    run_analysis(job.pk)
    text = squeezed(client.get(f"/web/backtest/sweep/{job.pk}").text)
    cell = re.search(r'<td class="num heat[^>]*><a href="([^"]*)"', text)
    assert cell is not None
    for address in (f"/web/backtest?again={run.pk}&strategy=breakout", unescape(cell.group(1))):
        page = client.get(address)
        times = {name: typed(page.text, name) for name in ("from", "to")}
        assert (times["from"], times["to"]) == shown
        client.post(
            "/web/backtest", {**sent(page.context["form"]), **{name: text or "" for name, text in times.items()}}
        )
        assert Backtest.objects.latest("pk").spec == run.spec
    assert Backtest.objects.count() == 3


def test_a_moment_is_asked_for_as_a_browser_can_show_it(client: Client, series: SeriesKey) -> None:
    for given, kind in (("2024-01-31", "date"), ("2024-01-31T12:15:00Z", "datetime-local"), ("soon", "date")):
        text = client.get("/web/backtest", {"from": given}).text
        tag = re.search(r'<input[^>]* name="from"[^>]*>', text)
        assert tag is not None
        assert f'type="{kind}"' in tag.group(), given
        assert typed(text, "from") == given.removesuffix("Z")


def test_a_cell_of_costs_leads_to_the_form_filled_with_their_multiples(client: Client, series: SeriesKey) -> None:
    values = {**RUN, "from": None, "maker_fee_bps": 500.0, "slippage_bps": 3.0}
    job = save_analysis(new_analysis("costs", BacktestSpec.of(values), {}))
    run_analysis(job.pk)
    text = squeezed(client.get(f"/web/backtest/sweep/{job.pk}").text)
    cells = re.findall(r'<td class="num heat[^>]*><a href="([^"]*)"', text)
    assert len(cells) == len(MULTIPLES) ** 2
    triple_fees_half_slippage = unescape(cells[-1 * len(MULTIPLES) + 1])
    client.post("/web/backtest", sent(client.get(triple_fees_half_slippage).context["form"]))
    asked = {"taker_fee_bps": 30.0, "maker_fee_bps": 1_000.0, "slippage_bps": 1.5, "spread_bps": 0.0}
    assert Backtest.objects.get().spec == BacktestSpec.of({**values, **asked}).as_dict()


def test_an_address_with_values_no_run_could_have_shows_the_usual_ones(client: Client, series: SeriesKey) -> None:
    text = client.get("/web/backtest?stop_atr=abc&axis_1=nothing&kinds=&exit_on_opposite=perhaps&strategy=x").text
    assert (typed(text, "stop_atr"), typed(text, "values_1")) == ("2.0", None)
    assert re.search(r'name="exit_on_opposite"[^>]*checked', text) is None
