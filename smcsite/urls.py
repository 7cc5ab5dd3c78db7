"""Every URL of the service."""

from django.contrib import admin
from django.urls import include, path

import backtests.urls
import markets.urls
import scanner.urls
import signals.urls

_APPS = (markets.urls, signals.urls, backtests.urls, scanner.urls)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include([pattern for app in _APPS for pattern in app.api])),
    path("web/", include([pattern for app in _APPS for pattern in app.pages])),
]
