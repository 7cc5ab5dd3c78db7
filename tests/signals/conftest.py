"""Fixtures of the signals' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from markets.selectors import candle_store
from signals.selectors.logs import signal_log


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder of the test's own, for all that finds it by the settings."""
    monkeypatch.setattr(settings, "DATA_ROOT", tmp_path)
    candle_store.cache_clear()
    yield tmp_path
    candle_store.cache_clear()
    signal_log.cache_clear()
