"""What all tests share: which programs they need, and that none of them reaches the network."""

import gc
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests import compiling

# What a marker needs, how it is found, and what installs it on Debian.
NEEDS = {
    "browser": (("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "postgres": (("initdb",), "postgresql"),
}
_LOCAL = ("127.", "::1", "localhost")

# Files that take longest, begun first so that no process is left with one at the end. The first of them need none of
# the machine code that is being compiled meanwhile. Whatever is not here takes seconds.
LONG = (
    "markets/exchanges/test_stream.py", "markets/store/test_durability.py", "markets/replay/test_stream_faults.py",
    "markets/services/test_backfilling.py", "markets/store/test_full_disk.py", "markets/replay/test_streams.py",
    "markets/store/test_concurrency.py", "markets/exchanges/test_rest.py", "markets/store/test_left.py",
    "markets/store/test_store.py", "markets/replay/test_synthetic.py", "markets/store/test_journal.py",
    "markets/store/test_foreign.py", "markets/exchanges/test_stream_frames.py",
    "browser/test_whole.py", "operations/test_scale.py", "signals/feed/test_leaders.py", "browser/test_look.py",
    "backtests/test_workers.py", "browser/test_lists.py", "browser/test_chart.py", "smcsite/test_archiving.py",
    "signals/feed/test_processes.py", "browser/test_live.py", "operations/test_faults.py", "signals/log/test_log.py",
    "signals/engine/test_detector.py", "browser/test_safety.py", "signals/feed/test_soak.py",
    "markets/services/test_worker.py", "signals/feed/test_faults.py", "signals/evidence/test_study.py",
    "signals/services/test_tracking.py", "smcsite/test_schema.py", "smcsite/test_hardening.py",
    "backtests/engine/test_properties.py", "signals/log/test_processes.py",
    "smcsite/test_answers.py", "signals/feed/series/test_forming.py", "markets/replay/test_command.py",
)  # fmt: skip
_TESTS = Path(__file__).parent

# Everything that is imported and collected stays: to look through it for cycles, again and again, costs seconds.
gc.disable()


def find_program(names: tuple[str, ...]) -> str | None:
    """Return the path of the first program that is there; Debian keeps PostgreSQL's off PATH."""
    debian = os.pathsep.join(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)))
    path = f"{os.environ.get('PATH', '')}{os.pathsep}{debian}"
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def pytest_xdist_auto_num_workers() -> int:
    """Use one process more than there are cores: a third of the time tests wait, for others or to see nothing come."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Let the process that hands out tests do so in the order below, and have the engines compiled meanwhile."""
    if getattr(config.option, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        config.option.loadscopereorder = False
        config.add_cleanup(compiling.begin())


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_report_header() -> list[str]:
    missing = [
        f"{marker} tests are skipped: {names[0]} is not installed (apt-get install {package})"
        for marker, (names, package) in NEEDS.items()
        if find_program(names) is None
    ]
    return missing or ["system packages: all that tests need are there"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and say why. Continuous integration installs everything, so there it fails.

    What takes minutes is not collected at all unless it is asked for. Of the rest the longest files come first.
    """
    places = {str(_TESTS / name): place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))
    if os.environ.get("SMC_FULL") != "1" and (long := [item for item in items if item.get_closest_marker("full")]):
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    for marker, (names, package) in NEEDS.items():
        needy = [item for item in items if item.get_closest_marker(marker) is not None]
        if not needy or find_program(names) is not None:
            continue
        reason = f"{names[0]} is not installed: apt-get install {package}"
        if os.environ.get("CI"):
            raise pytest.UsageError(reason)
        for item in needy:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module", autouse=True)
def _data_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no module find what another stored: which of them share a process is chance."""
    with _data_in(tmp_path_factory.mktemp("module")):
        yield


@pytest.fixture
def data_root(tmp_path: Path) -> Iterator[Path]:
    """A data folder of the test's own, for all that finds it by the settings."""
    with _data_in(tmp_path) as root:
        yield root


def _data_in(folder: Path) -> AbstractContextManager[Path]:
    # The process that hands out tests needs none of what this imports, and all others wait for it.
    from tests.folders import data_in

    return data_in(folder)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets of the test's own process reach this machine only."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(_LOCAL):
            raise OSError(f"a test tried to reach {address[0]}: tests stay on this machine")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
