"""The ledger in the admin: newest first, filtered by what is known to occur, without a look at every row."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from signals.engine import Kind
from signals.models import PublishedSignal

pytestmark = pytest.mark.django_db

LEDGER = "/admin/signals/publishedsignal/"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("carol"))
    return client


def publish(kind: str, time: int, *, timeframe: str = "1m", scale: str = "internal", direction: int = 1) -> int:
    """Write a row, published the earlier the later it was confirmed."""
    row = PublishedSignal.objects.create(
        symbol="BTCUSDT", timeframe=timeframe, scale=scale, kind=kind, direction=direction, event_time=time,
        ref_time=time, confirm_time=time, closed_at=time + 60_000, level=1.0, strength=1.0,
        published_at=datetime.fromtimestamp(2_000_000_000 - time, UTC), is_late=False, detector_version=1,
        params_digest="abcdefgh",
    )  # fmt: skip
    return row.pk


def listed(admin: Client, **asked: str) -> list[int]:
    return [row.pk for row in admin.get(LEDGER, asked).context["cl"].result_list]


def test_the_ledger_is_listed_by_candles_newest_first(admin: Client) -> None:
    ids = [publish("FVG", 120), publish("OB", 60), publish("BOS", 180), publish("FVG", 180)]
    assert listed(admin) == [ids[3], ids[2], ids[0], ids[1]]


def test_the_ledger_is_filtered_by_what_is_chosen(admin: Client) -> None:
    ids = [
        publish("FVG", 60),
        publish("OB", 120, timeframe="4h"),
        publish("FVG", 180, scale="swing"),
        publish("FVG", 240, direction=-1),
    ]
    for asked, expected in (
        ({"kind": "OB"}, [1]), ({"timeframe": "1m"}, [3, 2, 0]), ({"scale": "swing"}, [2]), ({"direction": "-1"}, [3]),
        ({"kind": "FVG", "direction": "1", "scale": "internal"}, [0]), ({"kind": "EQ"}, []),
    ):  # fmt: skip
        assert listed(admin, **asked) == [ids[place] for place in expected]


@pytest.mark.parametrize("asked", [{"kind": "NOPE"}, {"direction": "up"}, {"timeframe": "7m"}, {"scale": ""}])
def test_a_filter_that_cannot_be_meant_is_refused(admin: Client, asked: dict[str, str]) -> None:
    answer = admin.get(LEDGER, asked)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{LEDGER}?e=1")


def test_a_page_of_the_ledger_offers_every_kind_without_a_look_at_all_rows(admin: Client) -> None:
    publish("FVG", 60)
    with CaptureQueriesContext(connection) as asked:
        page = admin.get(LEDGER).content.decode()
    assert all(f"?kind={kind.name}" in page for kind in Kind)
    of_ledger = [each["sql"] for each in asked if "signals_publishedsignal" in each["sql"]]
    assert len(of_ledger) == 2  # how many, and the rows
    assert not any("DISTINCT" in sql for sql in of_ledger)
