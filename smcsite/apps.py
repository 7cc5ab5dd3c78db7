"""The project's own app: the commands, pages and views that span all others."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "smcsite"
    verbose_name = "SMC Signal Service"

    def ready(self) -> None:
        # A shared task belongs to the app that is current: ours must stand before the first is put on the queue.
        import smcsite.celery  # noqa: PLC0415, F401 - needs the settings, which name this class
