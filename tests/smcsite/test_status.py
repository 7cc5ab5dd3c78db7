"""The status of the API tells what its schema says, whether a stream process speaks or not."""

import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import schemathesis
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from drf_spectacular.generators import SchemaGenerator

from markets.candles import Gap
from markets.exchanges import StreamHealth
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from signals.feed.followed import Followed
from signals.feed.runner import StreamRunner
from signals.push.status import write_status

pytestmark = [pytest.mark.django_db, pytest.mark.broker]

SERIES = SeriesKey.parse("BTCUSDT:1m")
OPEN = 1_717_243_200_000


@pytest.fixture
def runner() -> Iterator[StreamRunner]:
    """A stream process with one series, of which a candle is missing; it is never started."""
    work: Any = SimpleNamespace(stage="")
    followed = Followed(work, ask_at=0.0, gap=Gap(OPEN, OPEN + 60_000), through=OPEN, lag_ms=12.0, is_warm=True)
    stream = SimpleNamespace(health=StreamHealth(connections=1, last_message_at=time.monotonic()))
    stream.server_time = lambda: OPEN + 90_000
    runner = StreamRunner()
    feed: Any = SimpleNamespace(series={SERIES: followed}, stream=stream, queue_depth=0)
    runner.feed, runner.role = feed, "leader"
    cache.clear()
    yield runner
    cache.clear()


def closed(schema: Any) -> Any:
    """Return a schema whose objects have all that it names, and nothing else."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(each) for name, each in schema.items()}
    if isinstance(found.get("properties"), dict):
        found |= {"additionalProperties": False, "required": sorted(found["properties"])}
    return found


@pytest.mark.parametrize("speaks", [True, False])
def test_the_status_has_what_its_schema_names_and_nothing_else(runner: StreamRunner, speaks: bool) -> None:
    ensure_series(SERIES, is_active=True)
    if speaks:
        write_status(runner.status(), shard=1)
    generator: Any = SchemaGenerator  # it has no types
    told = json.loads(json.dumps(generator().get_schema(request=None, public=True), default=str))
    schema: Any = schemathesis.openapi.from_dict(closed(told))
    schema.app = WSGIHandler()
    operation = schema["/api/v1/status"]["GET"]
    answer = operation.Case().call(headers={"Accept-Encoding": "identity"})  # the tool reads no compressed answers
    operation.validate_response(answer)
    assert (answer.json()["state"], answer.json()["paused"]) == ("catching_up" if speaks else "down", not speaks)
