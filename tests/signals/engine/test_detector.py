"""The laws of the engine, as properties over every prefix, real candles and nasty walks."""

from collections import Counter

import numpy as np
import pytest

from markets.candles import Candle, Candles
from markets.errors import InvalidCandlesError, InvalidInputError
from signals.engine import DETECTOR_VERSION, SCALES, Detector, Params, scale_params
from signals.engine.table import detect_columns
from tests.factories import nasty_walk, real_candles, walk
from tests.signals.engine.comparing import (
    assert_never_edits_the_past,
    assert_same,
    definition_columns,
    stream,
    together,
)


def random_params(seed: int) -> Params:
    rng = np.random.default_rng(seed)
    return Params(
        swing_length=int(rng.integers(1, 8)),
        swing_left=None if rng.random() < 0.5 else int(rng.integers(0, 8)),
        break_mode=str(rng.choice(["close", "wick"])),
        atr_period=int(rng.integers(1, 20)),
        fvg_min_atr=float(rng.choice([0.0, 0.1, 0.5])),
        fvg_min_pct=float(rng.choice([0.0, 0.05, 0.5])),
        sweep_bars=int(rng.integers(1, 5)),
        level_max_age=int(rng.choice([0, 5, 30, 500])),
        eq_atr=float(rng.choice([0.0, 0.1, 0.5])),
    )


@pytest.mark.parametrize("seed", range(150))
def test_the_engine_tells_what_the_definition_says(seed: int) -> None:
    candles = nasty_walk(seed, 110) if seed % 3 else walk(seed, 110)
    params = random_params(seed)
    assert_same(detect_columns(Detector(params).run(candles).table), definition_columns(candles, params))


@pytest.mark.parametrize("name", ["BTCUSDT-15m-2023", "ETHUSDT-15m-2023", "EURUSD-15m-2022-10_2023-10"])
def test_signals_prefix_invariant(name: str) -> None:
    """P11, F50: of real candles no prefix of 2,000 tells anything that a later one takes back, on both scales."""
    candles = real_candles(name).take(slice(8_000, 10_000))
    for scale in SCALES:
        found = assert_never_edits_the_past(candles, scale_params(scale))
        assert len(set(found.column("kind"))) >= 4


@pytest.mark.parametrize("seed", range(0, 300, 10))
def test_later_candles_never_change_what_was_told_on_nasty_walks(seed: int) -> None:
    for each in range(seed, seed + 10):
        assert_never_edits_the_past(nasty_walk(each, 90), random_params(each))


@pytest.mark.parametrize("seed", range(100))
def test_the_stream_tells_what_the_batch_tells(seed: int) -> None:
    candles, params = nasty_walk(1_000 + seed, 250), random_params(seed)
    assert_same(stream(candles, params), detect_columns(Detector(params).run(candles).table))


@pytest.mark.parametrize("name", ["BTCUSDT-15m-2023", "EURUSD-15m-2022-10_2023-10"])
def test_the_stream_tells_what_the_batch_tells_on_real_candles(name: str) -> None:
    candles = real_candles(name).first(5_000)
    assert_same(stream(candles, Params()), detect_columns(Detector().run(candles).table))


def test_a_state_through_bytes_at_every_97th_candle_changes_nothing() -> None:
    candles = walk(7, 5_000)
    expected = detect_columns(Detector(Params(swing_length=3)).run(candles).table)
    detector, pieces = Detector(Params(swing_length=3)), []
    for at in range(0, len(candles), 97):
        pieces.append(detector.run(candles.take(slice(at, at + 97))).table)
        detector = Detector.from_bytes(detector.to_bytes())
    assert_same(together(pieces, candles), expected)


def test_a_preview_on_a_copy_leaves_the_detector_as_it_was() -> None:
    candles = walk(3, 400)
    detector = Detector()
    detector.run(candles.first(399))
    before = detector.to_bytes()
    preview = detector.copy().step(candles.candle(399))
    assert detector.to_bytes() == before
    assert_same(detect_columns(detector.step(candles.candle(399))), detect_columns(preview))


def test_the_totals_on_a_year_of_eurusd() -> None:
    kinds = Counter(Detector().run(real_candles("EURUSD-15m-2022-10_2023-10")).table.column("kind"))
    assert kinds == {
        "FVG": 5020, "IFVG": 4915, "SWING": 2960, "SWEEP": 1322, "OB": 1197,
        "BREAKER": 1135, "CHOCH": 616, "BOS": 581, "EQ": 116,
    }  # fmt: skip


def test_natural_keys_are_unique() -> None:
    columns = detect_columns(Detector().run(real_candles("EURUSD-15m-2022-10_2023-10")).table)
    keys = list(zip(*(columns[name].tolist() for name in ("kind", "direction", "event_time", "ref_time")), strict=True))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_candles_give_no_signal_and_no_error(n: int) -> None:
    assert len(Detector().run(walk(1, n)).table) == 0


@pytest.mark.parametrize("price", [1e-12, 1.0, 1e9])
def test_engine_degenerate(price: float) -> None:
    """F53: a flat market tells nothing; tiny, huge and worthless prices tell what the same walk around 100 tells."""
    flat = Candles.of(Candle(60_000 * i, price, price, price, price, 0.0) for i in range(300))
    assert len(Detector().run(flat).table) == 0
    power = 2.0 ** round(np.log2(price))  # a power of two changes no digit of a price
    usual = nasty_walk(2, 600)
    other = usual.copy()
    for column in (other.open, other.high, other.low, other.close):
        np.multiply(column, power, out=column)
    other.volume[:] = 0.0
    found, expected = detect_columns(Detector().run(other).table), detect_columns(Detector().run(usual).table)
    assert 0 < len(found["kind"]) < 10 * len(other)
    for name in ("kind", "direction", "event_idx", "confirm_idx", "ref_idx", "tag", "status"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert_same(stream(other, Params()), found)


def test_candles_that_do_not_follow_are_refused() -> None:
    candles = walk(2, 50)
    detector = Detector()
    detector.run(candles)
    with pytest.raises(InvalidCandlesError, match="must follow"):
        detector.run(candles.take(slice(49, 50)))
    with pytest.raises(InvalidCandlesError, match="must follow"):
        detector.step(candles.candle(0))
    assert detector.bars == 50


@pytest.mark.parametrize(
    "prices", [(1, 2, 3, 1.5), (np.nan, 2, 1, 1.5), (0, 1, 0, 1), (1, np.inf, 1, 1), (-1, 1, -1, 1), (1, 2, 1, np.nan)]
)
def test_a_candle_that_cannot_be_is_refused(prices: tuple[float, float, float, float]) -> None:
    detector = Detector()
    with pytest.raises(InvalidCandlesError, match="no candle has these prices"):
        detector.step(Candle(0, *prices, 1.0))
    assert detector.bars == 0


def test_a_damaged_state_is_refused_wherever_the_damage_is() -> None:
    detector = Detector()
    detector.run(walk(5, 300))
    blob = detector.to_bytes()
    for at in np.linspace(0, len(blob) - 1, 200).astype(int):
        damaged = bytearray(blob)
        damaged[at] ^= 0x10
        with pytest.raises(InvalidInputError):
            Detector.from_bytes(bytes(damaged))
    with pytest.raises(InvalidInputError):
        Detector.from_bytes(blob[: len(blob) // 2])
    with pytest.raises(InvalidInputError, match="not a detector's state"):
        Detector.from_bytes(b"")


def test_a_state_of_other_parameters_or_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = Detector().to_bytes()
    with pytest.raises(InvalidInputError, match="parameters"):
        Detector.from_bytes(blob, Params(swing_length=9))
    monkeypatch.setattr("signals.engine.detector.DETECTOR_VERSION", DETECTOR_VERSION + 1)
    with pytest.raises(InvalidInputError, match="version"):
        Detector.from_bytes(blob)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("swing_length", 0), ("swing_length", 2.5), ("swing_length", True), ("swing_left", -1), ("break_mode", "body"),
        ("atr_period", 0), ("fvg_min_atr", -0.1), ("fvg_min_pct", float("nan")), ("sweep_bars", 0),
        ("level_max_age", -1), ("eq_atr", float("inf")), ("eq_atr", "wide"), ("depth", 3),
    ],
)  # fmt: skip
def test_a_parameter_out_of_range_is_an_error_that_names_it(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=name):
        Params.of({name: value})


def test_equal_parameters_have_one_digest_and_others_another() -> None:
    assert Params.of({"eq_atr": 1}).digest == Params(eq_atr=1.0).digest
    assert Params().digest == Params(swing_left=5).digest
    assert len({Params().digest, Params(swing_length=6).digest, Params(break_mode="wick").digest}) == 3
