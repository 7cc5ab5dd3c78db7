"""Which page a request came from, by its ``Origin`` header."""

from urllib.parse import urlsplit

from django.conf import settings

_PORTS = {"http": 80, "https": 443}


def is_own_origin(origin: str, *, is_secure: bool, host: str) -> bool:
    """Say whether an origin is the site's own as ``host`` names it, or one of ``CSRF_TRUSTED_ORIGINS``."""
    if origin in settings.ENV.csrf_trusted_origins:
        return True
    told = _address(origin)
    return told is not None and told == _address(f"{'https' if is_secure else 'http'}://{host}")


def _address(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an origin; None for what is none, such as ``null``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path or parts.query or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]
