"""docs/concepts.md and its pictures keep up with the code."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from signals.engine import Kind, Params

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "concepts.md").read_text()


def loaded_pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_are_what_the_engine_finds() -> None:
    module = loaded_pictures()
    drawn = dict(module.pictures())
    assert {path.name for path in drawn} == {path.name for path in (ROOT / "docs" / "pictures").glob("*.svg")}
    for path, content in drawn.items():
        assert path.read_text() == content, f"{path.name} is out of date: python docs/pictures.py"
        assert f"pictures/{path.name}" in PAGE


def headings() -> set[str]:
    titles = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_heading_that_code_or_page_points_at_is_there() -> None:
    files = [path for app in ("markets", "signals", "backtests", "scanner") for path in (ROOT / app).rglob("*.py")]
    pointed = {name for path in files for name in re.findall(r"docs/concepts\.md#([a-z0-9-]+)", path.read_text())}
    pointed |= set(re.findall(r"\(#([a-z0-9-]+)\)", PAGE))
    assert len(pointed) > 10
    assert pointed <= headings()


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_on_the_page(kind: Kind) -> None:
    assert f"| [{kind.name}](" in PAGE


@pytest.mark.parametrize("name", list(Params.__dataclass_fields__))
def test_every_parameter_is_on_the_page_with_its_default(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \| (.+?) \|", PAGE, re.MULTILINE)
    default = "as swing_length" if name == "swing_left" else str(getattr(Params(), name)).removesuffix(".0")
    assert row.replace("`", "") == default
