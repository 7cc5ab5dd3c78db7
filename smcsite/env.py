"""The environment: every variable the service reads, typed, checked at start-up, listed in ``.env.example``."""

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

from dotenv import dotenv_values

from markets.errors import SmcError
from markets.series import Timeframe
from smcsite import readers

BASE_DIR = Path(__file__).resolve().parent.parent
KINDS = ("SWING", "BOS", "CHOCH", "FVG", "IFVG", "SWEEP", "EQ", "OB", "BREAKER")
ARCHIVE_HOST = "https://data.binance.vision"
MARKET_DATA_HOSTS = ("https://data-api.binance.vision", "wss://data-stream.binance.vision")
# Those that may also come as a file: SHARED_SECRET_FILE=/run/secrets/shared, and so on.
SECRETS = ("SHARED_SECRET", "DJANGO_SECRET_KEY", "DATABASE_URL", "REDIS_URL", "BINANCE_API_KEY", "BINANCE_SECRET_KEY")
TESTNET_HOSTS = ("https://testnet.binance.vision", "wss://stream.testnet.binance.vision")


class EnvironmentVariableError(SmcError):
    """A variable is missing or bad. Names the variable and what was expected, never a secret's value."""

    code = "environment"
    title = "Bad environment"


def _variable(read: Callable[[str], Any], default: str, meaning: str) -> Any:
    return field(metadata={"read": read, "default": default, "meaning": meaning})


_port = readers.read_whole(1, 65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The variables of ``.env.example``, read and checked. A field's name in capitals is the variable."""

    market_source: str = _variable(
        readers.read_choice("auto", "binance", "replay"),
        "auto",
        "auto (Binance, else a synthetic market; only serve falls back), binance, or replay",
    )
    symbols: list[str] = _variable(readers.read_symbols, "BTCUSDT,ETHUSDT,BNBUSDT", "Pairs tracked at first start")
    timeframes: list[str] = _variable(
        readers.read_subset(tuple(Timeframe)), ",".join(Timeframe), "Timeframes tracked per pair"
    )
    history_days: int = _variable(
        readers.read_whole(1, 3650), "30", "Days of history fetched for a newly tracked series"
    )
    indicators: list[str] = _variable(
        readers.read_subset(KINDS), "BOS,CHOCH,FVG,SWEEP", f"Signal kinds that are published, of {','.join(KINDS)}"
    )
    binance_api_key: str = _variable(readers.read_text, "", "Optional; market data needs none")
    binance_secret_key: str = _variable(readers.read_text, "", "Not used yet; leave it empty")
    binance_testnet: bool = _variable(
        readers.read_flag, "false", "Use the hosts of Binance's testnet; give it a DATA_DIR of its own"
    )
    binance_rest_url: str = _variable(
        readers.read_optional(readers.read_base_url("https", "http")), "", "Base URL of REST; empty: Binance's own"
    )
    binance_ws_url: str = _variable(
        readers.read_optional(readers.read_base_url("wss", "ws")), "", "Base URL of the streams; empty: Binance's own"
    )
    binance_archive_url: str = _variable(
        readers.read_optional(readers.read_base_url("https", "http")),
        "",
        "Base URL of the bulk archive; empty: Binance's own, and none with the testnet",
    )
    data_dir: Path = _variable(readers.read_folder, "./data", "Where candles, signals and the default database live")
    reports_dir: Path = _variable(readers.read_folder, "./reports", "Where backtests write their CSV reports")
    cache_ttl: int = _variable(
        readers.read_whole(0, 86_400), "300", "Seconds a candle file stays in the in-memory cache"
    )
    ws_reconnect_delay: float = _variable(
        readers.read_seconds(0.1, 300), "5", "Cap in seconds of the first reconnect delay"
    )
    ws_max_reconnect_attempts: int = _variable(
        readers.read_whole(0, 1_000_000), "0", "Reconnect attempts in a row; 0 = unlimited"
    )
    api_host: str = _variable(
        readers.read_address, "127.0.0.1", "Address the web server binds; not loopback needs both keys below"
    )
    api_port: int = _variable(_port, "8000", "Port of the web server")
    worker_host: str = _variable(readers.read_address, "127.0.0.1", "Address of the stream worker's health and metrics")
    worker_port: int = _variable(_port, "8001", "Port of the stream worker's health and metrics")
    shared_secret: str = _variable(
        readers.read_secret,
        "",
        "API calls send it as X-Shared-Secret; 32 characters or more; two by comma; SECRET:read can only read",
    )
    database_url: str = _variable(
        readers.read_optional(
            readers.read_service_url("postgres://user:password@host/name", "postgres", "postgresql", "sqlite")
        ),
        "",
        "postgres://user:password@host/name; empty: SQLite in DATA_DIR",
    )
    redis_url: str = _variable(
        readers.read_optional(readers.read_service_url("redis://:password@host:6379", "redis", "rediss", "unix")),
        "",
        "redis://host:6379; empty: an embedded server is started",
    )
    django_secret_key: str = _variable(
        readers.read_secret, "", "50 random characters; generated into DATA_DIR when empty on loopback"
    )
    django_debug: bool = _variable(readers.read_flag, "false", "Django's debug pages; loopback only")
    allowed_hosts: list[str] = _variable(
        readers.read_hosts, "", "Host names the site answers to, besides loopback; no scheme, no port"
    )
    cors_allowed_origins: list[str] = _variable(
        readers.read_origins, "", "Origins whose pages may call the API from a browser"
    )
    csrf_trusted_origins: list[str] = _variable(
        readers.read_origins, "", "Origins whose pages may send forms and open the socket"
    )
    trusted_proxies: list[str] = _variable(
        readers.read_networks, "", "Addresses of proxies whose X-Forwarded-For is believed"
    )
    rate_limit: str = _variable(readers.read_rate, "120/m", "API calls per key or address")
    log_level: str = _variable(
        readers.read_choice("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "DEBUG, INFO, WARNING or ERROR"
    )
    log_format: str = _variable(readers.read_choice("text", "json"), "text", "text, or json for a log collector")

    # No variable: the file that SHARED_SECRET was read from, which is read again when it changes.
    shared_secret_file: Path | None = None

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """Read and check every variable; raise ``EnvironmentVariableError`` for the first that is bad."""
        values = {}
        for each in _variables():
            name = each.name.upper()
            try:
                values[each.name] = each.metadata["read"](variables.get(name, "").strip() or each.metadata["default"])
            except readers.BadValueError as error:
                raise EnvironmentVariableError(f"{name} must be {error}") from None
        environment = cls(**values)
        environment._check_together()
        return environment

    def _check_together(self) -> None:
        secrets = shared_secrets(self.shared_secret)
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
        if self.api_host == "localhost":
            return True
        try:
            return ip_address(self.api_host).is_loopback
        except ValueError:
            return False

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

    @property
    def archive_url(self) -> str | None:
        """Where the archive is; None: there is none. Binance's own has no trade of the testnet, but real ones."""
        url = self.binance_archive_url or ARCHIVE_HOST
        return None if self.binance_testnet and url == ARCHIVE_HOST else url


def _below(folder: Path, *, demo: bool) -> Path:
    root = folder if folder.is_absolute() else BASE_DIR / folder
    return root / "demo" if demo else root


def shared_secrets(text: str) -> dict[str, str]:
    """Return the secrets of ``SHARED_SECRET`` with the scope of each: ``full`` or ``read``."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return {part.removesuffix(":read"): "read" if part.endswith(":read") else "full" for part in parts}


def load(file: Path = BASE_DIR / ".env") -> Environment:
    """Read the process's environment; what it leaves out comes from ``.env``, if there is one."""
    variables = {**_env_file(file), **os.environ}
    environment = Environment.read(_with_secret_files(variables))
    return replace(environment, shared_secret_file=_secret_files(variables).get("SHARED_SECRET"))


def _env_file(path: Path) -> dict[str, str]:
    """Read a ``.env`` file; a name that nothing reads is refused, for it is a misspelt variable."""
    values = {name: value or "" for name, value in dotenv_values(path).items()}
    known = {*names(), *(f"{name}_FILE" for name in SECRETS)}
    for name in values:
        # Compose reads the same file for names of its own.
        if name not in known and not name.startswith(("COMPOSE_", "POSTGRES_", "REDIS_", "SMC_")):
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise EnvironmentVariableError(f"{name} in {path.name} is not a variable of the service{hint}")
    return values


def _secret_files(variables: Mapping[str, str]) -> dict[str, Path]:
    """Return the files of the secrets that are given as files; a secret that is set needs none."""
    paths = {name: variables.get(f"{name}_FILE", "").strip() for name in SECRETS}
    return {name: Path(path) for name, path in paths.items() if path and not variables.get(name, "").strip()}


def _with_secret_files(variables: Mapping[str, str]) -> dict[str, str]:
    """Fill in the secrets that are given as files."""
    filled = dict(variables)
    for name, path in _secret_files(variables).items():
        try:
            filled[name] = path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise EnvironmentVariableError(f"{name}_FILE must be a readable file: {reason}") from None
    return filled


def _variables() -> list[Field[Any]]:
    return [each for each in fields(Environment) if each.metadata]


def names() -> list[str]:
    """Return the names of all variables."""
    return [each.name.upper() for each in _variables()]


def defaults() -> dict[str, str]:
    """Return what each variable is when nobody sets it."""
    return {each.name.upper(): each.metadata["default"] for each in _variables()}


def example() -> str:
    """Return the text that ``.env.example`` must have: each variable with its meaning and its default."""
    lines = ["# Every variable of the service. Copy to .env and change what you need.", ""]
    for each in _variables():
        lines += [f"# {each.metadata['meaning']}", f"{each.name.upper()}={each.metadata['default']}", ""]
    return "\n".join(lines)
