"""The project's own app: the commands, pages and views that span all others."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "smcsite"
    verbose_name = "SMC Signal Service"
