"""Signals as values, and the ids by which the world knows them."""

from signals.log.rows import SignalId, told_new
from tests.factories import walk
from tests.signals.logging import SERIES, expected


def test_an_id_is_written_alike_in_lists_and_by_itself_and_read_back() -> None:
    found, _ = expected(walk(3, 2_000))
    assert len(found)
    for record, row in zip(found, told_new(SERIES, found, 1), strict=True):
        name = SignalId.of(SERIES, record)
        assert str(name) == row.id
        assert SignalId.parse(row.id) == name
