"""The environment: what is refused, and that a refusal names the variable and never its value."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from django.http.request import validate_host

from smcsite.env import BASE_DIR, SECRETS, Environment, EnvironmentVariableError, _env_file, _with_secret_files, load

SECRET = "9f3c1b7a5e2d4860aa77cc11ee559932"
KEY = "Qm7vX2pL9sT4wZ8rB3nK6yH1cD5fG0jA-eU.iO_qW-0011223344"
PUBLIC = {"API_HOST": "0.0.0.0", "SHARED_SECRET": SECRET, "DJANGO_SECRET_KEY": KEY}  # noqa: S104

# What is wrong, and what the one line must name: the variable, or how a value is written.
UNSAFE: list[tuple[dict[str, str], str]] = [
    ({**PUBLIC, "SHARED_SECRET": ""}, "SHARED_SECRET"),
    ({**PUBLIC, "SHARED_SECRET": "short-secret-Zq9"}, "SHARED_SECRET"),
    ({**PUBLIC, "SHARED_SECRET": "changeme-changeme-changeme-changeme"}, "SHARED_SECRET"),
    ({**PUBLIC, "SHARED_SECRET": f"{SECRET},short-secret-Zq9"}, "SHARED_SECRET"),
    ({**PUBLIC, "SHARED_SECRET": KEY}, "SHARED_SECRET"),
    ({**PUBLIC, "DJANGO_SECRET_KEY": ""}, "DJANGO_SECRET_KEY"),
    ({**PUBLIC, "DJANGO_SECRET_KEY": "short-secret-Zq9"}, "DJANGO_SECRET_KEY"),
    ({**PUBLIC, "DJANGO_SECRET_KEY": f"django-insecure-{KEY}"}, "DJANGO_SECRET_KEY"),
    ({**PUBLIC, "DJANGO_DEBUG": "true"}, "DJANGO_DEBUG"),
    ({**PUBLIC, "ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS"),
    ({"ALLOWED_HOSTS": "https://smc.example.org"}, "ALLOWED_HOSTS"),
    ({"ALLOWED_HOSTS": "smc.example.org:8443"}, "ALLOWED_HOSTS"),
    ({"ALLOWED_HOSTS": "smc.example.org/"}, "ALLOWED_HOSTS"),
    ({"ALLOWED_HOSTS": "smc.example.org charts.example.org"}, "ALLOWED_HOSTS"),
    ({"ALLOWED_HOSTS": "*.example.org"}, "ALLOWED_HOSTS"),
    ({"ALLOWED_HOSTS": "::1"}, "ALLOWED_HOSTS"),
    ({"ALLOWED_HOSTS": "[smc.example.org]"}, "ALLOWED_HOSTS"),
    ({"DJANGO_DEBUG": "perhaps"}, "DJANGO_DEBUG"),
    ({"API_PORT": "http"}, "API_PORT"),
    ({"API_PORT": "65536"}, "API_PORT"),
    ({"WORKER_PORT": "８００１"}, "WORKER_PORT"),
    ({"API_HOST": "not a host"}, "API_HOST"),
    ({"SYMBOLS": "BTC/USDT"}, "SYMBOLS"),
    ({"SYMBOLS": "BTCUSDT,ＥＴＨUSDT"}, "SYMBOLS"),
    ({"TIMEFRAMES": "1m,2m"}, "TIMEFRAMES"),
    ({"HISTORY_DAYS": "-1"}, "HISTORY_DAYS"),
    ({"INDICATORS": "BOS,MAGIC"}, "INDICATORS"),
    ({"MARKET_SOURCE": "kraken"}, "MARKET_SOURCE"),
    ({"BINANCE_REST_URL": "http://api.example.org"}, "BINANCE_REST_URL"),
    ({"BINANCE_REST_URL": "https://user:pw@api.example.org"}, "BINANCE_REST_URL"),
    ({"BINANCE_WS_URL": "https://stream.example.org"}, "BINANCE_WS_URL"),
    ({"BINANCE_ARCHIVE_URL": "file:///etc/passwd"}, "BINANCE_ARCHIVE_URL"),
    ({"CACHE_TTL": "1e3"}, "CACHE_TTL"),
    ({"WS_RECONNECT_DELAY": "nan"}, "WS_RECONNECT_DELAY"),
    ({"RATE_LIMIT": "120"}, "RATE_LIMIT"),
    ({"RATE_LIMIT": "0/m"}, "RATE_LIMIT"),
    ({"TRUSTED_PROXIES": "10.0.0.0/33"}, "TRUSTED_PROXIES"),
    ({"CORS_ALLOWED_ORIGINS": "https://*.example.org"}, "CORS_ALLOWED_ORIGINS"),
    ({"CSRF_TRUSTED_ORIGINS": "example.org"}, "CSRF_TRUSTED_ORIGINS"),
    ({"DATABASE_URL": "mysql://localhost/smc"}, "DATABASE_URL"),
    ({"DATABASE_URL": "postgres://user:pw@host:port/smc"}, "DATABASE_URL"),
    ({"DATABASE_URL": "postgres://smc:ab/Zq9@postgres:5432/smc"}, "%2F"),
    ({"DATABASE_URL": "postgres://smc:12/Zq9@postgres:5432/smc"}, "%2F"),
    ({"DATABASE_URL": "postgres://smc:12?Zq9@postgres:5432/smc"}, "%3F"),
    ({"DATABASE_URL": "postgres://smc:12#Zq9@postgres:5432/smc"}, "%23"),
    ({"REDIS_URL": "http://localhost:6379"}, "REDIS_URL"),
    ({"REDIS_URL": "redis://:12/Zq9@redis:6379"}, "REDIS_URL"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
    ({"LOG_FORMAT": "xml"}, "LOG_FORMAT"),
    ({"DATA_DIR": "/etc/passwd"}, "DATA_DIR"),
    ({"DATA_DIR": "/proc/nowhere"}, "DATA_DIR"),
    ({"SHARED_SECRET_FILE": "/nowhere/secret"}, "SHARED_SECRET_FILE"),
]


# What the settings import is loaded once; every case is a fork of that process.
_TRIAL = """
import json, os, sys, tempfile
import csp.constants, dj_database_url, smcsite.embedded, smcsite.env, smcsite.logs, smcsite.schedule
clean, ended = dict(os.environ), []
for variables in json.load(sys.stdin):
    with tempfile.TemporaryFile() as told:
        pid = os.fork()
        if pid == 0:
            os.environ.clear()
            os.environ.update(clean | variables)
            os.dup2(told.fileno(), 1)
            os.dup2(told.fileno(), 2)
            import smcsite.settings
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        told.seek(0)
        ended.append([code, told.read().decode()])
json.dump(ended, sys.stdout)
"""


def _start(cases: Sequence[Mapping[str, str]], folder: Path) -> list[tuple[int, str]]:
    """Read the settings with each of these variables; return the exit codes and what was printed."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "DATA_DIR": str(folder / "data")}
    process = subprocess.run(
        [sys.executable, "-c", _TRIAL],
        env=clean,
        cwd=BASE_DIR,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [(code, told) for code, told in json.loads(process.stdout)]


def test_config_refuses_unsafe(tmp_path: Path) -> None:
    """S02, F82: every bad value ends the start with one line that names the variable and not its value."""
    ended = _start([variables for variables, _ in UNSAFE], tmp_path)
    for (variables, name), (code, told) in zip(UNSAFE, ended, strict=True):
        assert code == 2, (variables, told)
        assert told.count("\n") == 1, told
        assert name in told
        assert "Zq9" not in told
        assert KEY not in told
        assert SECRET not in told
        assert ":pw@" not in told


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("smc.example.org", "smc.example.org"),
        ("SMC.Example.org", "smc.example.org"),
        (".example.org", "charts.example.org"),
        ("smc", "smc"),
        ("192.168.1.7", "192.168.1.7"),
        ("[2001:db8::7]", "[2001:db8::7]"),
    ],
)
def test_a_host_name_that_is_accepted_matches_a_request(name: str, host: str) -> None:
    assert validate_host(host, Environment.read({"ALLOWED_HOSTS": f"other.example.com, {name}"}).allowed_hosts)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "postgres://smc:ab%2Fcd@postgres:5432/smc?sslmode=require"),
        ("DATABASE_URL", "postgres://smc:a@b@postgres/smc"),
        ("DATABASE_URL", "sqlite:////srv/smc@home/db.sqlite3"),
        ("REDIS_URL", "redis://:ab%2Fcd@redis:6379"),
        ("REDIS_URL", "unix:///run/redis@1.sock"),
    ],
)
def test_a_url_whose_password_is_written_as_urls_want_it_is_taken(name: str, url: str) -> None:
    assert getattr(Environment.read({name: url}), name.lower()) == url


def test_a_safe_production_environment_starts(tmp_path: Path) -> None:
    assert _start([{**PUBLIC, "ALLOWED_HOSTS": "smc.example.org"}], tmp_path) == [(0, "")]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_secret(host: str) -> None:
    assert Environment.read({"API_HOST": host}).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "smc.example.org"])  # noqa: S104
def test_anything_else_needs_both_secrets(host: str) -> None:
    with pytest.raises(EnvironmentVariableError, match="SHARED_SECRET"):
        Environment.read({"API_HOST": host})


def test_replay_keeps_its_data_apart() -> None:
    real, demo = Environment.read({}), Environment.read({"MARKET_SOURCE": "replay"})
    assert demo.data_root == real.data_root / "demo"
    assert demo.reports_root == real.reports_root / "demo"


@pytest.mark.parametrize(
    ("variables", "archive"),
    [
        ({}, "https://data.binance.vision"),
        ({"BINANCE_TESTNET": "true"}, None),
        # As files copied from an older .env.example have it.
        ({"BINANCE_TESTNET": "true", "BINANCE_ARCHIVE_URL": "https://data.binance.vision"}, None),
        ({"BINANCE_TESTNET": "true", "BINANCE_ARCHIVE_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        ({"BINANCE_ARCHIVE_URL": "https://mirror.example.org"}, "https://mirror.example.org"),
    ],
)
def test_the_testnet_takes_nothing_from_the_archive_of_the_real_market(
    variables: dict[str, str], archive: str | None
) -> None:
    assert Environment.read(variables).archive_url == archive


def test_a_misspelt_name_in_the_file_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    """F82: an unknown key."""
    file = tmp_path / ".env"
    file.write_text("POSTGRES_PASSWORD=x\nSYMBOL=BTCUSDT\n")
    with pytest.raises(EnvironmentVariableError, match=r"SYMBOL in .env .*did you mean SYMBOLS"):
        _env_file(file)


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_may_come_as_a_file(name: str, tmp_path: Path) -> None:
    """S01."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    assert _with_secret_files({f"{name}_FILE": str(tmp_path / "secret")})[name] == SECRET


def test_a_secret_that_is_set_wins_over_its_file() -> None:
    assert _with_secret_files({"SHARED_SECRET": SECRET, "SHARED_SECRET_FILE": "/nowhere"})["SHARED_SECRET"] == SECRET


@pytest.mark.parametrize("where", ["in the environment", "in .env"])
def test_the_file_of_the_shared_secret_is_remembered_wherever_it_was_named(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, variables = tmp_path / "secret", tmp_path / ".env"
    secret.write_text(SECRET)
    monkeypatch.delenv("SHARED_SECRET", raising=False)
    if where == "in .env":
        variables.write_text(f"SHARED_SECRET_FILE={secret}\n")
    else:
        monkeypatch.setenv("SHARED_SECRET_FILE", str(secret))
    environment = load(variables)
    assert (environment.shared_secret, environment.shared_secret_file) == (SECRET, secret)


def test_a_file_that_lost_against_a_secret_in_env_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(f"SHARED_SECRET={SECRET}\n")
    monkeypatch.delenv("SHARED_SECRET", raising=False)
    monkeypatch.setenv("SHARED_SECRET_FILE", str(tmp_path / "secret"))
    environment = load(tmp_path / ".env")
    assert (environment.shared_secret, environment.shared_secret_file) == (SECRET, None)
