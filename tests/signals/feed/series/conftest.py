"""The series that tests take candles with."""

import pytest

from signals.feed.fence import Fence
from tests.signals.feed.series.rig import Rig


@pytest.fixture
def fence(tmp_path_factory: pytest.TempPathFactory) -> Fence:
    fence = Fence(tmp_path_factory.mktemp("fence") / "epoch")
    fence.take()
    return fence


@pytest.fixture
def rig(fence: Fence) -> Rig:
    rig = Rig(fence)
    rig.work.recover()
    rig.said.messages.clear()
    return rig
