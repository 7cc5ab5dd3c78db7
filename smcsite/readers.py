"""How a variable's text becomes a value; each reader raises ``BadValueError`` saying what was expected."""

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from markets.series import SYMBOL_PATTERN

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
# As Django compares it with a Host header; a dot before it stands for all names below it.
_HOST = re.compile(rf"\.?{_LABEL}(\.{_LABEL})*")
_PLACEHOLDERS = ("changeme", "change-me", "change_me", "placeholder", "your-secret", "your_secret", "django-insecure")


class BadValueError(ValueError):
    """What a reader raises; the caller adds the variable's name."""


def read_text(value: str) -> str:
    return value.strip()


def read_flag(value: str) -> bool:
    flags = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if value.strip().lower() not in flags:
        raise BadValueError("true or false")
    return flags[value.strip().lower()]


def read_whole(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII) is None or not low <= int(value) <= high:
            raise BadValueError(f"a whole number from {low} to {high}")
        return int(value)

    return read


def read_seconds(low: float, high: float) -> Callable[[str], float]:
    def read(value: str) -> float:
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value.strip(), re.ASCII) is None:
            raise BadValueError(f"seconds from {low:g} to {high:g}")
        if not low <= float(value) <= high:
            raise BadValueError(f"seconds from {low:g} to {high:g}")
        return float(value)

    return read


def read_choice(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value.strip() not in choices:
            raise BadValueError(f"one of {', '.join(choices)}")
        return value.strip()

    return read


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def read_symbols(value: str) -> list[str]:
    symbols = _items(value)
    if not symbols or any(SYMBOL_PATTERN.fullmatch(symbol) is None for symbol in symbols):
        raise BadValueError("pairs such as BTCUSDT,ETHUSDT (A-Z and 0-9, separated by commas)")
    return symbols


def read_subset(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def read(value: str) -> list[str]:
        if not _items(value) or any(item not in choices for item in _items(value)):
            raise BadValueError(f"one or more of {','.join(choices)}")
        return _items(value)

    return read


def read_base_url(*schemes: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        expected = f"a base URL such as {schemes[0]}://host[:port], without a path"
        url = value.strip().rstrip("/")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise BadValueError(expected) from None
        if (
            parts.scheme not in schemes
            or not parts.hostname
            or parts.path
            or parts.query
            or parts.username
            or port == 0
        ):
            raise BadValueError(expected)
        if parts.scheme in ("http", "ws") and parts.hostname not in LOOPBACK:
            raise BadValueError(f"{schemes[0]}:// (plain {parts.scheme} is for loopback only)")
        return url

    return read


def read_optional(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda value: reader(value) if value.strip() else ""


def read_service_url(example: str, *schemes: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        expected = (
            f"a URL such as {example} ({', '.join(schemes)}); "
            "the characters / ? # % of a password are written %2F %3F %23 %25"
        )
        try:
            parts = urlsplit(value.strip())
            parts.port  # noqa: B018 - reading it checks it
        except ValueError:
            raise BadValueError(expected) from None
        # A password that holds one of them ends the host, and its rest with the @ stands behind.
        is_cut = bool(parts.netloc) and "@" in f"{parts.path}{parts.query}{parts.fragment}"
        if parts.scheme not in schemes or is_cut:
            raise BadValueError(expected)
        return value.strip()

    return read


def read_rate(value: str) -> str:
    if re.fullmatch(r"[1-9][0-9]{0,6}/[smhd]", value.strip(), re.ASCII) is None:
        raise BadValueError("N/s, N/m, N/h or N/d, such as 120/m")
    return value.strip()


def read_networks(value: str) -> list[str]:
    try:
        return [str(ip_network(item)) for item in _items(value)]
    except ValueError:
        raise BadValueError("addresses or networks such as 10.0.0.0/8,192.168.1.7") from None


def read_origins(value: str) -> list[str]:
    origins = _items(value)
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or "*" in origin:
            raise BadValueError("origins such as https://charts.example.org (scheme and host, no path, no *)")
    return origins


def read_hosts(value: str) -> list[str]:
    hosts = _items(value)
    if "*" in hosts:
        raise BadValueError("host names; * would accept any Host header")
    if not all(_HOST.fullmatch(host) or _is_bracketed_address(host) for host in hosts):
        raise BadValueError("host names such as charts.example.org, without scheme and port, separated by commas")
    return hosts


def _is_bracketed_address(host: str) -> bool:
    """Say whether it is an address of IPv6 as a Host header has it."""
    try:
        return host.startswith("[") and host.endswith("]") and ip_address(host[1:-1]).version == 6
    except ValueError:
        return False


def read_folder(value: str) -> Path:
    folder = Path(value.strip())
    if "\0" in value or (folder.exists() and not folder.is_dir()):
        raise BadValueError("a folder")
    return folder


def read_address(value: str) -> str:
    host = value.strip()
    if re.fullmatch(r"[0-9A-Za-z]([0-9A-Za-z.-]{0,252}[0-9A-Za-z])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*", host) is None:
        raise BadValueError("an address or a host name such as 127.0.0.1")
    return host


def read_secret(value: str) -> str:
    if any(word in value.lower() for word in _PLACEHOLDERS):
        raise BadValueError("a secret of your own, not a placeholder")
    return value.strip()
