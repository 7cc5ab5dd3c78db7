"""The order of the tests that share one site."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let them run as they are written, whatever the seed: what one ends, the next that needs it starts again."""
    places = [place for place, item in enumerate(items) if item.path.name == "test_scale.py"]
    written = sorted((items[place] for place in places), key=lambda item: item.reportinfo()[1] or 0)
    for place, item in zip(places, written, strict=True):
        items[place] = item
