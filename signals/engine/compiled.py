"""How the engines' functions are compiled: exact, without reference counts, kept on disk."""

import glob
import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Self, TypeVar

import numba
from numba import njit
from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator


def _load_without_blas() -> None:
    """Load numba's functions of arrays, and not scipy.linalg with them: a quarter second of every process.

    Numba looks for it to learn whether products of matrices can be compiled, of which no engine has any.
    """
    blas = "scipy.linalg.cython_blas"
    if blas not in sys.modules:
        sys.modules[blas] = None  # type: ignore[assignment]  # so an import of it fails
        import_module("numba.np.arraymath")
        del sys.modules[blas]


_load_without_blas()

Function = TypeVar("Function", bound=Callable[..., Any])

_APPS = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
# The rooms whose modules hold compiled functions, or constants that become part of their machine code.
_ROOMS = ("engine", "evidence")

_OPTIONS: dict[str, Any] = {
    # No fastmath and no parallel: the order of additions is part of the definition.
    "fastmath": False,
    "error_model": "numpy",
    "nogil": True,
    # Kernels allocate nothing, so counting references to their arrays only costs: without it a bar takes
    # a fifth of the time. An allocation in a kernel fails to compile, which is as it should be.
    "_nrt": False,
}
# Wrappers for callers from Python and C, which a part has not, would take longer to compile than the part.
_PART_OPTIONS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class EngineCacheLocator:
    """Keeps machine code where numba would, and drops it when any of the modules it may be made of changes.

    Numba itself looks only at the file of the compiled entry, so a change in a part that lives in another
    module would go unnoticed and give stale results.
    """

    def __init__(self, locator: Any) -> None:
        self._locator = locator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._locator, name)

    def get_source_stamp(self) -> str:
        return _sources_digest()

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Self | None:
        for kind in (UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator):
            locator = kind.from_function(py_func, py_file)  # type: ignore[no-untyped-call]
            if locator is not None:
                return cls(locator)
        return None


def sources() -> list[str]:
    """Return the paths of all modules that machine code may be made of."""
    return sorted(path for room in _ROOMS for path in glob.glob(os.path.join(_APPS, "*", room, "*.py")))


@cache
def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sources():
        with open(path, "rb") as source:
            digest.update(source.read())
    return digest.hexdigest()


numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.{EngineCacheLocator.__name__}"  # type: ignore[attr-defined]


def entry(function: Function) -> Function:
    """Compile a function that Python calls; the machine code is kept on disk."""
    compiled: Function = njit(cache=True, **_OPTIONS)(function)
    return compiled


def part(function: Function) -> Function:
    """Compile a function that only entries and other parts call; it becomes part of its caller."""
    compiled: Function = njit(forceinline=True, **_PART_OPTIONS)(function)
    return compiled
