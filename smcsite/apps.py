"""The project's own app: the commands, pages and views that span all others."""

import atexit
import gc

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "smcsite"
    verbose_name = "SMC Signal Service"

    def ready(self) -> None:
        # Checks are known once their module is imported.
        from smcsite import checks  # noqa: F401, PLC0415

        # Python looks through all its memory for cycles before it ends. With the engine's machine code there that takes
        # a second of every command, and the processes of a service that stops are killed before they are done.
        atexit.register(gc.freeze)
        # The search was put off while modules were imported.
        gc.freeze()
        gc.enable()
