"""The compose file and the Dockerfile hold what operators are promised, as far as that shows without an engine."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from smcsite.env import Environment, names

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
STORES = {"redis", "postgres"}
OWN = sorted(set(SERVICES) - STORES)
ENVIRONMENT: dict[str, str] = COMPOSE["x-service"]["environment"]
_SECRETS = {
    "DJANGO_SECRET_KEY": "d" * 32, "SHARED_SECRET": "s" * 32, "POSTGRES_PASSWORD": "p", "REDIS_PASSWORD": "r",
}  # fmt: skip
_SETTLED = {
    "DATA_DIR": "the volume, named by the image",
    "REPORTS_DIR": "on the same volume, named by the image",
    "API_HOST": "other containers and the published port must reach it",
    "WORKER_HOST": "as API_HOST",
    "API_PORT": "the published port; inside it is the default",
    "WORKER_PORT": "as API_PORT",
    "DATABASE_URL": "the service postgres",
    "REDIS_URL": "the service redis",
    "DJANGO_DEBUG": "refused where the address is not loopback",
    "LOG_FORMAT": "containers' logs are collected",
}
_CHECKED_BY_OTHERS = {"prepare", "beat"}  # one ends, the other listens on nothing


def test_every_part_of_the_service_is_there() -> None:
    assert set(SERVICES) == {"prepare", "api", "worker", "celery", "beat", *STORES}


@pytest.mark.parametrize("name", OWN)
def test_compose_static(name: str) -> None:
    """S43: a process of ours can write its data and nothing else, and has the time to end."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["user"].split(":")[0] not in {"0", "root"}
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["volumes"] == ["data:/data"]
    assert "privileged" not in service
    assert service["pids_limit"] <= 512
    assert int(service["stop_grace_period"].removesuffix("s")) >= 30
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_has_a_limit_of_memory_and_known_networks_and_volumes(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert {volume.split(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"])
    assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_compose_redis() -> None:
    """S36: Redis keeps what it is given and asks for a password; like PostgreSQL it is reached from inside only."""
    for name in STORES:
        assert SERVICES[name]["healthcheck"]["test"]
        assert SERVICES[name]["networks"] == ["inside"]
        assert "ports" not in SERVICES[name]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert "--maxmemory-policy noeviction" in SERVICES["redis"]["command"][-1]
    assert "--appendonly yes" in SERVICES["redis"]["command"][-1]
    assert "--requirepass" in SERVICES["redis"]["command"][-1]


@pytest.mark.parametrize("name", [name for name in SERVICES if "ALL" in SERVICES[name].get("cap_drop", [])])
def test_who_has_no_capability_is_not_root_either(name: str) -> None:
    """Without them root cannot write to a volume that belongs to another, and an entrypoint cannot become another."""
    assert name not in STORES or SERVICES[name]["user"] != "root"
    assert "cap_add" not in SERVICES[name]


def test_only_what_answers_nobody_goes_unchecked() -> None:
    unchecked = {name for name in SERVICES if SERVICES[name].get("healthcheck", {}).get("disable")}
    assert unchecked == _CHECKED_BY_OTHERS
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_container_runtime() -> None:
    """S43, as far as it shows without an engine: no root, nothing to build with, and none of the repository's past."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last = "\n".join(lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :])
    assert not re.search(r"\b(apt-get|gcc|build-essential|pip install)\b", last)
    assert {".git", ".env", "data"} <= set((ROOT / ".dockerignore").read_text().split())
    assert "USER smc" in lines
    assert any("--uid 10001 " in line for line in lines)
    assert {SERVICES[name]["user"] for name in OWN} == {"10001:10001"}


def in_container(variables: dict[str, str]) -> dict[str, str]:
    """Return what a container of ours gets, as compose fills it in."""

    def fill(match: re.Match[str]) -> str:
        return variables.get(match["name"]) or match["default"] or ""

    form = r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)\}"
    return {name: re.sub(form, fill, value) for name, value in ENVIRONMENT.items()}


def test_every_variable_of_the_service_reaches_the_containers_or_is_settled_there() -> None:
    passed_on = {name for name, value in ENVIRONMENT.items() if f"${{{name}:" in value}
    assert passed_on | set(_SETTLED) == set(names())
    assert not passed_on & set(_SETTLED)
    assert set(ENVIRONMENT) <= set(names())
    assert all(SERVICES[name]["environment"] == ENVIRONMENT for name in OWN)


def test_what_is_not_set_is_the_services_own_default_in_containers() -> None:
    given = in_container(_SECRETS)
    plain = Environment.read({**_SECRETS, **{name: given[name] for name in set(given) & set(_SETTLED)}})
    found = Environment.read(given)
    differing = {name for name in names() if getattr(found, name.lower()) != getattr(plain, name.lower())}
    assert differing == {"MARKET_SOURCE", "ALLOWED_HOSTS"}


def test_what_is_set_is_what_containers_get() -> None:
    asked = {"RATE_LIMIT": "7/s", "CORS_ALLOWED_ORIGINS": "https://a.example", "BINANCE_TESTNET": "true"}
    found = Environment.read(in_container({**_SECRETS, **asked}))
    assert (found.rate_limit, found.cors_allowed_origins, found.binance_testnet) == ("7/s", ["https://a.example"], True)
