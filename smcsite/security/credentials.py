"""The shared secret: which ones are valid now, and whether a caller knows one."""

import hashlib
import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from smcsite.env import shared_secrets

HEADER = "X-Shared-Secret"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
_REREAD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret as the service keeps it: what it hashes to. ``id`` names it in logs and limits."""

    digest: bytes
    scope: str

    @property
    def id(self) -> str:
        return self.digest.hex()[:8]

    def allows(self, method: str) -> bool:
        return self.scope == "full" or method in SAFE_METHODS


class Keyring:
    """The valid secrets. Those of a file are read again when it changes, so rotation needs no restart."""

    def __init__(self, text: str, path: Path | None) -> None:
        self._path = path
        self._read_at = time.monotonic()
        self._credentials = _credentials(text)

    @property
    def credentials(self) -> tuple[Credential, ...]:
        if self._path is not None and time.monotonic() - self._read_at >= _REREAD_SECONDS:
            self._read_at = time.monotonic()
            self._reread(self._path)
        return self._credentials

    def _reread(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return  # being replaced just now; the former ones stay until it can be read
        found = _credentials(text)
        # An empty or short secret is refused at start, so it is not let in later either.
        if found and all(len(secret) >= 32 for secret in shared_secrets(text)):
            self._credentials = found

    def find(self, presented: bytes) -> Credential | None:
        """Return the secret that was presented. All are compared, whole, whatever the first says."""
        digest = hashlib.sha256(presented).digest()
        found = None
        for credential in self.credentials:
            if hmac.compare_digest(digest, credential.digest):
                found = credential
        return found


def _credentials(text: str) -> tuple[Credential, ...]:
    return tuple(
        Credential(hashlib.sha256(secret.encode()).digest(), scope) for secret, scope in shared_secrets(text).items()
    )


@cache
def keyring() -> Keyring:
    return Keyring(settings.ENV.shared_secret, settings.ENV.shared_secret_file)


def is_open() -> bool:
    """Say whether the service asks for no secret, which is only so on loopback."""
    return not settings.ENV.shared_secret


def opens(presented: bytes) -> bool:
    """Say whether a caller may read who presents this: any of the secrets, or anything while none is asked for."""
    return is_open() or keyring().find(presented) is not None


def presented_secret(request: HttpRequest) -> bytes | None:
    """Return what the header holds; None without one. Two headers arrive joined by a comma and match nothing."""
    value = request.META.get("HTTP_X_SHARED_SECRET")
    return None if value is None else value.encode("latin-1", "replace")


def find_credential(request: HttpRequest) -> Credential | None:
    """Return the credential of a request, judged once."""
    if not hasattr(request, "smc_credential"):
        presented = presented_secret(request)
        request.smc_credential = None if presented is None else keyring().find(presented)  # type: ignore[attr-defined]
    found: Credential | None = request.smc_credential  # type: ignore[attr-defined]
    return found


def scope_credential(headers: Iterable[tuple[bytes, bytes]]) -> Credential | None:
    """Return the credential of a socket's handshake."""
    presented = [value for name, value in headers if name == b"x-shared-secret"]
    return keyring().find(presented[0]) if len(presented) == 1 else None


def is_staff(user: Any) -> bool:
    return bool(user is not None and user.is_authenticated and user.is_active and user.is_staff)
