"""The version of the service; ``pyproject.toml`` and ``CHANGELOG.md`` say the same (a test compares them)."""

VERSION = "0.1.0"
