"""``manage.py`` whose channels keep every message: ``python -m tests.signals.feed.hoarding COMMAND``.

A stream that catches up on weeks in a second says thousands of messages at once. A browser is told to fetch anew then;
a test that wants to have heard each must not depend on how quickly it is woken, nor on how many wait to be sent.
"""

import os
import sys
from importlib import import_module

import django
from django.core.management import execute_from_command_line

from signals.push import channels

if __name__ == "__main__":
    channels.KEPT = 10**9
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")
    django.setup()
    # It takes the number that are kept when it is imported.
    sender = import_module("signals.push.sender")
    sender._WAITING_LIMIT = 10**9  # type: ignore[attr-defined]
    execute_from_command_line(["manage.py", *sys.argv[1:]])
