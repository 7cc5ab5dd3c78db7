"""System checks of our own: settings that would be unsafe though nothing else would notice."""

from typing import Any

from django.conf import settings
from django.core.cache.backends.redis import RedisCache
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string


@register()
def limits_are_shared(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Refuse to count limits in a cache that each process has for itself."""
    backend = str(settings.CACHES[settings.RATELIMIT_USE_CACHE]["BACKEND"])
    if issubclass(import_string(backend), RedisCache):
        return []
    return [Error(f"limits are counted in {backend}, which processes do not share", id="smc.E001")]
