"""The project's own app: the commands, pages and views that span all others."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "smcsite"
    verbose_name = "SMC Signal Service"

    def ready(self) -> None:
        # Checks are known once their module is imported, and so is the Celery app: without it a task that is put on
        # the queue here would look for a broker at Celery's own default. Nothing else happens here.
        from smcsite import celery, checks  # noqa: F401, PLC0415
