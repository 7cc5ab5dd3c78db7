"""Who may do what: every route with every kind of caller, secrets, sessions."""

import ast
import hmac
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import caches
from django.http import HttpResponse
from django.test import Client
from django.urls import clear_url_caches, path
from django.utils.module_loading import import_string

from markets.models import Backfill, JobState
from smcsite import problems
from smcsite import urls as site_urls
from smcsite.env import BASE_DIR
from smcsite.security.credentials import Keyring
from tests.smcsite.routes import PUBLIC, UNSAFE, Route, routes
from tests.smcsite.securing import NEXT_SECRET, READ_SECRET, SECRET, SECRETS, environment

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("secured")]

WRONG: dict[str, dict[str, str]] = {
    "no header": {},
    "wrong": {"X-Shared-Secret": "x" * 32},
    "empty": {"X-Shared-Secret": ""},
    "two headers": {"X-Shared-Secret": f"{SECRET},{SECRET}"},
    "with a space": {"X-Shared-Secret": f"{SECRET} x"},
    "in another header": {"Authorization": f"Bearer {SECRET}"},
}
RIGHT = {"x-shared-secret": SECRET}


def is_refused(answer: Any) -> bool:
    """Say whether the caller was turned away: not known, not allowed, or led to the login."""
    is_login = answer.status_code == 302 and answer["Location"].startswith("/login/")
    return answer.status_code in (401, 403, 429) or is_login


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("alice", password="alice-writes-tests", is_staff=True))
    return client


@pytest.fixture
def visitor() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("bob", password="bob-only-reads-along"))
    return client


def test_authz_matrix_all_routes(client: Client, staff: Client, visitor: Client) -> None:
    """P19, S05: without the right secret every route is closed but the public ones, whatever it is."""
    found = routes()
    assert len(found) > 40
    for route in found:
        if route.path in PUBLIC:
            assert not is_refused(client.get(route.path)), route
            continue
        caches["limits"].clear()
        for method in route.methods:
            send = getattr(client, method)
            # Pages and the admin do not look at headers at all, so for them one wrong one is enough.
            for name, headers in WRONG.items() if route.is_api else list(WRONG.items())[: 1 + (method == "get")]:
                answer = send(route.path, headers=headers)
                assert is_refused(answer), (route, method, name, answer.status_code)
            for query in (f"?secret={SECRET}", f"?X-Shared-Secret={SECRET}") if route.is_api else ():
                assert is_refused(send(route.path + query)), (route, method, query)
            assert is_refused(getattr(visitor, method)(route.path)), (route, method, "a person who is not staff")


def test_the_right_secret_opens_the_whole_api_and_nothing_else(client: Client) -> None:
    """P19, S07: the secret is for programs; a page asks for a person."""
    caches["limits"].clear()
    for route in routes():
        answer = client.get(route.path, headers=RIGHT)
        if route.is_api or route.path in PUBLIC or route.path in ("/docs", "/metrics"):
            assert not is_refused(answer), route
        else:
            assert is_refused(answer), route


def test_staff_see_every_page(staff: Client) -> None:
    for route in routes():
        if not route.path.startswith(("/logout", "/admin/")):
            assert not is_refused(staff.get(route.path)), route


def test_a_route_added_tomorrow_is_closed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """S05: a plain view that knows nothing of secrets is behind the gate all the same."""

    def tomorrow(_request: Any) -> HttpResponse:
        return HttpResponse("open")

    monkeypatch.setattr(site_urls, "urlpatterns", [path("web/tomorrow", tomorrow), *site_urls.urlpatterns])
    clear_url_caches()
    try:
        assert is_refused(client.get("/web/tomorrow"))
    finally:
        clear_url_caches()


@pytest.mark.parametrize("presented", ["é" * 20, "x" * 1_000_000, "\0" * 32, "\x7f", SECRET[:-1], SECRET.upper()])
def test_secret_compare_bytes(client: Client, presented: str) -> None:
    """S06: whatever is sent is compared as bytes, and is never our mistake."""
    answer = client.get("/api/v1/status", headers={"X-Shared-Secret": presented})
    assert answer.status_code == 401


def test_no_secret_is_compared_with_an_operator() -> None:
    """S06: the only comparisons of secrets are constant-time ones."""
    tree = ast.parse((BASE_DIR / "smcsite/security/credentials.py").read_text())
    suspects = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops)
        and any(word in ast.unparse(node) for word in ("presented", "digest", "secret"))
    ]
    assert suspects == ["len(presented) == 1", "name == b'x-shared-secret'"]
    assert "hmac.compare_digest" in ast.unparse(tree)


@pytest.mark.parametrize("presented", ["x" * 32, SECRET[:31] + "x", SECRET], ids=["wrong", "nearly right", "right"])
def test_a_comparison_does_not_tell_how_much_was_right(monkeypatch: pytest.MonkeyPatch, presented: str) -> None:
    """S06: whatever is presented, each secret is compared once, in constant time and by what it hashes to."""
    compare, seen = hmac.compare_digest, []

    def noted(one: bytes, other: bytes) -> bool:
        seen.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr("smcsite.security.credentials.hmac.compare_digest", noted)
    ring = Keyring(SECRETS, None)
    found = ring.find(presented.encode())
    assert (found is not None) == (presented == SECRET)
    assert seen == [(32, 32)] * len(ring.credentials)


def test_secret_rotation(client: Client) -> None:
    """S03: two secrets are valid at once, and each has its scope."""
    assert client.get("/api/v1/status", headers={"X-Shared-Secret": SECRET}).status_code == 200
    assert client.get("/api/v1/status", headers={"X-Shared-Secret": NEXT_SECRET}).status_code == 200
    reading = {"X-Shared-Secret": READ_SECRET}
    assert client.get("/api/v1/status", headers=reading).status_code == 200
    assert client.post("/api/v1/socket-ticket", headers=reading).status_code == 403


def test_a_secret_is_revoked_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S03: a changed file counts within seconds; a broken one changes nothing."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    clock = [1_000.0]
    monkeypatch.setattr("smcsite.security.credentials.time.monotonic", lambda: clock[0])

    def opens_after(seconds: float, secret: str) -> bool:
        clock[0] += seconds
        is_open: bool = import_string(settings.CALLER_CHECK)(secret.encode())
        return is_open

    with environment(shared_secret=SECRET, shared_secret_file=file):
        assert opens_after(0, SECRET)
        file.write_text(NEXT_SECRET)
        assert opens_after(6, NEXT_SECRET)
        assert not opens_after(0, SECRET)
        file.write_text("short")
        assert opens_after(6, NEXT_SECRET)
        file.unlink()
        assert opens_after(6, NEXT_SECRET)


def test_secret_not_stored_plain(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """S01, S04: what names a secret in logs and limits is eight digits of its hash."""
    with caplog.at_level(logging.DEBUG):
        client.get("/api/v1/status", headers={"X-Shared-Secret": SECRET})
        client.get("/api/v1/status", headers={"X-Shared-Secret": SECRET[:-1]})
    credential = Keyring(SECRET, None).find(SECRET.encode())
    assert credential is not None
    assert len(credential.id) == 8
    assert SECRET not in repr(credential)
    assert SECRET[:-1] not in caplog.text


def test_csrf_all_unsafe_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """S13: outside the API nothing that could change something is done without a token, or for another site."""
    # Hundreds of equal pages would be made, each of which takes longer than the answer.
    monkeypatch.setattr(problems, "render", lambda _request, _template, _context, status: HttpResponse(status=status))
    pages = [route for route in routes() if not route.is_api]
    assert len(pages) > 40
    User.objects.create_superuser("alice", password="alice-writes-tests")
    client = Client(enforce_csrf_checks=True)
    client.login(username="alice", password="alice-writes-tests")
    client.get("/web/settings")
    token = client.cookies["csrf"].value
    foreign = {"X-CSRFToken": token, "Origin": "https://evil.example"}
    for route, method in _unsafe(pages):
        assert getattr(client, method)(route.path).status_code == 403, (route, method)
        assert getattr(client, method)(route.path, headers=foreign).status_code == 403, (route, method)
    assert client.post("/web/settings/theme", headers={"X-CSRFToken": token}).status_code == 302


def _unsafe(among: Iterable[Route]) -> Iterator[tuple[Route, str]]:
    return ((route, method) for route in among for method in UNSAFE if method in route.methods)


def test_session_api_needs_csrf() -> None:
    """S07: a cookie alone changes nothing, and only staff's counts at all."""
    alice = User.objects.create_user("alice", password="alice-writes-tests", is_staff=True)
    bob = User.objects.create_user("bob", password="bob-only-reads-along")
    for route in routes():
        for method in route.methods - {"get"} if route.is_api else set():
            client = Client(enforce_csrf_checks=True)
            client.force_login(alice)
            assert getattr(client, method)(route.path).status_code == 403, route
            client.force_login(bob)
            assert getattr(client, method)(route.path).status_code == 401, route


def test_staff_may_write_through_the_api_with_a_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("alice", password="alice-writes-tests", is_staff=True))
    client.get("/admin/login/?next=/")
    client.get("/web/settings")
    token = client.cookies["csrf"].value
    assert _post_json(client, "/api/v1/socket-ticket", {"X-CSRFToken": token}).status_code == 201


def _post_json(client: Client, url: str, headers: dict[str, str]) -> Any:
    return client.post(url, content_type="application/json", headers=headers)


def test_bola_jobs(visitor: Client) -> None:
    """S11: another person's job is not there, whatever its id."""
    alice = User.objects.create_user("alice")
    job = Backfill.objects.create(kind="backfill", symbol="BTCUSDT", timeframe="15m", owner=alice, state=JobState.DONE)
    with environment(shared_secret=""):
        assert visitor.get(f"/api/v1/backfills/{job.pk}/").status_code == 404
        assert visitor.post(f"/api/v1/backfills/{job.pk}/cancel").status_code == 404
        assert visitor.get("/api/v1/backfills/").json()["results"] == []
        job.owner = User.objects.get(username="bob")
        job.save()
        assert visitor.get(f"/api/v1/backfills/{job.pk}/").status_code == 200


def test_who_is_not_of_the_staff_is_told_so_and_can_sign_in_as_another(visitor: Client) -> None:
    """A login that led back to the page, which led to the login, would go round for ever."""
    answer = visitor.get("/web/", follow=True)
    assert answer.status_code == 403
    assert "not one of the staff" in answer.content.decode()
    assert 'name="username"' in visitor.get("/login/").content.decode()


def test_while_nobody_has_an_account_the_login_says_how_to_make_one(client: Client) -> None:
    """With a secret set every page leads here, and a new service has no account."""
    hint = "manage.py createsuperuser"
    assert hint in client.get("/web/", follow=True).content.decode()
    User.objects.create_user("bob")
    assert hint not in client.get("/login/").content.decode()


def test_a_login_that_leads_back_to_itself_is_no_error(staff: Client) -> None:
    assert staff.get("/login/?next=/login/").status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver:81", "https://testserver"])
def test_where_nobody_signs_in_no_page_of_another_site_may_change_anything(client: Client, origin: str) -> None:
    """S13: such a page needs no cookie, and a body of plain text no question beforehand."""
    job = Backfill.objects.create(kind="backfill", symbol="BTCUSDT", timeframe="1m", state=JobState.QUEUED)
    with environment(shared_secret=""):
        for method in (client.post, client.put, client.patch, client.delete):
            answer = method(
                f"/api/v1/backfills/{job.pk}/cancel", "x", content_type="text/plain", headers={"Origin": origin}
            )
            assert answer.status_code == 403
        job.refresh_from_db()
        assert job.state == JobState.QUEUED
        assert client.get("/api/v1/backfills/", headers={"Origin": origin}).status_code == 200
        ours = {"Origin": "http://testserver"}
        assert client.post(f"/api/v1/backfills/{job.pk}/cancel", headers=ours).status_code == 202


def test_session_lifecycle(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """S08: a new session at login, gone from the server at logout, ended by idleness, age and a new password."""
    user = User.objects.create_user("alice", password="alice-writes-tests", is_staff=True)

    def log_in() -> str:
        before = client.cookies["session"].value if "session" in client.cookies else ""
        answer = client.post("/login/", {"username": "alice", "password": "alice-writes-tests"})
        assert answer.status_code == 302
        assert client.cookies["session"].value != before
        client.get("/web/help")
        return str(client.cookies["session"].value)

    def is_in() -> bool:
        return client.get("/web/help").status_code == 200

    key = log_in()
    assert client.cookies["session"]["httponly"]
    assert client.cookies["session"]["samesite"] == "Lax"
    client.post("/logout/")
    client.cookies["session"] = key
    assert not is_in()

    now = time.time()
    for hours, goes_on in ((11, True), (11 + 13, False)):
        log_in() if hours == 11 else None
        monkeypatch.setattr("smcsite.security.sessions.time.time", lambda hours=hours: now + hours * 3600)
        assert is_in() == goes_on
    monkeypatch.undo()

    log_in()
    for hours in range(0, 7 * 24, 10):
        monkeypatch.setattr("smcsite.security.sessions.time.time", lambda hours=hours: now + hours * 3600)
        assert is_in()
    monkeypatch.setattr("smcsite.security.sessions.time.time", lambda: now + (7 * 24 + 1) * 3600)
    assert not is_in()
    monkeypatch.undo()

    log_in()
    user.set_password("alice-has-another-one")
    user.save()
    assert not is_in()


def test_cookies_are_host_bound_and_secure_where_the_service_is_public() -> None:
    """S08: read from the settings of a public service, which a test cannot become."""
    text = (BASE_DIR / "smcsite/settings.py").read_text()
    assert '_PREFIX = "__Host-" if _IS_PUBLIC else ""' in text
    assert "SESSION_COOKIE_SECURE = _IS_PUBLIC" in text
    assert "CSRF_COOKIE_SECURE = _IS_PUBLIC" in text


def test_admin_hardening(client: Client, visitor: Client, staff: Client) -> None:
    """S12: staff alone, no default user, what was measured cannot be edited, not by secret."""
    assert not User.objects.exclude(username__in=("alice", "bob")).exists()
    for caller, headers in ((client, {}), (client, RIGHT), (visitor, {})):
        assert is_refused(caller.get("/admin/", headers=headers))
    alice = User.objects.get(username="alice")
    alice.is_superuser = True
    alice.save()
    assert staff.get("/admin/").status_code == 200
    assert staff.get("/admin/signals/publishedsignal/add/").status_code == 403


def test_htmx_session_expired(client: Client) -> None:
    """F81: a part of a page leads the whole page to the login and back to where it was."""
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/web/chart/BTCUSDT/15m?x=1"}
    answer = client.get("/web/signals", headers=headers)
    assert answer.status_code == 204
    assert answer["HX-Redirect"] == "/login/?next=%2Fweb%2Fchart%2FBTCUSDT%2F15m%3Fx%3D1"


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https:evil.example", "https://evil.example/", "javascript:alert(1)"],
)
def test_open_redirect(client: Client, target: str) -> None:
    """S20: after the login one stays on this site."""
    User.objects.create_user("alice", password="alice-writes-tests", is_staff=True)
    answer = client.post("/login/", {"username": "alice", "password": "alice-writes-tests", "next": target})
    assert answer.status_code == 302
    assert answer["Location"] == "/web/"


def test_an_open_service_on_loopback_asks_nobody(client: Client) -> None:
    """S05: the other mode."""
    with environment(shared_secret=""):
        refused = [
            route for route in routes() if not route.path.startswith("/admin/") and is_refused(client.get(route.path))
        ]
    assert refused == []
