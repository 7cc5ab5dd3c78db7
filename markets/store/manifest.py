"""The list of a series' month files: what coverage and missing files are told from without opening each.

It is made from the files and can be made from them again, so a crash between a file and its line here costs nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from markets.candles import Gap
from markets.store.coverage import Stretch
from markets.store.disk import Identity

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One month file, as it was written."""

    stretch: Stretch
    sha256: str
    sequence: int
    size: int
    mtime_ns: int

    def is_of(self, identity: Identity) -> bool:
        return self.size == identity.size and self.mtime_ns == identity.mtime_ns and not identity.journal


@dataclass(frozen=True, slots=True)
class Manifest:
    """``edit`` rises with each change of what was stored before, ``sequence`` with each file written."""

    edit: int = 0
    sequence: int = 0
    files: Mapping[str, Record] = field(default_factory=lambda: MappingProxyType({}))

    def to_bytes(self, series: str) -> bytes:
        content = {
            "format": _FORMAT,
            "series": series,
            "edit": self.edit,
            "sequence": self.sequence,
            "files": {name: _to_json(record) for name, record in sorted(self.files.items())},
        }
        return json.dumps({**content, "check": _check(content)}, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Read what ``to_bytes`` wrote; None when any of it was changed."""
        try:
            content = json.loads(data)
            check = content.pop("check")
            if check != _check(content) or content["format"] != _FORMAT:
                return None
            files = {name: _from_json(record) for name, record in content["files"].items()}
            return cls(content["edit"], content["sequence"], files)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _check(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _to_json(record: Record) -> dict[str, Any]:
    stretch = record.stretch
    return {
        "rows": stretch.rows,
        "first": stretch.first,
        "last": stretch.last,
        "gaps": [list(gap) for gap in stretch.gaps],
        "sha256": record.sha256,
        "sequence": record.sequence,
        "size": record.size,
        "mtime_ns": record.mtime_ns,
    }


def _from_json(values: dict[str, Any]) -> Record:
    gaps = tuple(Gap(*gap) for gap in values["gaps"])
    stretch = Stretch(values["rows"], values["first"], values["last"], gaps)
    return Record(stretch, values["sha256"], values["sequence"], values["size"], values["mtime_ns"])
