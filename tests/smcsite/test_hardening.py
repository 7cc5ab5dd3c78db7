"""What an attacker who got one step far finds: no pickle to feed, no URL to point, no setting left open."""

import ast
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.cache import caches
from django.test import Client
from kombu import Connection, Queue
from kombu.exceptions import ContentDisallowed

from backtests.models import Backtest
from markets.models import Backfill, JobState, Pair, Series
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from smcsite.celery import app
from smcsite.env import BASE_DIR, Environment, EnvironmentVariableError
from tests.browser.test_vendor import VENDORED
from tests.smcsite.routes import routes

APPS = ("smcsite", "markets", "signals", "backtests", "scanner")
TEMPLATES = sorted((BASE_DIR / "templates").rglob("*.html"))
_SUSPECT = re.compile(r"pickle|marshal|shelve|dill|joblib|\b(eval|exec)\(|yaml|os\.system|shell")
SOURCES = [path for name in APPS for path in (BASE_DIR / name).rglob("*.py")]


class Canary:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.folder),))


@pytest.mark.broker
def test_celery_rejects_pickle(tmp_path: Path) -> None:
    """S35: a message that is a pickle is refused by what workers read with, and nothing of it runs."""
    canary = tmp_path / "canary"
    task: Any = (((Canary(canary),), {}, {}), {"id": "1", "task": "scanner.tasks.scan_all"})
    refused: list[Exception] = []
    queue = Queue(f"pickles-{tmp_path.name}", auto_delete=True)
    with Connection(settings.CELERY_BROKER_URL) as connection, connection.channel() as channel:
        bound = queue(channel)
        bound.declare()
        producer = app.amqp.Producer(channel)
        for kind in ("pickle", "application/x-python-serialize"):
            producer.publish(
                pickle.dumps(task), routing_key=queue.name, content_type=kind, content_encoding="binary",
                headers=task[1], serializer=None,
            )  # fmt: skip

        def note(message: Any, error: Exception) -> None:
            message.ack()
            refused.append(error)

        with app.amqp.TaskConsumer(channel, [bound], on_decode_error=note):
            while len(refused) < 2:
                connection.drain_events(timeout=5)
        bound.delete()
    assert all(isinstance(error, ContentDisallowed) for error in refused)
    assert not canary.exists()
    assert set(app.conf.accept_content) == {"json"}
    assert app.conf.task_serializer == app.conf.result_serializer == "json"


def test_no_pickle_ast() -> None:
    """S35: none of our modules can turn bytes into code."""
    assert len(SOURCES) > 100
    suspects = [path for path in SOURCES if _SUSPECT.search(path.read_text())]
    assert BASE_DIR / "smcsite/cache.py" in suspects  # it says why it does not
    for path in suspects:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            banned = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
            assert not {name.partition(".")[0] for name in names} & banned, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "yaml.load", "os.system"), path
                assert not any(each.arg in ("allow_pickle", "shell") for each in node.keywords), path


@pytest.mark.broker
@pytest.mark.parametrize("name", ["default", "limits"])
def test_what_the_cache_keeps_is_json(name: str) -> None:
    """S35: Django's own caches pickle, so whoever can write to Redis could run code in every process."""
    cache: Any = caches[name]
    kept = {"a": [1, 2.5, None, "x"], "b": {"c": True}}
    cache.set("kept", kept, 10)
    assert cache.get("kept") == kept
    client = cache._cache.get_client()
    raw = client.get(cache.make_and_validate_key("kept"))
    assert json.loads(raw) == kept
    cache.set("count", 1, 10)
    assert cache.incr("count", 2) == cache.get("count") == 3
    with pytest.raises(TypeError):
        cache.set("kept", object(), 10)
    client.set(cache.make_and_validate_key("kept"), pickle.dumps(kept))
    with pytest.raises(ValueError, match=r".*"):
        cache.get("kept")
    cache.delete("kept")


BAD_URLS = [
    "http://169.254.169.254", "http://10.0.0.1", "http://localhost.evil.example", "https://user:pw@api.example.org",
    "https://api.example.org/path", "https://api.example.org?x=1", "file:///etc/passwd", "gopher://127.0.0.1:6379",
    "ftp://127.0.0.1", "https://", "https://api.example.org:99999", "javascript:alert(1)", "//api.example.org",
]  # fmt: skip


@pytest.mark.parametrize("variable", ["BINANCE_REST_URL", "BINANCE_ARCHIVE_URL", "BINANCE_WS_URL"])
def test_ssrf_env_allowlist(variable: str) -> None:
    """S31: where the service connects to is settled at the start, by TLS unless it is on this machine."""
    for url in BAD_URLS:
        given = url.replace("http", "ws", 1) if variable == "BINANCE_WS_URL" else url
        with pytest.raises(EnvironmentVariableError, match=variable):
            Environment.read({variable: given})
    hosts = {"REST": "api.binance.com", "ARCHIVE": "data.binance.vision", "WS": "stream.binance.com:9443"}
    scheme = "wss" if variable == "BINANCE_WS_URL" else "https"
    for url in (f"{scheme}://{hosts[variable.split('_')[1]]}", f"{scheme[:-1]}://127.0.0.1:9"):
        assert Environment.read({variable: url})


def test_nobody_but_the_operator_can_name_a_url() -> None:
    """S31: no form, serializer or model has a field for one."""
    for path in SOURCES:
        assert not re.search(r"\bURLField\b|\burlopen\b|requests\.(get|post)\((?!f\"{rest_url})", path.read_text()), (
            path
        )


@pytest.mark.processes
def test_check_deploy() -> None:
    """S41: Django's own list of what a public service must not leave open, in an environment like production's."""
    command = [
        str(BASE_DIR / ".ci/production-env"),
        sys.executable,
        "manage.py",
        "check",
        "--deploy",
        "--fail-level",
        "WARNING",
    ]
    ended = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "no issues" in ended.stdout


@pytest.mark.django_db
def test_htmx_config_and_hash(client: Client) -> None:
    """S16: htmx evaluates nothing, asks nobody else, keeps no history, and is the file that its authors published."""
    for path in ("/web/", "/web/help", "/login/", "/web/nothing-there"):
        page = client.get(path).content.decode()
        (written,) = re.findall(r"""<meta name="htmx-config" content='([^']*)'""", page)
        told = json.loads(written)
        expected = {
            "allowEval": False, "selfRequestsOnly": True, "allowScriptTags": False, "includeIndicatorStyles": False,
            "historyCacheSize": 0,
        }  # fmt: skip
        assert {name: told[name] for name in expected} == expected, path
        assert all(
            src.startswith("/static/") for src in re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', page)
        )
    # That the file has this digest is tested where vendored files are.
    (htmx,) = [each for each in VENDORED if each["name"].lower() == "htmx"]
    assert any(name.endswith(".js") and len(digest) == 64 for name, digest in htmx["files"].items())


HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


@pytest.mark.django_db
def test_xss_from_exchange(client: Client) -> None:
    """S17: what the exchange and people wrote is text on every page, and never markup."""
    series = ensure_series(SeriesKey.of("HOSTUSDT", "15m"))
    Series.objects.filter(pair__symbol="HOSTUSDT").update(error=HOSTILE, is_active=True)
    # The lengths of the fields are the database's business; SQLite does not look.
    Pair.objects.filter(symbol="HOSTUSDT").update(base_asset=HOSTILE, quote_asset=HOSTILE, status=HOSTILE)
    texts = {"error": HOSTILE, "stage": HOSTILE, "note": HOSTILE, "state": JobState.FAILED, "symbol": "HOSTUSDT"}
    Backfill.objects.create(kind="backfill", timeframe="15m", **texts)
    run = Backtest.objects.create(kind="backtest", timeframe="15m", strategy="breakout", start=0, end=1, **texts)
    assert series
    shown = 0
    paths = [route.path for route in routes() if route.path.startswith("/web/") and "/1" not in route.path]
    for path in [*paths, f"/web/backtest/{run.pk}", f"/web/backtest/{run.pk}/job", f"/web/search?q={quote(HOSTILE)}"]:
        text = client.get(path).text
        assert "<img src=x" not in text, path
        assert "<script>alert" not in text, path
        shown += "&lt;img src=x" in text
    assert shown >= 4
    assert not [path for path in TEMPLATES if re.search(r"\|\s*safe\b|autoescape off", path.read_text())]
    # Icons are constants of that module.
    assert [path.name for path in SOURCES if "mark_safe(" in path.read_text()] == ["icons.py"]
