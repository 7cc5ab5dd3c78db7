"""The only settings file; every variable comes through ``smcsite.env``."""

import secrets
from pathlib import Path

import dj_database_url

from smcsite import env
from smcsite.embedded import published_url

ENV = env.load()
BASE_DIR = env.BASE_DIR
DATA_ROOT: Path = ENV.data_root
REPORTS_ROOT: Path = ENV.reports_root
VAR_ROOT = DATA_ROOT / "var"


def _secret_key() -> str:
    """Return the key of the environment, else one made once and kept in the data folder (loopback only)."""
    if ENV.django_secret_key:
        return ENV.django_secret_key
    path = VAR_ROOT / "secret.key"
    VAR_ROOT.mkdir(parents=True, exist_ok=True)
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
DEBUG = ENV.django_debug
ALLOWED_HOSTS = [*env.LOOPBACK, "[::1]", *ENV.allowed_hosts]

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
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
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
            ],
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
REDIS_SOCKET = {"socket_timeout": 5, "socket_connect_timeout": 2, "health_check_interval": 25, "socket_keepalive": True}


def redis_url(database: int) -> str:
    """Return the URL of one of our databases: 0 broker, 1 channels, 2 cache, 3 leases and limits."""
    base, _, tail = REDIS_URL.partition("://")
    return f"{base}://{tail.split('/')[0]}/{database}" if base != "unix" else f"{REDIS_URL}?db={database}"


CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": redis_url(2),
        "OPTIONS": REDIS_SOCKET,
    }
}

CHANNEL_LAYERS = {
    "default": {
        # The core layer drops messages of a burst; pub/sub delivered all (docs/decisions/0003-pubsub-layer.md).
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            # redis-py 8 set a 5 s read timeout, which ends idle subscriptions (channels_redis#422).
            "hosts": [{"address": redis_url(1), "socket_timeout": None, "socket_connect_timeout": 2}],
            "prefix": "smc",
        },
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_ROOT / "var" / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "COERCE_DECIMAL_TO_STRING": False,
}
