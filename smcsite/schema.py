"""What the OpenAPI schema says beyond what the views say themselves: the secret, and every error."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/unknown-symbol"]},
        "title": {"type": "string", "examples": ["Unknown symbol"]},
        "status": {"type": "integer", "examples": [404]},
        "detail": {"type": "string", "examples": ["unknown symbol 'BTCUSD'; did you mean BTCUSDT?"]},
        "request_id": {"type": "string"},
        "errors": {
            "type": "object",
            "description": "What is wrong with each field.",
            "additionalProperties": True,
        },
        "near": {"type": "array", "items": {"type": "string"}, "description": "What may have been meant."},
        "retry_after": {"type": "integer", "description": "Seconds to wait."},
    },
}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
_ALWAYS = {
    "400": "Malformed: a parameter is missing or cannot be read.",
    "401": "No shared secret, or a wrong one.",
    "403": "The session's CSRF token is missing, or the secret may only read.",
    "404": "Unknown symbol or id; `near` has what may have been meant.",
    "413": "Over a cap, which the detail names.",
    "414": "The query is longer than 4 KiB.",
    "422": "Well-formed but impossible, such as an end before the start.",
    "429": "Too many calls.",
    "503": "A part of the service is down, or the disk is full.",
}
_FOR_BODIES = {"409": "In conflict with the state of things.", "415": "The body is not application/json."}
_METHODS = ("get", "post", "put", "patch", "delete")


class SecretScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # spectacular is not typed
    """The header X-Shared-Secret."""

    target_class = "smcsite.security.access.SecretAuthentication"
    name = "sharedSecret"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "X-Shared-Secret"}


class StaffScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """A staff member's session."""

    target_class = "smcsite.security.access.StaffSessionAuthentication"
    name = "staffSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "session"}


def tell_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the errors that every operation may answer."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _PROBLEM
    for path in result["paths"].values():
        for method in set(path) & set(_METHODS):
            told = {**_ALWAYS, **({} if method == "get" else _FOR_BODIES)}
            for status, text in told.items():
                path[method]["responses"].setdefault(status, _response(status, text))
    return result


def _response(status: str, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in ("429", "503"):
        answer["headers"] = _RETRY
    return answer
