"""The only settings file; every variable comes through ``smcsite.env``."""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONCE, NONE, SELF

from markets.series import Timeframe
from smcsite import env, logs, readers
from smcsite.embedded import published_url
from smcsite.schedule import SCHEDULE
from smcsite.version import VERSION

try:
    ENV = env.load()
except env.EnvironmentVariableError as error:
    # Whatever process reads the settings: a mistake of the operator's is one line and never a trace.
    sys.stderr.write(f"{error}\n")
    raise SystemExit(2) from None

os.umask(0o027)  # what the service writes, nobody but its user and group reads
BASE_DIR = env.BASE_DIR
DATA_ROOT: Path = ENV.data_root
REPORTS_ROOT: Path = ENV.reports_root
VAR_ROOT = DATA_ROOT / "var"


def _secret_key() -> str:
    """Return the key of the environment, else one made once and kept in the data folder (loopback only)."""
    try:
        VAR_ROOT.mkdir(parents=True, exist_ok=True)
        return ENV.django_secret_key or _kept_key(VAR_ROOT / "secret.key")
    except OSError as error:
        sys.stderr.write(f"DATA_DIR: {error.filename} cannot be written by uid {os.getuid()}: {error.strerror}\n")
        raise SystemExit(2) from None


def _kept_key(path: Path) -> str:
    if not path.exists():
        temporary = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(48))
        # Two processes that start at once must end with one key: the first link wins.
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text().strip()


SECRET_KEY = _secret_key()
# What asks it stands below smcsite, so it is named here.
CALLER_CHECK = "smcsite.security.credentials.opens"
DEBUG = ENV.django_debug
ALLOWED_HOSTS = [*readers.LOOPBACK, "[::1]", *ENV.allowed_hosts]

INSTALLED_APPS = [
    "smcsite",
    "markets",
    "signals",
    "backtests",
    "scanner",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "corsheaders",
    "csp",
    "channels",
]

MIDDLEWARE = [
    # What every answer carries, refusals included, stands before whatever may refuse.
    "smcsite.security.middleware.request_ids",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "smcsite.security.middleware.headers",
    # Pages, answers and static files alike; where a proxy compresses, it finds nothing left to do.
    "smcsite.compression.CompressionMiddleware",
    "smcsite.assets.AssetMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "smcsite.security.middleware.caps",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "smcsite.security.middleware.limits",
    "smcsite.security.middleware.gate",
    "smcsite.security.middleware.full_disk",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "smcsite.page_errors.PageErrorMiddleware",
]

ROOT_URLCONF = "smcsite.urls"
ASGI_APPLICATION = "smcsite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
            # A quicker {% url %} in every template.
            "builtins": ["smcsite.templatetags.addresses"],
        },
    },
]


def _database() -> dict[str, object]:
    if ENV.database_url and not ENV.is_replay:
        return dict(dj_database_url.parse(ENV.database_url, conn_max_age=0))
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_ROOT / "db.sqlite3",
        "OPTIONS": {
            # A reader that becomes a writer would fail at once in SQLite's default mode, whatever the timeout.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Without a running server the URL points nowhere: what needs it says so, and the rest works.
REDIS_URL = ENV.redis_url or published_url(VAR_ROOT) or "redis://127.0.0.1:1"
REDIS_SOCKET: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 25,
    "socket_keepalive": True,
}
# For what somebody waits for, and what is done without when the server does not answer.
_QUICK_SOCKET = {**REDIS_SOCKET, "socket_timeout": 1, "socket_connect_timeout": 1}


def redis_url(database: int) -> str:
    """Return the URL of one of our databases: 0 broker, 1 channels, 2 cache, 3 leases and limits."""
    base, _, tail = REDIS_URL.partition("://")
    return f"{base}://{tail.split('/')[0]}/{database}" if base != "unix" else f"{REDIS_URL}?db={database}"


# Django hands on names in capitals only.
REDIS_URLS = tuple(redis_url(database) for database in range(4))

_JSON = {"serializer": "smcsite.cache.JsonSerializer"}
CACHES = {
    "default": {
        "BACKEND": "smcsite.cache.HintCache",
        "LOCATION": REDIS_URLS[2],
        "KEY_PREFIX": "json",  # a release before this one kept pickles
        "OPTIONS": {**_QUICK_SOCKET, **_JSON},
    },
    # Limits must know when they cannot count, so theirs raises.
    "limits": {
        "BACKEND": "smcsite.cache.CountingCache",
        "LOCATION": REDIS_URLS[3],
        "OPTIONS": {**_QUICK_SOCKET, **_JSON},
    },
}
RATELIMIT_USE_CACHE = "limits"

CHANNEL_LAYERS = {
    "default": {
        # The core layer drops messages of a burst; pub/sub delivered all (docs/decisions/0003-pubsub-layer.md).
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            # redis-py 8 set a 5 s read timeout, which ends idle subscriptions (channels_redis#422).
            "hosts": [{"address": REDIS_URLS[1], "socket_timeout": None, "socket_connect_timeout": 2}],
            "prefix": "smc",
        },
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served from where they lie, so that nothing has to be collected before a start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LOGGING = logs.configuration(ENV.log_level, ENV.log_format)
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/web/"
LOGOUT_REDIRECT_URL = "/web/"

# Where only this machine can reach the service, it is reached without TLS; everywhere else only with it.
_IS_PUBLIC = not ENV.is_loopback
_PREFIX = "__Host-" if _IS_PUBLIC else ""
SESSION_COOKIE_NAME = f"{_PREFIX}session"
SESSION_COOKIE_SECURE = _IS_PUBLIC
SESSION_COOKIE_AGE = 7 * 86_400
CSRF_COOKIE_NAME = f"{_PREFIX}csrf"
CSRF_COOKIE_SECURE = _IS_PUBLIC
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = ENV.csrf_trusted_origins
CSRF_FAILURE_VIEW = "smcsite.problems.csrf_failure"
# The request_ids middleware drops this header unless a trusted proxy sent it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 365 * 86_400
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for sub-domains is not ours to promise
    "security.W008",  # the proxy that ends TLS sends people there; health checks come without TLS
    "security.W021",  # nor is preloading
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        # The hash is of the one style element that lightweight-charts 5.2.1 makes for its attribution.
        "style-src": [SELF, NONCE, "'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='"],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

CORS_ALLOWED_ORIGINS = ENV.cors_allowed_origins
CORS_URLS_REGEX = r"^/api/.*$"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_HEADERS = ["accept", "content-type", "idempotency-key", "if-none-match", "x-request-id", "x-shared-secret"]
CORS_EXPOSE_HEADERS = ["etag", "location", "retry-after", "x-request-id"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "smcsite.security.access.SecretAuthentication",
        "smcsite.security.access.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["smcsite.security.access.HasAccess"],
    "DEFAULT_RENDERER_CLASSES": [
        "smcsite.rendering.QuickJSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["smcsite.rendering.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "smcsite.rendering.LenientNegotiation",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "smcsite.problems.problem_handler",
    # ``format`` is a parameter of our own.
    "URL_FORMAT_OVERRIDE": None,
    "COERCE_DECIMAL_TO_STRING": False,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "SMC Signal Service",
    "DESCRIPTION": "Smart Money Concepts signals that never repaint. Times are UTC, prices JSON numbers.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_PERMISSIONS": ["smcsite.security.access.HasAccess"],
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False},
    "ENUM_NAME_OVERRIDES": {
        "JobStateEnum": "markets.models.JobState",
        "MethodEnum": "backtests.models.Method",
        "TimeframeEnum": [each.value for each in Timeframe],
        "TradedDirectionEnum": ["both", "long", "short"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "smcsite.schema.tell_problems",
    ],
}

QUEUE_APP = "smcsite.celery"
CELERY_BROKER_URL = REDIS_URLS[0]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    **REDIS_SOCKET,
    # Twice the longest time limit and more: a message that is still worked on must not be given to another worker.
    "visibility_timeout": 6 * 3600,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    # A request must not wait for a broker that is away; the row waits instead.
    "max_retries": 1,
    "interval_start": 0.05,
    "retry_on_timeout": False,
}
# The row is the result, so nothing is kept in Redis.
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "scan"
CELERY_TASK_ROUTES = {
    "markets.tasks.*": {"queue": "exchange"},
    "signals.tasks.*": {"queue": "backtest"},
    "backtests.tasks.*": {"queue": "backtest"},
    "scanner.tasks.*": {"queue": "scan"},
}
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 50
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BEAT_SCHEDULER = "smcsite.scheduler.LeasedScheduler"
CELERY_BEAT_SCHEDULE = SCHEDULE
CELERY_TIMEZONE = "UTC"
