"""Every operation of the OpenAPI schema keeps what the schema says, whatever it is asked.

The cases are the same in each run. ``SMC_FULL=1`` asks thousands: each value at and beyond every bound of its schema.
"""

import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.conf import settings
from django.core.cache import caches
from django.core.handlers.wsgi import WSGIHandler
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from drf_spectacular.generators import SchemaGenerator
from hypothesis import strategies
from schemathesis.config import SchemathesisConfig
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test

from backtests.engine.spec import BacktestSpec
from backtests.models import Analysis
from backtests.services.running import run_now
from markets.models import Backfill
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from signals.models import Study
from signals.services import Tracker
from tests.downloads import body_of
from tests.factories import walk
from tests.folders import data_in
from tests.smcsite.routes import routes
from tests.smcsite.securing import SECRET

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("market", "secured")]

FULL = os.environ.get("SMC_FULL") == "1"
SERIES = SeriesKey.of("BTCUSDT", "15m")
BACKFILL, RUN, ANALYSIS, STUDY = range(1_000_000, 1_000_004)
JOBS = {"backfills": BACKFILL, "backtests": RUN, "analyses": ANALYSIS, "sweeps": ANALYSIS, "studies": STUDY}
KNOWN = {"symbol": "BTCUSDT", "timeframe": "15m", **JOBS}
HEADERS = {
    "X-Shared-Secret": SECRET,
    "Accept-Encoding": "identity",  # the tool reads no compressed answers
}

MOMENTS = strategies.datetimes(min_value=datetime(2010, 1, 1), max_value=datetime(2099, 12, 31))  # noqa: DTZ001
schemathesis.openapi.format("date", MOMENTS.map(lambda moment: moment.date().isoformat()))
schemathesis.openapi.format("date-time", MOMENTS.map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}Z"))

CONFIGURATION: dict[str, Any] = {
    "seed": 1,
    "generation": {
        "max-examples": 60 if FULL else 4,
        "allow-x00": False,  # no text of ours may hold NUL, which a JSON schema can hardly say
    },
    "phases": {"coverage": {"enabled": FULL}},
    # Mostly what is there: of what is not there everything is 404.
    "dictionaries": {name: {"values": [value]} for name, value in KNOWN.items()},
    "parameters": {
        f"{place}.{name}": {"dictionary": name, "probability": 0.7}
        for place in ("query", "body")
        for name in ("symbol", "timeframe")
    },
    "checks": {
        # Beside the tool's own: 413 names the cap that was exceeded.
        "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 429]},
        # 413 and 422 are for what is well-formed and yet too much, or impossible.
        "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", 401, 403, 404, 409, 413, 422, 429]},
    },
    "operations": [
        {
            # Which parameters go together depends on the strategy and the method, which no schema of flat objects says;
            # nor does it that higher_trend needs higher, and that what is compared must differ.
            "include-operation-id": [
                "backtest_now", "submit_backtest", "submit_analysis", "submit_sweep", "signals", "compare_backtests",
            ],
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 400, 404, 409, 413, 422]}},
        },
        *(
            {
                "include-path-regex": f"/{kind}/{{job_id}}/",
                "parameters": {"path.job_id": {"dictionary": kind, "probability": 0.8}},
            }
            for kind in JOBS
        ),
    ],
}  # fmt: skip


class Service(WSGIHandler):
    """The service in this process, with streamed answers read to their end."""

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        answer = super().get_response(request)
        if not answer.streaming:
            return answer
        return HttpResponse(body_of(answer), status=answer.status_code, headers=dict(answer.headers))


def load() -> Any:
    generator: Any = SchemaGenerator  # it has no types
    told = json.loads(json.dumps(generator().get_schema(request=None, public=True), default=str))
    schema = schemathesis.openapi.from_dict(told, config=SchemathesisConfig.from_dict(CONFIGURATION))
    schema.app = Service()
    return schema


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A pair with candles and signals, and a job of each kind, for all cases."""
    folder = tmp_path_factory.mktemp("schema")
    with data_in(folder), django_db_blocker.unblock(), transaction.atomic():
        candle_store().merge(SERIES, walk(5, 600, timeframe=Timeframe.M15), source=Source.FILE)
        ensure_series(SERIES)
        Tracker(SERIES, store=candle_store(), root=settings.DATA_ROOT).catch_up()
        names = {"symbol": "BTCUSDT", "timeframe": "15m"}
        Backfill.objects.create(pk=BACKFILL, kind="backfill", **names)
        assert run_now(BacktestSpec.of(names)).pk == RUN
        Analysis.objects.create(pk=ANALYSIS, kind="analysis", method="sweep", strategy="breakout", **names)
        Study.objects.create(pk=STUDY, kind="study", **names)
        yield
        transaction.set_rollback(True)


SCHEMA = load()
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]
SETTINGS = hypothesis.settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


def _ask(case: Any) -> None:
    caches["limits"].clear()  # wrong secrets are tried too, and those are few a minute
    case.validate_response(case.call(headers=HEADERS), headers=HEADERS)


# The tool makes tests of operations too, but with one name for all, which tests on several processes cannot have.
@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.label.replace(" ", "_") for each in OPERATIONS])
def test_every_answer_conforms_to_the_schema(operation: Any) -> None:
    ask = build_operation_test(
        config=SCHEMA.config,
        operation=operation,
        test_func=_ask,
        given_kwargs={},
        feedback=FeedbackSources(),
        explicit_settings=SETTINGS,
    )
    ask()


def test_the_schema_has_every_route_of_the_api() -> None:
    told = {re.sub(r"{\w+}", "1", operation.path) for operation in OPERATIONS}
    left_out = {"/api/schema/", "/api/v1/"}
    assert {route.path for route in routes() if route.is_api} - left_out == told
