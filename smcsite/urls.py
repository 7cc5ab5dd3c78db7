"""Every URL of the service."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

import backtests.urls
import markets.urls
import scanner.urls
import signals.urls
from smcsite import views
from smcsite.api import RootView, SocketTicketView, StatusView
from smcsite.health import health, healthz
from smcsite.metrics import metrics

_APPS = (markets.urls, signals.urls, backtests.urls, scanner.urls)

urlpatterns = [
    path("", views.home, name="home"),
    path("web/", views.dashboard, name="dashboard"),
    path("web/status", views.status, name="status"),
    path("web/settings", views.settings, name="settings"),
    path("web/settings/theme", views.theme, name="theme"),
    path("web/settings/alerts", views.add_alert, name="add-alert"),
    path("web/settings/alerts/<int:number>/remove", views.remove_alert, name="remove-alert"),
    path("web/settings/intro", views.dismiss_intro, name="dismiss-intro"),
    path("web/watch/<str:symbol>", views.watch, name="watch"),
    path("web/search", views.search, name="search"),
    path("web/help", views.help_page, name="help"),
    path("health", health, name="health"),
    path("healthz", healthz, name="healthz"),
    path("metrics", metrics, name="metrics"),
    path("login/", LoginView.as_view(template_name="smcsite/login.html", extra_context=views.SIGN_IN), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("docs", SpectacularSwaggerSplitView.as_view(template_name="smcsite/docs.html"), name="docs"),
    path("api/v1/", RootView.as_view(), name="api-root"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/status", StatusView.as_view(), name="api-status"),
    path("api/v1/socket-ticket", SocketTicketView.as_view(), name="api-socket-ticket"),
    path("api/v1/", include([pattern for app in _APPS for pattern in app.api])),
    path("web/", include([pattern for app in _APPS for pattern in app.pages])),
]

handler400 = "smcsite.problems.bad_request"
handler403 = "smcsite.problems.forbidden"
handler404 = "smcsite.problems.not_found"
handler500 = "smcsite.problems.server_error"
