"""Machine code that is kept on the disk is dropped when anything it was made of changes."""

import ast
from pathlib import Path

from signals.engine.compiled import sources

_ROOT = Path(__file__).resolve().parents[3]
_APPS = ("markets", "signals", "backtests", "scanner", "smcsite")


def has_compiled_function(path: Path) -> bool:
    marks = {"entry", "part"}
    return any(
        isinstance(node, ast.FunctionDef)
        and any(isinstance(mark, ast.Name) and mark.id in marks for mark in node.decorator_list)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def test_every_module_with_a_compiled_function_is_part_of_the_stamp() -> None:
    modules = {path for app in _APPS for path in (_ROOT / app).rglob("*.py")}
    compiled = {path for path in modules if has_compiled_function(path)}
    assert len(compiled) > 5
    assert compiled <= {Path(path) for path in sources()}
