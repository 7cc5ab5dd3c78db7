"""How the API tells who calls and what he may do."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from smcsite.security.credentials import HEADER, Credential, find_credential, is_open, is_staff, presented_secret


class SecretAuthentication(BaseAuthentication):
    """Knows a caller by the header X-Shared-Secret: no person, but ``request.auth`` holds the credential."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Credential] | None:
        if is_open() or presented_secret(request._request) is None:
            return None
        credential = find_credential(request._request)
        if credential is None:
            raise AuthenticationFailed("the shared secret is wrong")
        return AnonymousUser(), credential

    def authenticate_header(self, request: Request) -> str:
        return HEADER


class StaffSessionAuthentication(SessionAuthentication):
    """Knows a person by the session, always with CSRF. Where a secret is asked for, only staff may come this way."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        user = getattr(request._request, "user", None)
        if user is None or not user.is_authenticated or not user.is_active:
            return None
        if not is_open() and not user.is_staff:
            return None
        self.enforce_csrf(request)
        return user, None


class HasAccess(BasePermission):
    """Lets in who knows a secret of sufficient scope, and staff; everybody where no secret is set (loopback)."""

    message = f"send a valid {HEADER} header"

    def has_permission(self, request: Request, view: Any) -> bool:
        if is_open():
            return True
        if isinstance(request.auth, Credential):
            return request.auth.allows(request.method or "")
        return is_staff(request.user)
