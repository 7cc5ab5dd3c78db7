"""The environment: every variable the service reads, typed, checked at start-up, listed in ``.env.example``."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values

from markets.errors import SmcError
from markets.series import SYMBOL_PATTERN, Timeframe

BASE_DIR = Path(__file__).resolve().parent.parent
KINDS = ("SWING", "BOS", "CHOCH", "FVG", "IFVG", "SWEEP", "EQ", "OB", "BREAKER")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MARKET_DATA_HOSTS = ("https://data-api.binance.vision", "wss://data-stream.binance.vision")
TESTNET_HOSTS = ("https://testnet.binance.vision", "wss://stream.testnet.binance.vision")


class EnvironmentVariableError(SmcError):
    """A variable is missing or bad. Names the variable and what was expected, never a secret's value."""

    code = "environment"
    title = "Bad environment"


class _BadValueError(ValueError):
    """What a reader raises; the caller adds the variable's name."""


def _text(value: str) -> str:
    return value.strip()


def _flag(value: str) -> bool:
    flags = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if value.strip().lower() not in flags:
        raise _BadValueError("true or false")
    return flags[value.strip().lower()]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII) is None or not low <= int(value) <= high:
            raise _BadValueError(f"a whole number from {low} to {high}")
        return int(value)

    return read


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def read(value: str) -> float:
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value.strip(), re.ASCII) is None:
            raise _BadValueError(f"seconds from {low:g} to {high:g}")
        if not low <= float(value) <= high:
            raise _BadValueError(f"seconds from {low:g} to {high:g}")
        return float(value)

    return read


def _choice(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value.strip() not in choices:
            raise _BadValueError(f"one of {', '.join(choices)}")
        return value.strip()

    return read


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def _symbols(value: str) -> list[str]:
    symbols = _items(value)
    if not symbols or any(SYMBOL_PATTERN.fullmatch(symbol) is None for symbol in symbols):
        raise _BadValueError("pairs such as BTCUSDT,ETHUSDT (A-Z and 0-9, separated by commas)")
    return symbols


def _subset(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def read(value: str) -> list[str]:
        if not _items(value) or any(item not in choices for item in _items(value)):
            raise _BadValueError(f"one or more of {','.join(choices)}")
        return _items(value)

    return read


def _base_url(*schemes: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        expected = f"a base URL such as {schemes[0]}://host[:port], without a path"
        url = value.strip().rstrip("/")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _BadValueError(expected) from None
        if (
            parts.scheme not in schemes
            or not parts.hostname
            or parts.path
            or parts.query
            or parts.username
            or port == 0
        ):
            raise _BadValueError(expected)
        if parts.scheme in ("http", "ws") and parts.hostname not in LOOPBACK:
            raise _BadValueError(f"{schemes[0]}:// (plain {parts.scheme} is for loopback only)")
        return url

    return read


def _optional(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda value: reader(value) if value.strip() else ""


def _service_url(*schemes: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if urlsplit(value.strip()).scheme not in schemes:
            raise _BadValueError(f"a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value.strip()

    return read


def _rate(value: str) -> str:
    if re.fullmatch(r"[1-9][0-9]{0,6}/[smhd]", value.strip(), re.ASCII) is None:
        raise _BadValueError("N/s, N/m, N/h or N/d, such as 120/m")
    return value.strip()


def _networks(value: str) -> list[str]:
    try:
        return [str(ip_network(item)) for item in _items(value)]
    except ValueError:
        raise _BadValueError("addresses or networks such as 10.0.0.0/8,192.168.1.7") from None


def _origins(value: str) -> list[str]:
    origins = _items(value)
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or "*" in origin:
            raise _BadValueError("origins such as https://charts.example.org (scheme and host, no path, no *)")
    return origins


def _hosts(value: str) -> list[str]:
    hosts = _items(value)
    if "*" in hosts:
        raise _BadValueError("host names; * would accept any Host header")
    return hosts


def _variable(read: Callable[[str], Any], default: str, meaning: str) -> Any:
    return field(metadata={"read": read, "default": default, "meaning": meaning})


_port = _whole(1, 65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The variables of ``.env.example``, read and checked. A field's name in capitals is the variable."""

    market_source: str = _variable(
        _choice("auto", "binance", "replay"), "auto", "auto (Binance, else a synthetic market), binance, or replay"
    )
    symbols: list[str] = _variable(_symbols, "BTCUSDT,ETHUSDT,BNBUSDT", "Pairs tracked at first start")
    timeframes: list[str] = _variable(_subset(tuple(Timeframe)), ",".join(Timeframe), "Timeframes tracked per pair")
    history_days: int = _variable(_whole(1, 3650), "30", "Days of history fetched for a newly tracked series")
    indicators: list[str] = _variable(
        _subset(KINDS), "BOS,CHOCH,FVG,SWEEP", f"Signal kinds that are published, of {','.join(KINDS)}"
    )
    binance_api_key: str = _variable(_text, "", "Optional; market data needs none")
    binance_secret_key: str = _variable(_text, "", "Optional; market data needs none")
    binance_testnet: bool = _variable(_flag, "false", "Use the hosts of Binance's testnet")
    binance_rest_url: str = _variable(
        _optional(_base_url("https", "http")), "", "Base URL of REST; empty: Binance's own"
    )
    binance_ws_url: str = _variable(
        _optional(_base_url("wss", "ws")), "", "Base URL of the streams; empty: Binance's own"
    )
    binance_archive_url: str = _variable(
        _base_url("https", "http"), "https://data.binance.vision", "Base URL of the bulk archive"
    )
    data_dir: Path = _variable(Path, "./data", "Where candles, signals and the default database live")
    reports_dir: Path = _variable(Path, "./reports", "Where backtests write their CSV reports")
    cache_ttl: int = _variable(_whole(0, 86_400), "300", "Seconds a candle file stays in the in-memory cache")
    ws_reconnect_delay: float = _variable(_seconds(0.1, 300), "5", "Cap in seconds of the first reconnect delay")
    ws_max_reconnect_attempts: int = _variable(_whole(0, 1_000_000), "0", "Reconnect attempts in a row; 0 = unlimited")
    api_host: str = _variable(_text, "127.0.0.1", "Address the web server binds; not loopback needs both keys below")
    api_port: int = _variable(_port, "8000", "Port of the web server")
    worker_host: str = _variable(_text, "127.0.0.1", "Address of the stream worker's health and metrics")
    worker_port: int = _variable(_port, "8001", "Port of the stream worker's health and metrics")
    shared_secret: str = _variable(
        _text, "", "API calls send it as X-Shared-Secret; 32 characters or more; two by comma"
    )
    database_url: str = _variable(
        _optional(_service_url("postgres", "postgresql", "sqlite")),
        "",
        "postgres://user:password@host/name; empty: SQLite in DATA_DIR",
    )
    redis_url: str = _variable(
        _optional(_service_url("redis", "rediss", "unix")),
        "",
        "redis://host:6379; empty: an embedded server is started",
    )
    django_secret_key: str = _variable(
        _text, "", "50 random characters; generated into DATA_DIR when empty on loopback"
    )
    django_debug: bool = _variable(_flag, "false", "Django's debug pages; loopback only")
    allowed_hosts: list[str] = _variable(_hosts, "", "Host names the site answers to, besides loopback")
    cors_allowed_origins: list[str] = _variable(_origins, "", "Origins whose pages may call the API from a browser")
    csrf_trusted_origins: list[str] = _variable(_origins, "", "Origins whose pages may send forms and open the socket")
    trusted_proxies: list[str] = _variable(_networks, "", "Addresses of proxies whose X-Forwarded-For is believed")
    rate_limit: str = _variable(_rate, "120/m", "API calls per key or address")
    log_level: str = _variable(_choice("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "DEBUG, INFO, WARNING or ERROR")
    log_format: str = _variable(_choice("text", "json"), "text", "text, or json for a log collector")

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """Read and check every variable; raise ``EnvironmentVariableError`` for the first that is bad."""
        values = {}
        for each in fields(cls):
            name = each.name.upper()
            try:
                values[each.name] = each.metadata["read"](variables.get(name, "").strip() or each.metadata["default"])
            except _BadValueError as error:
                raise EnvironmentVariableError(f"{name} must be {error}") from None
        environment = cls(**values)
        environment._check_together()
        return environment

    def _check_together(self) -> None:
        secrets = [secret for secret in self.shared_secret.split(",") if secret]
        if any(len(secret) < 32 for secret in secrets):
            raise EnvironmentVariableError("SHARED_SECRET must have 32 characters or more")
        if self.django_secret_key and self.django_secret_key in secrets:
            raise EnvironmentVariableError("SHARED_SECRET must differ from DJANGO_SECRET_KEY")
        if self.django_secret_key and len(self.django_secret_key) < 32:
            raise EnvironmentVariableError("DJANGO_SECRET_KEY must have 32 characters or more")
        if self.is_loopback:
            return
        if not secrets:
            raise EnvironmentVariableError("SHARED_SECRET must be set when API_HOST is not loopback")
        if not self.django_secret_key:
            raise EnvironmentVariableError("DJANGO_SECRET_KEY must be set when API_HOST is not loopback")
        if self.django_debug:
            raise EnvironmentVariableError("DJANGO_DEBUG must be false when API_HOST is not loopback")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the web server."""
        return self.api_host in LOOPBACK

    @property
    def is_replay(self) -> bool:
        return self.market_source == "replay"

    @property
    def data_root(self) -> Path:
        """Where this run's data live. Real and synthetic markets never meet."""
        return _below(self.data_dir, demo=self.is_replay)

    @property
    def reports_root(self) -> Path:
        return _below(self.reports_dir, demo=self.is_replay)

    @property
    def rest_url(self) -> str:
        return self.binance_rest_url or (TESTNET_HOSTS if self.binance_testnet else MARKET_DATA_HOSTS)[0]

    @property
    def stream_url(self) -> str:
        return self.binance_ws_url or (TESTNET_HOSTS if self.binance_testnet else MARKET_DATA_HOSTS)[1]


def _below(folder: Path, *, demo: bool) -> Path:
    root = folder if folder.is_absolute() else BASE_DIR / folder
    return root / "demo" if demo else root


def load() -> Environment:
    """Read the process's environment; what it leaves out comes from ``.env``, if there is one."""
    from_file = {name: value or "" for name, value in dotenv_values(BASE_DIR / ".env").items()}
    return Environment.read({**from_file, **os.environ})


def example() -> str:
    """Return the text that ``.env.example`` must have: each variable with its meaning and its default."""
    lines = ["# Every variable of the service. Copy to .env and change what you need.", ""]
    for each in fields(Environment):
        lines += [f"# {each.metadata['meaning']}", f"{each.name.upper()}={each.metadata['default']}", ""]
    return "\n".join(lines)
