"""Draws the pictures of docs/concepts.md from its worked examples: ``python docs/pictures.py``.

What is drawn is what the engine finds on the candles of docs/examples.toml; nothing is placed by hand.
"""  # noqa: INP001  # a script beside the page it draws for

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from markets.candles import Candles
from signals.engine import Detector, Params
from signals.engine.table import UNSET, detect_columns

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "pictures"
_STEP, _BODY, _LEFT, _TOP, _HEIGHT, _UNDER = 36, 18, 14, 26, 230, 64
_UP, _DOWN, _INK, _PALE = "#089981", "#f23645", "#5f6672", "#9aa1ac"
_ZONES = ("FVG", "IFVG", "OB", "BREAKER")
_BREAKS = ("BOS", "CHOCH")
_FONT = 'font-family="system-ui, sans-serif" font-size="11"'


@dataclass(frozen=True, slots=True)
class Picture:
    """Which kinds of which example are drawn, and what the picture shows in one sentence."""

    example: str
    kinds: tuple[str, ...]
    says: str
    with_range: int = UNSET


PICTURES = {
    "swing": Picture("E1", ("SWING",), "Of equal highs the first is the pivot, known two bars later."),
    "structure": Picture("E2", _BREAKS, "Two breaks continue the rise; the third turns the trend."),
    "newer-pivot": Picture("E11", _BREAKS, "The bar that confirms a newer pivot still breaks the older one."),
    "both-sides": Picture("E9", _BREAKS, "In wick mode one bar breaks both sides; it rose, so the low went first."),
    "gap": Picture("E4", ("FVG",), "Gaps that are touched, filled and closed through."),
    "inverse-gap": Picture("E4", ("IFVG",), "A gap closed through turns over and is tested from the other side."),
    "sweep": Picture("E6", ("SWEEP", *_BREAKS), "A touch is nothing; a close on the level is back inside."),
    "reclaim": Picture("E7", ("SWEEP", *_BREAKS), "A break stays though the price comes back: a sweep is told."),
    "far-and-near": Picture("E8", ("SWEEP", *_BREAKS), "One bar sweeps the far high and breaks the near one."),
    "equals": Picture("E10", ("EQ", "SWEEP"), "Three equal highs; the pool above them is swept."),
    "block": Picture("E2", ("OB", "BREAKER"), "The last low before a break; closed through, it turns over."),
    "range": Picture("E2", (), "Where the close of bar 14 stands between bottom and top.", with_range=14),
}  # fmt: skip


class Canvas:
    """Places bars and prices, and gathers shapes."""

    def __init__(self, candles: Candles) -> None:
        self.candles = candles
        self._low, self._high = float(candles.low.min()), float(candles.high.max())
        self.width = 2 * _LEFT + (len(candles) + 1) * _STEP
        self.height = _TOP + _HEIGHT + _UNDER
        self.shapes: list[str] = []

    def x(self, bar: float) -> float:
        return _LEFT + (bar + 0.5) * _STEP

    def y(self, price: float) -> float:
        return round(_TOP + (self._high - price) / (self._high - self._low) * _HEIGHT, 1)

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: str, *, dash: str = "") -> None:
        pattern = f' stroke-dasharray="{dash}"' if dash else ""
        self.shapes.append(
            f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="{colour}" '
            f'stroke-width="1.5"{pattern}/>'
        )

    def box(self, bars: tuple[float, float], prices: tuple[float, float], colour: str) -> None:
        left, right, top, bottom = self.x(bars[0]), self.x(bars[1]), self.y(prices[0]), self.y(prices[1])
        self.shapes.append(
            f'<rect x="{left}" y="{top}" width="{right - left}" height="{round(bottom - top, 1)}" fill="{colour}" '
            f'fill-opacity="0.16" stroke="{colour}" stroke-opacity="0.5"/>'
        )

    def text(self, x: float, y: float, words: str, colour: str = _INK, *, weight: int = 400) -> None:
        self.shapes.append(
            f'<text x="{x}" y="{y}" {_FONT} fill="{colour}" font-weight="{weight}" text-anchor="middle">'
            f"{escape(words)}</text>"
        )

    def svg(self, says: str) -> str:
        content = "\n".join(self.shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img"><title>{escape(says)}</title>\n{content}\n</svg>\n'
        )


def draw(picture: Picture) -> str:
    """Return a picture as SVG."""
    example = examples()[picture.example]
    candles = _candles(example["candles"])
    canvas = Canvas(candles)
    rows = [row for row in _found(candles, Params.of(example["params"])) if row["kind"] in picture.kinds]
    for row in rows:
        if row["kind"] in _ZONES:
            _draw_zone(canvas, row)
    _draw_candles(canvas)
    for row in rows:
        if row["kind"] not in _ZONES:
            _draw_level(canvas, row)
    if picture.with_range != UNSET:
        _draw_range(canvas, example, picture.with_range)
    _draw_knowledge(canvas, rows)
    return canvas.svg(picture.says)


def examples() -> dict[str, Any]:
    """Return the worked examples; one that has no candles of its own has those of the example it names."""
    found = tomllib.loads((HERE / "examples.toml").read_text())
    for example in found.values():
        if isinstance(example.get("candles"), str):
            example["candles"] = found[example["candles"]]["candles"]
    return found


def _candles(rows: list[list[float]]) -> Candles:
    prices = np.array(rows, np.float64)
    times = (np.arange(len(rows), dtype=np.int64) + 1) * 60_000
    open_, high, low, close = (np.ascontiguousarray(column) for column in prices.T)
    return Candles(times, open_, high, low, close, np.zeros(len(rows)))


def _found(candles: Candles, params: Params) -> list[dict[str, Any]]:
    columns = detect_columns(Detector(params).run(candles).table)
    return [
        dict(zip(columns, row, strict=True)) for row in zip(*(each.tolist() for each in columns.values()), strict=True)
    ]


def _colour(row: dict[str, Any]) -> str:
    return _UP if row["direction"] == 1 else _DOWN


def _draw_candles(canvas: Canvas) -> None:
    for bar, candle in enumerate(canvas.candles):
        x, colour = canvas.x(bar), _UP if candle.close >= candle.open else _DOWN
        canvas.line((x, canvas.y(candle.high)), (x, canvas.y(candle.low)), colour)
        top, bottom = canvas.y(max(candle.open, candle.close)), canvas.y(min(candle.open, candle.close))
        canvas.shapes.append(
            f'<rect x="{x - _BODY / 2}" y="{top}" width="{_BODY}" height="{round(max(bottom - top, 1.5), 1)}" '
            f'fill="{colour}"/>'
        )
        canvas.text(x, _TOP + _HEIGHT + 20, str(bar), _PALE)


def _draw_zone(canvas: Canvas, row: dict[str, Any]) -> None:
    """Draw a zone from the bar it comes from to the bar that closed through it, with the marks of its life."""
    start = row["ref_idx"] if row["kind"] == "FVG" else row["event_idx"]
    end = row["invalidated_idx"] if row["invalidated_idx"] != UNSET else len(canvas.candles) + 0.2
    canvas.box((start, end), (row["top"], row["bottom"]), _colour(row))
    canvas.text((canvas.x(start) + canvas.x(end)) / 2, canvas.y(row["top"]) - 4, row["kind"], _colour(row), weight=600)
    for name in ("mitigated", "filled", "invalidated"):
        bar = row[f"{name}_idx"]
        if bar != UNSET:
            beside = [other for other in ("mitigated", "filled") if other < name and row[f"{other}_idx"] == bar]
            canvas.text(canvas.x(bar) + 14, canvas.y(row["level"]) + 4 + 11 * len(beside), name[0], _INK, weight=600)


def _draw_level(canvas: Canvas, row: dict[str, Any]) -> None:
    """Draw what stands on a price: a pivot, a break, a sweep, equal highs."""
    colour, y = _colour(row), canvas.y(row["level"])
    is_high = row["direction"] == 1
    if row["kind"] == "SWING":
        words = f"swing {'high' if is_high else 'low'} {row['tag']}".rstrip()
        canvas.text(canvas.x(row["event_idx"]), y - 8 if is_high else y + 16, words, _INK, weight=600)
        canvas.line((canvas.x(row["event_idx"]), y), (canvas.x(row["confirm_idx"]), y), _INK, dash="2 3")
        return
    end = row["event_idx"] if row["kind"] == "EQ" else row["confirm_idx"]
    canvas.line((canvas.x(row["ref_idx"]), y), (canvas.x(end), y), colour, dash="" if row["kind"] in _BREAKS else "4 3")
    words = f"EQ {row['tag']}" if row["kind"] == "EQ" else row["kind"]
    is_above = is_high if row["kind"] != "SWEEP" else not is_high
    canvas.text(
        (canvas.x(row["ref_idx"]) + canvas.x(end)) / 2, y - 5 if is_above else y + 14, words, colour, weight=600
    )


def _draw_range(canvas: Canvas, example: dict[str, Any], bar: int) -> None:
    """Draw the range that ``bar`` stands in: from the newest pivots known by then to the extremes since."""
    candles, params = canvas.candles.first(bar + 1), Params.of(example["params"])
    swings = [row for row in _found(candles, params) if row["kind"] == "SWING"]
    high = max(row["event_idx"] for row in swings if row["direction"] == 1)
    low = max(row["event_idx"] for row in swings if row["direction"] == -1)
    top, bottom = float(candles.high[high:].max()), float(candles.low[low:].min())
    middle, start = (top + bottom) / 2, min(high, low)
    canvas.box((start, bar + 0.5), (top, middle), _DOWN)
    canvas.box((start, bar + 0.5), (middle, bottom), _UP)
    canvas.text(canvas.x(start) - 30, canvas.y(top) + 24, "premium", _DOWN, weight=600)
    canvas.text(canvas.x(start) - 30, canvas.y(bottom) - 10, "discount", _UP, weight=600)
    position = (float(candles.close[bar]) - bottom) / (top - bottom)
    canvas.text(canvas.x(bar) + 50, canvas.y(float(candles.close[bar])) + 4, f"{position:.2f}", _INK, weight=600)


def _draw_knowledge(canvas: Canvas, rows: list[dict[str, Any]]) -> None:
    """Write below each bar what its close made knowable."""
    told: dict[int, list[str]] = {}
    for row in rows:
        told.setdefault(row["confirm_idx"], []).append(row["kind"].lower())
    for bar, kinds in told.items():
        for place, kind in enumerate(dict.fromkeys(kinds)):
            canvas.text(canvas.x(bar), _TOP + _HEIGHT + 36 + 13 * place, kind, _INK)


def pictures() -> Iterator[tuple[Path, str]]:
    """Yield each picture's file and content."""
    for name, picture in PICTURES.items():
        yield FOLDER / f"{name}.svg", draw(picture)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, content in pictures():
        path.write_text(content)
