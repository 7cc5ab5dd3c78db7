"""How often one may ask: by key, by address, at the login, and while Redis is away."""

import json
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.core.cache.backends.redis import RedisCache
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import Client, RequestFactory
from redis.exceptions import ConnectionError as RedisConnectionError

from smcsite.security import limits, middleware
from tests.smcsite.routes import routes
from tests.smcsite.securing import NEXT_SECRET, SECRET, SECRETS, environment

pytestmark = pytest.mark.django_db

WRONG = {"X-Shared-Secret": "x" * 32}


def statuses(client: Client, count: int, path: str = "/api/v1/status", **more: Any) -> list[int]:
    return [client.get(path, **more).status_code for _ in range(count)]


@pytest.fixture
def _no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise RedisConnectionError("away")

    for name in ("add", "incr", "get"):
        monkeypatch.setattr(caches["limits"], name, away)


def test_calls_over_the_limit_are_refused_until_the_window_ends(client: Client) -> None:
    with environment(rate_limit="5/h"):
        assert statuses(client, 8) == [200] * 5 + [429] * 3


def test_429_shape_everywhere(client: Client) -> None:
    """S23: JSON for programs, a page for people, a fragment for htmx, and always when to come again."""
    with environment(rate_limit="1/h", shared_secret=SECRETS):
        statuses(client, 1)
        answer = client.get("/api/v1/status")
        told = json.loads(answer.content)
        assert answer["Content-Type"] == "application/problem+json"
        assert (told["error"], told["limit"], told["status"]) == ("rate_limited", "1/h", 429)
        assert 1 <= told["retry_after"] <= 3600
        assert answer["Retry-After"] == str(told["retry_after"])
        for path in ("/login/", "/admin/login/"):
            for _ in range(6):
                page = client.post(path, {"username": f"name{path}", "password": "x"})
            assert page.status_code == 429
            assert 1 <= int(page["Retry-After"]) <= 3600
            assert page["Content-Type"].startswith("text/")
            caches["limits"].clear()


def test_the_limit_is_the_callers_own(client: Client) -> None:
    with environment(rate_limit="2/h", shared_secret=SECRETS):
        assert statuses(client, 3, headers={"X-Shared-Secret": SECRET}) == [200, 200, 429]
        assert statuses(client, 1, headers={"X-Shared-Secret": NEXT_SECRET}) == [200]


def test_wrong_secrets_are_limited_and_lock_nobody_out(client: Client) -> None:
    """P19: ten wrong ones a minute; the right one always passes, from the same address too."""
    with environment(shared_secret=SECRETS):
        assert statuses(client, 20, headers=WRONG) == [401] * 10 + [429] * 10
        assert statuses(client, 3, headers={"X-Shared-Secret": SECRET}) == [200] * 3
        assert statuses(client, 1, headers=WRONG, REMOTE_ADDR="203.0.113.5") == [401]


def test_ratelimit_xff_spoof() -> None:
    """P20, S21: a thousand invented addresses count as the one they came from."""
    door = middleware.limits(lambda _request: HttpResponse())
    with environment(rate_limit="120/h"):
        passed = [
            door(RequestFactory().get("/api/v1/pairs/", headers={"X-Forwarded-For": f"10.{i // 250}.{i % 250}.7"}))
            for i in range(1_000)
        ]
    assert [answer.status_code for answer in passed] == [200] * 120 + [429] * 880


def test_callers_behind_a_trusted_proxy_are_told_apart(client: Client) -> None:
    """P20."""
    with environment(rate_limit="1/h", trusted_proxies=["127.0.0.0/8"]):
        for caller in ("1.2.3.4", "5.6.7.8"):
            headers = {"X-Forwarded-For": f"9.9.9.9, {caller}"}
            assert statuses(client, 2, headers=headers) == [200, 429]


@pytest.mark.usefixtures("_no_redis")
def test_ratelimit_redis_down(client: Client) -> None:
    """S24: the API counts in this process, the login refuses, and nothing is ever a 500."""
    User.objects.create_user("alice", password="alice-writes-tests", is_staff=True)
    with environment(rate_limit="3/h"):
        assert statuses(client, 5) == [200, 200, 200, 429, 429]
    answer = client.post("/login/", {"username": "alice", "password": "alice-writes-tests"})
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) >= 1


def test_a_dead_redis_is_not_asked_at_every_request(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """S24: waiting for it once is enough."""
    asked = []

    def away(*_: Any, **__: Any) -> None:
        asked.append(1)
        raise RedisConnectionError("away")

    monkeypatch.setattr(caches["limits"], "add", away)
    assert statuses(client, 20) == [200] * 20
    assert len(asked) == 1


def test_logins_are_limited_by_name_from_whatever_address(client: Client) -> None:
    forms = [{"username": "alice", "password": f"guess{i}"} for i in range(12)]
    tried = [client.post("/login/", form, REMOTE_ADDR=f"203.0.113.{i}").status_code for i, form in enumerate(forms)]
    assert tried == [200] * 5 + [429] * 7


def test_logins_are_limited_by_address_whatever_the_name(client: Client) -> None:
    tried = [client.post("/login/", {"username": f"n{i}", "password": "x"}).status_code for i in range(12)]
    assert tried == [200] * 5 + [429] * 7


def test_ratelimit_burst_bound(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """S26: windows are fixed, so at their edge twice the limit may pass, and never more."""
    now = time.time()
    passed = 0
    with environment(rate_limit="10/m"):
        for second in range(0, 60, 2):
            monkeypatch.setattr("django_ratelimit.core.time.time", lambda second=second: now + second)
            passed += statuses(client, 3).count(200)
    assert 10 <= passed <= 20


def test_every_route_limited(client: Client) -> None:
    """S27: no route of the API is left out, whichever way its view is written."""
    with environment(rate_limit="1/d"):
        for route in routes():
            if route.is_api:
                caches["limits"].clear()
                statuses(client, 1, route.path)
                assert client.get(route.path).status_code == 429, route


def test_what_redis_lost_is_counted_anew_and_does_not_stay_for_ever(client: Client) -> None:
    with environment(rate_limit="3/h"):
        assert statuses(client, 3) == [200] * 3
        caches["limits"].clear()
        assert statuses(client, 4) == [200] * 3 + [429]
        cache: Any = caches["limits"]
        redis = cache._cache.get_client()
        assert all(0 < redis.ttl(key) <= 86_400 for key in redis.scan_iter("*rl:*"))


def test_health_is_never_limited(client: Client) -> None:
    with environment(rate_limit="1/d"):
        assert statuses(client, 5, "/healthz") == [200] * 5
        assert 429 not in statuses(client, 5, "/health")


def test_ratelimit_cache_check(settings: Any) -> None:
    """S25: limits are counted where all processes count, which a cache in memory is not."""
    assert isinstance(caches[settings.RATELIMIT_USE_CACHE], RedisCache)
    assert "smc.E001" not in [each.id for each in run_checks()]
    settings.CACHES = {**settings.CACHES, "limits": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert "smc.E001" in [each.id for each in run_checks()]


def test_local_windows_forget_rather_than_grow() -> None:
    windows = limits.LocalWindows()
    for number in range(25_000):
        windows.count("api", str(number), "5/m")
    assert len(windows._counts) <= 10_001
