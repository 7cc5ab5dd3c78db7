"""What every answer carries, whatever its status; how mistakes are told; what is refused before it is read."""

import io
import json
import logging
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.testing import ApplicationCommunicator
from django.apps import apps
from django.conf import settings
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory

from markets import errors
from markets.errors import SmcError
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from markets.store import Source
from signals.selectors.logs import fresh_view
from smcsite import problems
from smcsite.asgi import application
from smcsite.logs import JsonFormatter, TextFormatter
from smcsite.page_errors import PageErrorMiddleware
from tests.factories import walk
from tests.smcsite.routes import routes
from tests.smcsite.securing import SECRETS, environment

pytestmark = pytest.mark.django_db

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def fail(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("a secret detail of /home/operator in SELECT 1")


@pytest.fixture
def answers(client: Client, monkeypatch: pytest.MonkeyPatch) -> dict[int, HttpResponse]:
    """One answer of every status there is."""
    client.raise_request_exception = False
    found = [
        client.get("/web/help"),
        client.get("/"),
        client.get("/api/v1/candles/"),
        client.get("/api/v1/nothing"),
        client.get("/nothing"),
        client.get("/", headers={"Host": "evil.example"}),
        client.put("/api/v1/pairs/"),
        client.get("/api/v1/candles/?symbol=BTCUSDT&timeframe=15m&limit=5001"),
        client.get(f"/web/?x={'x' * 5_000}"),
        client.post("/api/v1/backfills/", "x=1", content_type="text/plain"),
        Client(enforce_csrf_checks=True).post("/web/settings"),
    ]
    with environment(shared_secret=SECRETS):
        found.append(client.get("/api/v1/status"))
    with environment(rate_limit="1/d"):
        found += [client.get("/api/v1/pairs/") for _ in range(3)]
    monkeypatch.setattr("smcsite.views.help_page", fail)
    monkeypatch.setattr("smcsite.api.read_status", fail)
    found.append(client.get("/api/v1/status"))
    told: list[Any] = found
    return {answer.status_code: answer for answer in told}


def test_security_headers_all(answers: dict[int, HttpResponse]) -> None:
    """S15, S18: the same on every status, and nothing tells what serves."""
    assert set(answers) >= {200, 302, 400, 401, 403, 404, 405, 413, 414, 415, 429, 500}
    for status, answer in answers.items():
        for name, value in HEADERS.items():
            assert answer.get(name) == value, (status, name)
        assert "Content-Security-Policy" in answer, status
        assert re.fullmatch(r"[0-9a-f]{32}", answer["X-Request-ID"]), status
        assert "Server" not in answer


def test_csp_every_html(answers: dict[int, HttpResponse]) -> None:
    """S15: nothing inline, nothing evaluated, nothing from elsewhere."""
    for answer in answers.values():
        policy = dict(part.strip().partition(" ")[::2] for part in answer["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["object-src"] == policy["base-uri"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["form-action"] == policy["connect-src"] == "'self'"
        for name in ("script-src", "style-src"):
            assert set(policy[name].split()) - {"'self'"} <= {
                each for each in policy[name].split() if each.startswith(("'nonce-", "'sha256-"))
            }
        assert "unsafe" not in answer["Content-Security-Policy"]


def test_hsts_is_sent_where_tls_is_used(client: Client) -> None:
    """S18."""
    assert "Strict-Transport-Security" not in client.get("/healthz")
    assert client.get("/healthz", secure=True)["Strict-Transport-Security"] == "max-age=31536000"


def test_only_a_trusted_proxy_says_that_tls_is_used(client: Client) -> None:
    told = {"X-Forwarded-Proto": "https"}
    assert "Strict-Transport-Security" not in client.get("/healthz", headers=told)
    with environment(trusted_proxies=["127.0.0.1/32"]):
        assert "Strict-Transport-Security" in client.get("/healthz", headers=told)


@pytest.mark.parametrize(
    "origin", ["https://charts.example.org", "https://evil.example", "https://charts.example.org.evil.example", "null"]
)
@pytest.mark.parametrize("is_listed", [False, True])
def test_cors_matrix(client: Client, settings: Any, origin: str, is_listed: bool) -> None:
    """S19: nobody by default, an exact list otherwise, never with cookies, never on pages."""
    settings.CORS_ALLOWED_ORIGINS = ["https://charts.example.org"] if is_listed else []
    allowed = "https://charts.example.org" if is_listed and origin == "https://charts.example.org" else None
    for headers in ({}, {"Access-Control-Request-Method": "GET"}):
        answer = client.options("/api/v1/pairs/", headers={"Origin": origin, **headers})
        assert answer.get("Access-Control-Allow-Origin") == allowed
        assert "Access-Control-Allow-Credentials" not in answer
    assert "Access-Control-Allow-Origin" not in client.get("/web/help", headers={"Origin": origin})


def test_500_is_opaque(answers: dict[int, HttpResponse]) -> None:
    """S38: a mistake of ours tells its request id and nothing else."""
    told = json.loads(answers[500].content)
    assert told["status"] == 500
    assert told["request_id"] == answers[500]["X-Request-ID"]
    for word in ("secret detail", "/home", "SELECT", "ZeroDivision", "Traceback", ".py"):
        assert word not in answers[500].content.decode()


def test_every_error_of_the_api_is_a_problem(answers: dict[int, HttpResponse]) -> None:
    for status in (400, 401, 405, 413, 415, 429, 500):
        answer = answers[status]
        if not answer.request["PATH_INFO"].startswith("/api/"):  # type: ignore[attr-defined]
            continue
        told = json.loads(answer.content)
        assert answer["Content-Type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "request_id"} <= set(told)
        assert told["status"] == status


def _kinds(kind: type[SmcError]) -> list[type[SmcError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _kinds(below))]


def _example(kind: type[SmcError]) -> SmcError:
    if kind is errors.UnknownSymbolError:
        return kind("BTCUSD", near=["BTCUSDT"])
    if kind is errors.RateLimitedError:
        return kind("slow down", retry_after_seconds=7.2)
    return kind("what happened")


# What product.md promises for each kind that can leave a door.
STATUSES = {
    errors.InvalidInputError: 422, errors.InvalidCandlesError: 422, errors.NoCandlesError: 422,
    errors.UnknownSymbolError: 404, errors.NotFoundError: 404, errors.UnknownTimeframeError: 400,
    errors.TooLargeError: 413, errors.ConflictError: 409, errors.JobCancelledError: 409,
    errors.ExchangeError: 503, errors.GeoBlockedError: 503, errors.BadAnswerError: 503,
    errors.ExchangeUnavailableError: 503, errors.RateLimitedError: 503, errors.StoreError: 503,
    errors.StoreFullError: 503, errors.CorruptFileError: 503, errors.ForeignFileError: 503,
    errors.OvertakenError: 503, errors.ServiceUnavailableError: 503,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "status"), STATUSES.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_error_of_ours_has_its_status(kind: type[SmcError], status: int) -> None:
    answer = problems.problem_handler(_example(kind), {})
    assert answer is not None
    assert answer.status_code == answer.data["status"] == status
    assert answer.content_type == "application/problem+json"
    assert ("Retry-After" in answer) == (status == 503)


def test_no_kind_of_error_was_forgotten() -> None:
    ours = {kind for kind in _kinds(SmcError) if kind.__module__ == "markets.errors"}
    assert ours - set(STATUSES) == {SmcError, errors.FencedError}


def test_an_unknown_symbol_comes_with_near_matches(client: Client) -> None:
    ensure_series(SeriesKey.of("BTCUSDT", "15m"))
    answer = client.get("/api/v1/candles/?symbol=BTCUSD&timeframe=15m")
    assert answer.status_code == 404
    assert json.loads(answer.content)["near"] == ["BTCUSDT"]


@pytest.mark.django_db
def test_a_database_that_cannot_be_written_is_503_and_its_words_stay_inside(
    client: Client, rf: RequestFactory, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_series(SeriesKey.of("BTCUSDT", "1h"))
    body = {"symbol": "BTCUSDT", "timeframe": "1h", "start": 0, "end": 3_600_000}
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
        try:
            answer = client.post("/api/v1/backfills/", body, content_type="application/json")
        finally:
            cursor.execute("PRAGMA query_only = OFF")
    page = PageErrorMiddleware(lambda _: HttpResponse()).process_exception(rf.get("/web/"), OperationalError("no disk"))
    assert page is not None
    for each in (answer, page):
        assert (each.status_code, each.get("Retry-After")) == (503, "5"), each.text
    assert answer.json()["detail"] == "the database cannot be read or written just now"
    assert "no disk" not in page.text
    told = [vars(record)["error"] for record in caplog.records if record.message == "the database refuses"]
    assert told == ["attempt to write a readonly database", "no disk"]


def test_a_caller_may_name_its_request(client: Client) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "order-4711-a"})["X-Request-ID"] == "order-4711-a"
    for bad in ("x", "a b c d e f g h", "x" * 65, "<script>alert</script>"):
        assert client.get("/healthz", headers={"X-Request-ID": bad})["X-Request-ID"] != bad


@pytest.mark.parametrize("format_", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_log_injection(format_: logging.Formatter) -> None:
    """S39: no value can pretend to be another event."""
    record = logging.makeLogRecord(
        {"msg": "refused %s", "args": ("a\r\n12:00:00 ERROR   fake: event\x1b[2J\u2028",), "path": "b\nc\x00\x85"}
    )
    line = format_.format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "\x00" not in line


def test_security_events_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """S40: who was refused, from where, in UTC by the formatter, with the request's id."""
    with caplog.at_level(logging.WARNING), environment(shared_secret=SECRETS, rate_limit="1/d"):
        for status in (401, 429):
            while client.get("/api/v1/status", REMOTE_ADDR="203.0.113.77").status_code != status:
                pass
        told = [record for record in caplog.records if record.getMessage() == "request refused"]
    assert {record.__dict__["status"] for record in told} == {401, 429}
    assert {record.__dict__["address"] for record in told} == {"203.0.113.77"}


def test_a_suspicious_request_is_one_warning(client: Client) -> None:
    """Whoever scans the service with foreign host names fills no log with traces."""
    ours = next(each for each in logging.getLogger().handlers if isinstance(each.formatter, TextFormatter))
    assert isinstance(ours, logging.StreamHandler)
    written = io.StringIO()
    former = ours.setStream(written)
    try:
        assert client.get("/web/", headers={"Host": "evil.example.org"}).status_code == 400
    finally:
        ours.setStream(former)
    (line,) = written.getvalue().splitlines()
    assert "WARNING django.security.DisallowedHost: " in line
    assert "evil.example.org" in line


def test_no_secret_leak(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """S01: whatever route is asked, and whatever goes wrong, secrets stay inside."""
    canary = SECRETS.split(",", maxsplit=1)[0]
    client.raise_request_exception = False
    with caplog.at_level(logging.DEBUG), environment(shared_secret=SECRETS, binance_secret_key="binance-canary-0123"):
        for route in routes():
            answer = client.get(route.path, headers={"X-Shared-Secret": canary})
            content = b"" if answer.streaming else answer.content
            text = content + str(answer.headers).encode()
            for secret in (canary, settings.SECRET_KEY, "binance-canary-0123"):
                assert secret.encode() not in text, route
                assert secret not in caplog.text, route


@pytest.mark.parametrize("build", [
    lambda: b"[" * 60_000,
    lambda: b'{"a":' * 9_000,
    lambda: json.dumps({"symbol": [[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]}).encode(),
    lambda: b'{"symbol": NaN}',
    lambda: b'{"symbol": Infinity}',
    lambda: b'{"symbol": ' + b"9" * 50_000 + b"}",
    lambda: b'"\xff\xfe"',
    lambda: b"\x00",
    lambda: b"",
    lambda: b"null",
    lambda: b"[]",
], ids=range(11))  # fmt: skip
def test_hostile_json_is_malformed_and_nothing_else(client: Client, build: Callable[[], bytes]) -> None:
    """S32."""
    answer = client.post("/api/v1/backfills/", build(), content_type="application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "type_", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_bodies_are_json_or_415(client: Client, type_: str) -> None:
    assert client.post("/api/v1/backfills/", b"symbol=BTCUSDT", content_type=type_).status_code == 415


@pytest.mark.parametrize(("size", "status"), [(65_535, 400), (65_536, 400), (65_537, 413)])
def test_dos_caps(client: Client, size: int, status: int) -> None:
    """P22, S32: at most 64 KiB, to the byte."""
    answer = client.post("/api/v1/backfills/", b" " * size, content_type="application/json")
    assert answer.status_code == status


async def _post(*chunks: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> dict[str, Any]:
    communicator: Any = ApplicationCommunicator
    talk = communicator(
        application,
        {
            "type": "http", "http_version": "1.1", "method": "POST", "path": "/api/v1/backfills/", "raw_path": b"",
            "query_string": b"", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), *(headers or [])],
        },
    )  # fmt: skip
    for number, chunk in enumerate(chunks):
        await talk.send_input({"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1})
    answer: dict[str, Any] = await talk.receive_output(10)
    await talk.wait(10)
    return answer


@pytest.mark.django_db(transaction=True)
async def test_chunked_body_cap() -> None:
    """S34: a body that announces no length is cut off as well."""
    assert (await _post(*[b" " * 16_384] * 5))["status"] == 413
    assert (await _post(*[b" " * 16_384] * 4))["status"] == 400


def test_get_is_safe(client: Client, data_root: Path) -> None:
    """S14: asking changes nothing, whatever is asked. The log is only brought up to the candles, as it is here."""
    series = SeriesKey.of("BTCUSDT", "15m")
    ensure_series(series)
    candle_store().merge(series, walk(5, 600, timeframe=series.timeframe), source=Source.FILE)
    assert fresh_view(series) is not None
    before = _everything()
    assert {Path(name).suffix for name in before[1]} >= {".parquet", ".log"}
    for route in routes():
        if not route.path.startswith(("/admin/", "/logout")):
            client.get(route.path)
    assert _everything() == before


def _everything() -> tuple[Any, ...]:
    rows = {
        model.__name__: model._default_manager.count() for model in apps.get_models() if model.__name__ != "Session"
    }
    files = {str(path) for path in Path(settings.DATA_ROOT).rglob("*") if path.is_file() and "var" not in path.parts}
    return rows, {each for each in files if not each.endswith((".sqlite3", "-wal", "-shm", ".lock"))}


HOSTILE = [
    "..", "../..", "%2e%2e%2f", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "//etc/passwd", "BTCUSDT\n", "BTCUSDT\0",
    "BTCUSDT/../..", "ＢＴＣＵＳＤＴ", "BTCUSDTı", "btcusdt", "CON", "NUL.parquet", "A" * 3_000, ".", "",
    "~root", "{{7*7}}", "${7*7}", "';DROP TABLE--", "<script>", "*", "?", "\\\\server\\share", "C:\\", "BTC USDT",
]  # fmt: skip


def test_path_fuzz(client: Client) -> None:
    """P21, S28: a hostile symbol or timeframe is malformed or unknown, and touches no file outside."""
    watched = Path(settings.DATA_ROOT).parent
    before = sorted(path for path in watched.iterdir())
    rng = random.Random(7)
    letters = [*"../\\%2e\0\n\r\tBTCUSDT ı１", "../", "%2f", "\u202e"]
    fuzz = HOSTILE + ["".join(rng.choices(letters, k=rng.randint(1, 30))) for _ in range(120)]
    for text in fuzz:
        for query in ({"symbol": text, "timeframe": "15m"}, {"symbol": "BTCUSDT", "timeframe": text}):
            assert client.get("/api/v1/candles/", query).status_code in (400, 404), query
    assert sorted(path for path in watched.iterdir()) == before


NO_ROW = ["9" * 19, "9" * 27, "9" * 300]
NO_NUMBER = ["²", "٣", "１", "-1", "1e3", "1_0", "0x1", " ", "9" * 40]


def test_a_number_that_no_row_can_have_is_not_found(client: Client) -> None:
    """S32: databases fail on numbers that are longer than theirs, and not every digit is a number."""
    for route in routes():
        if re.search("/1(/|$)", route.path):
            for number in NO_ROW:
                path = re.sub(r"/1(?=/|$)", f"/{number}", route.path)
                assert client.get(path).status_code in (302, 404, 405), path
    compare = ("/web/backtest/compare?ids=", "/api/v1/backtests/compare/?ids=1,")
    for path in ("/web/backtest?again=", "/web/backtest?before=", "/web/backtest?analyses_before=", *compare):
        for text in NO_NUMBER:
            assert client.get(path + quote(text)).status_code in (200, 400, 404, 422), (path, text)
