"""A study finds an edge that is there, none where there is none, and never reads past its end."""

import json
import os
from typing import Any

import numpy as np
import pytest

from markets.candles import Candle, Candles
from markets.errors import InvalidInputError, JobCancelledError, NoCandlesError
from markets.series import Timeframe
from signals.engine import Detector, Kind, Params
from signals.evidence import EvidenceSpec, study
from signals.evidence.conditions import MOST_CONDITIONS
from signals.evidence.outcomes import average_true_ranges
from signals.evidence.study import ENOUGH
from tests.factories import walk

TABLES = 400 if os.environ.get("SMC_FULL") == "1" else 150


def with_edge_after(candles: Candles, *, drift_size: float, bars: int) -> Candles:
    """Bend a walk so that, for ``bars`` candles after each BOS, it drifts by ``drift_size`` a candle in its direction.

    The drift is added to the path as it goes on, so that later signals are found on the bent market.
    """
    detector, rows, offset, drift, left = Detector(Params()), [], 0.0, 0.0, 0
    for candle in candles:
        if left > 0:
            offset += drift
            left -= 1
        step = drift if left > 0 else 0.0
        open_, close = candle.open + offset - step, candle.close + offset
        high, low = max(candle.high + offset, open_), min(candle.low + offset, open_)
        bent = Candle(candle.open_time, open_, high, low, close, candle.volume)
        rows.append(bent)
        for signal in detector.step(bent).rows:
            if signal["kind"] == Kind.BOS:
                drift, left = drift_size * int(signal["direction"]), bars
    return Candles.of(rows)


def test_on_random_walks_few_tables_look_significant() -> None:
    """Over 400 tables (usually 150), each of a walk of its own, 3 to 7 percent of all p-values are below 0.05."""
    p_values = []
    for seed in range(TABLES):
        rows = study(walk(seed, 2_600), Timeframe.M1, EvidenceSpec(horizons=(12,), draws=200, seed=seed)).rows
        p_values += [row["p_value"] for row in rows if row["p_value"] is not None]
    share = float((np.array(p_values) < 0.05).mean())
    print(f"share of p < 0.05 over {len(p_values)} tables: {share:.4f}")
    assert len(p_values) > 5 * TABLES
    assert 0.03 <= share <= 0.07


def test_a_planted_edge_is_found_with_its_sign_and_size() -> None:
    bars, share, seed = 12, 0.12, 3
    market = with_edge_after(walk(seed, 25_000), drift_size=share, bars=bars)
    planted = share * (bars - 1) / float(np.median(market.high - market.low))
    rows = study(market, Timeframe.M1, EvidenceSpec(horizons=(bars,), seed=1)).rows
    for direction in (1, -1):
        found = next(row for row in rows if row["kind"] == "BOS" and row["direction"] == direction)
        print(f"seed {seed}: planted {planted:.3f}, found {found['mean_atr']:.3f}, p {found['p_value']:.4f}")
        assert found["n"] >= ENOUGH
        assert found["p_value"] < 0.01
        assert found["ci_low"] <= planted <= found["ci_high"]


def test_candles_after_the_end_change_no_past_statistic() -> None:
    candles = walk(11, 6_000)
    end = int(candles.open_time[4_000])
    spec = EvidenceSpec(end=end, with_conditions=True, seed=5)
    assert study(candles, Timeframe.M1, spec) == study(candles.first(4_000), Timeframe.M1, spec)


def test_the_range_chooses_signals_by_confirm_time() -> None:
    candles = walk(12, 5_000)
    start, end = int(candles.open_time[2_000]), int(candles.open_time[4_500])
    found = study(candles, Timeframe.M1, EvidenceSpec(start=start, end=end))
    times = Detector(Params()).run(candles).table.column("confirm_time")
    assert found.provenance["signals"] == int(((times >= start) & (times < end)).sum())


def test_few_signals_are_told_without_a_conclusion() -> None:
    found = study(walk(13, 400), Timeframe.M1, EvidenceSpec())
    few = [row for row in found.rows if row["n"] < ENOUGH]
    assert few
    assert all(row["p_value"] is None and row["q_value"] is None and not row["enough"] for row in few)


def test_mean_returns_agree_with_their_definition() -> None:
    candles = walk(14, 3_000)
    table = Detector(Params()).run(candles).table
    rows = study(candles, Timeframe.M1, EvidenceSpec(horizons=(4, 24))).rows
    for row in rows:
        at = [
            int(each["confirm_idx"])
            for each in table.rows
            if Kind(int(each["kind"])).name == row["kind"] and each["direction"] == row["direction"]
        ]
        at = [t for t in at if t + row["horizon"] < len(candles)]
        gains = [
            100 * row["direction"] * (candles.close[t + row["horizon"]] - candles.open[t + 1]) / candles.open[t + 1]
            for t in at
        ]
        assert row["n"] == len(at)
        if gains:
            assert row["mean_pct"] == pytest.approx(np.mean(gains), rel=1e-9, abs=1e-12)
            assert row["hit_rate"] == pytest.approx(np.mean([gain > 0 for gain in gains]))


def test_a_split_gives_the_parts_before_and_after_it() -> None:
    """Whose horizon reaches over the split is in neither part: its outcome is known only out of sample."""
    candles, horizon, turn = walk(15, 4_000), 24, 2_500
    spec = EvidenceSpec(horizons=(horizon,), split=int(candles.open_time[turn]))
    by_sample = {
        (row["kind"], row["direction"], row["sample"]): row["n"] for row in study(candles, Timeframe.M1, spec).rows
    }
    table = Detector(Params()).run(candles).table
    for kind in Kind:
        for direction in (1, -1):
            at = table.rows["confirm_idx"][(table.rows["kind"] == kind) & (table.rows["direction"] == direction)]
            assert by_sample[kind.name, direction, "in"] == int((at + horizon < turn).sum())
            assert by_sample[kind.name, direction, "out"] == int(((at >= turn) & (at + horizon < 4_000)).sum())
            assert by_sample[kind.name, direction, "all"] == int((at + horizon < 4_000).sum())


def test_a_split_outside_the_range_leaves_one_part_empty() -> None:
    candles = walk(15, 2_000)
    start, after = int(candles.open_time[500]), int(candles.open_time[-1]) + 60_000
    for split, empty, full in ((start, "in", "out"), (0, "in", "out"), (after, "out", "in")):
        rows = study(candles, Timeframe.M1, EvidenceSpec(horizons=(4, 900), start=start, split=split)).rows
        assert {row["n"] for row in rows if row["sample"] == empty} == {0}
        everything = [row | {"sample": full, "q_value": None} for row in rows if row["sample"] == "all"]
        parts = [row for row in rows if row["sample"] == full]
        assert [row["mean_atr"] for row in parts] == [row["mean_atr"] for row in everything]


def with_drifts(candles: Candles, *, before: float, after: float) -> Candles:
    """Bend a walk so that it drifts by ``before`` a candle up to its middle, and by ``after`` from there on."""
    n = len(candles)
    steps = np.where(np.arange(n) < n // 2, before, after)
    offset = steps.cumsum()
    offset -= min(0.0, float(offset.min()))  # no price below the walk's own
    open_, close = candles.open + offset - steps, candles.close + offset
    high, low = np.maximum(candles.high + offset, open_), np.minimum(candles.low + offset, open_)
    return Candles(candles.open_time, open_, high, low, close, candles.volume)


def test_each_side_of_a_split_is_judged_by_its_own_market() -> None:
    """A market that turns at the split gave buyers before it its rise, and after it its fall; neither is an edge."""
    horizon, per_candle = 48, 0.02
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for seed in range(TABLES):
        plain = walk(seed, 5_000)
        drift_size = per_candle * float(average_true_ranges(plain, 14).mean())
        market = with_drifts(plain, before=drift_size, after=-drift_size)
        spec = EvidenceSpec(horizons=(horizon,), draws=200, seed=seed, split=int(market.open_time[2_500]))
        for row in study(market, Timeframe.M1, spec).rows:
            if row["p_value"] is not None and row["sample"] != "all":
                found.setdefault((row["sample"], row["direction"]), []).append((row["drift_atr"], row["p_value"]))
    for (sample, direction), rows in found.items():
        drift, share = np.mean([drift for drift, _ in rows]), np.mean([p < 0.05 for _, p in rows])
        told = direction * per_candle * horizon * (1 if sample == "in" else -1)
        print(f"{sample} {direction:+d}: {len(rows)} tables, drift {drift:+.3f} of {told:+.3f}, p < 0.05 {share:.4f}")
        assert len(rows) > TABLES
        assert drift == pytest.approx(told, abs=0.2)
        assert 0.02 <= share <= 0.08


def test_random_zones_come_from_the_range_alone() -> None:
    """A market that broke every bullish zone before the range says nothing of the zones in it."""
    market = with_drifts(walk(21, 60_000), before=-1.0, after=0.0)
    for zones in study(market, Timeframe.M1, EvidenceSpec(start=int(market.open_time[30_000]), horizons=(4,))).zones:
        print(f"{zones['kind']} {zones['direction']:+d}: {zones['rate']:.3f}, random {zones['random_rate']:.3f}")
        assert zones["touched"] > 200
        assert zones["rate"] == pytest.approx(zones["random_rate"], abs=0.05)


def test_the_same_seed_gives_the_same_tables_and_they_fit_in_json() -> None:
    candles, spec = walk(16, 3_000), EvidenceSpec(with_conditions=True, seed=9)
    one, two = study(candles, Timeframe.M1, spec), study(candles, Timeframe.M1, spec)
    assert one == two
    json.dumps([one.rows, one.passages, one.zones, one.conditions, one.provenance], allow_nan=False)


def test_q_values_correct_for_all_that_was_looked_at() -> None:
    rows = study(walk(17, 6_000), Timeframe.M1, EvidenceSpec()).rows
    known = sorted((row["p_value"], row["q_value"]) for row in rows if row["p_value"] is not None)
    assert all(q >= p for p, q in known)
    assert [q for _, q in known] == sorted(q for _, q in known)
    smallest = min(p * len(known) / rank for rank, (p, _) in enumerate(known, start=1))
    assert known[0][1] == pytest.approx(min(1.0, smallest))


@pytest.mark.parametrize(
    "values",
    [
        {"horizons": ()},
        {"horizons": (0,)},
        {"horizons": (4, 5_000)},
        {"draws": 10},
        {"seed": -1},
        {"start": 5, "end": 5},
    ],
)
def test_a_spec_out_of_range_is_an_error(values: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        EvidenceSpec(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "low", "high"),
    [("forward returns", 0.1, 0.5), ("first passages", 0.5, 0.6), ("zones", 0.6, 0.7), ("conditions", 0.7, 1.0)],
)
def test_a_study_can_be_ended_amid_each_stage(stage: str, low: float, high: float) -> None:
    reports = []

    def report(fraction: float, now: str) -> None:
        reports.append((fraction, now))
        if now == stage and low + 0.3 * (high - low) < fraction < high - 0.3 * (high - low):
            raise JobCancelledError("enough")

    with pytest.raises(JobCancelledError):
        study(walk(19, 2_000), Timeframe.M1, EvidenceSpec(with_conditions=True, draws=100), report=report)
    assert [fraction for fraction, _ in reports] == sorted(fraction for fraction, _ in reports)


def test_a_study_of_minutes_has_the_most_conditions_and_one_of_days_no_more_than_its_own() -> None:
    higher: dict[Timeframe, Candles] = {
        each: walk(20, 50, timeframe=each) for each in Timeframe if each is not Timeframe.M1
    }
    spec = EvidenceSpec(horizons=(4,), draws=100, with_conditions=True)
    found = study(walk(20, 1_000), Timeframe.M1, spec, higher=higher)
    assert len({row["condition"] for row in found.conditions}) == MOST_CONDITIONS
    alone = study(walk(20, 1_000), Timeframe.D1, spec)
    assert len({row["condition"] for row in alone.conditions}) == MOST_CONDITIONS - len(higher)


def test_a_row_of_many_draws_reports_between_them_and_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    candles, spec = walk(20, 3_000), EvidenceSpec(horizons=(4,), draws=1_000)
    counts = []

    def rows() -> list[dict[str, Any]]:
        reports: list[float] = []
        found = study(candles, Timeframe.M1, spec, report=lambda fraction, stage: reports.append(fraction))
        counts.append(len(reports))
        return found.rows

    at_once = rows()
    monkeypatch.setattr("signals.evidence.nulls._MOVES_A_REPORT", 10_000)
    assert rows() == at_once
    told = sum(row["n"] for row in at_once if row["enough"])
    assert counts[1] - counts[0] == pytest.approx(told * spec.draws / 10_000, rel=0.05)


def test_a_range_without_candles_is_an_error() -> None:
    with pytest.raises(NoCandlesError):
        study(walk(18, 100), Timeframe.M1, EvidenceSpec(start=4_000_000_000_000))


def test_a_study_among_named_signals_counts_those_alone() -> None:
    """The ledger's signals are judged by the same statistics as all; a name that is not found is left out."""
    market = walk(11, 3_000)
    spec = EvidenceSpec(horizons=(4,), draws=100)
    table = Detector(spec.params).run(market).table
    names = list(
        zip(
            table.rows["kind"].tolist(),
            table.rows["direction"].tolist(),
            table.rows["event_time"].tolist(),
            table.rows["ref_time"].tolist(),
            strict=True,
        )
    )
    everything = study(market, Timeframe.M1, spec)
    assert study(market, Timeframe.M1, spec, among=names).rows == everything.rows
    some = study(market, Timeframe.M1, spec, among=[*names[::2], (0, 1, 7, 7)])
    assert some.provenance["signals"] == len(names[::2])
    assert sum(row["n"] for row in some.rows) < sum(row["n"] for row in everything.rows)
