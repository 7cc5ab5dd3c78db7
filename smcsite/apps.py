"""The project's own app: the commands, pages and views that span all others."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "smcsite"
    verbose_name = "SMC Signal Service"

    def ready(self) -> None:
        # Checks are known once their module is imported; nothing else happens here.
        from smcsite import checks  # noqa: F401, PLC0415
