"""Every worked example of docs/concepts.md, on the batch, on the stream and on every prefix."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from markets.candles import Candle, Candles
from signals.engine import Detector, Params
from signals.engine.table import detect_columns
from tests.signals.engine.comparing import Columns, as_of, assert_same, definition_columns, stream

DOCS = Path(__file__).resolve().parents[3] / "docs"
EXAMPLES: dict[str, dict[str, Any]] = tomllib.loads((DOCS / "examples.toml").read_text())


def candles_of(name: str) -> Candles:
    example = EXAMPLES[name]
    rows = example["candles"] if "candles" in example else EXAMPLES[example["candles_of"]]["candles"]
    return Candles.of(Candle._make((60_000 * i, *row, 1.0)) for i, row in enumerate(rows))


def params_of(name: str) -> Params:
    return Params.of(EXAMPLES[name]["params"])


def listed(columns: Columns, kinds: list[str]) -> list[list[Any]]:
    names = (
        "kind", "direction", "event_idx", "confirm_idx", "level", "ref_idx",
        "mitigated_idx", "filled_idx", "invalidated_idx",
    )  # fmt: skip
    rows = zip(*(columns[name].tolist() for name in names), strict=True)
    return [list(row) for row in rows if row[0] in kinds]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_worked_example_gives_exactly_its_signals(name: str) -> None:
    candles, params = candles_of(name), params_of(name)
    found = listed(detect_columns(Detector(params).run(candles).table), EXAMPLES[name]["kinds"])
    expected = [[*row[:4], pytest.approx(row[4], rel=1e-12), *row[5:]] for row in EXAMPLES[name]["signals"]]
    assert found == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_worked_example_is_the_same_by_definition_by_stream_and_on_every_prefix(name: str) -> None:
    candles, params = candles_of(name), params_of(name)
    table = Detector(params).run(candles).table
    assert_same(detect_columns(table), definition_columns(candles, params))
    for n in range(len(candles) + 1):
        assert_same(stream(candles.first(n), params), as_of(table, n))


def test_premium_and_discount_on_the_candles_of_e2() -> None:
    detector = Detector(Params(swing_length=2))
    run = detector.run(candles_of("E2"))
    position = run.table.range_pos
    assert np.isnan(position[5])
    assert position[7] == 1.0
    assert position[14] == pytest.approx(3.1 / 3.4, abs=1e-6)
    assert position[16] == pytest.approx(0.1 / 3.7, abs=1e-6)


def test_strengths_on_the_candles_of_e2() -> None:
    columns = detect_columns(Detector(Params(swing_length=2)).run(candles_of("E2")).table)
    of = {
        (kind, confirm): i
        for i, (kind, confirm) in enumerate(zip(columns["kind"], columns["confirm_idx"].tolist(), strict=True))
    }
    assert columns["strength"][of["BOS", 8]] == pytest.approx(47.926267, abs=1e-6)
    sweep = of["SWEEP", 13]
    assert columns["strength"][sweep] == pytest.approx(19.409938, abs=1e-6)
    assert (columns["top"][sweep], columns["bottom"][sweep]) == (14.2, 14.0)
