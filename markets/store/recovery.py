"""What a crash left behind, cleared up by the next one who starts."""

from dataclasses import dataclass, fields

from markets.store.disk import TEMPORARY
from markets.store.shelf import DamagedError
from markets.store.writing import Writer


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many temporary files were removed, files taken into the manifest, and days merged into their month."""

    swept: int = 0
    adopted: int = 0
    merged_days: int = 0

    def __add__(self, other: "Recovered") -> "Recovered":
        return Recovered(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def recover(writer: Writer) -> Recovered:
    """Clear up one series, whose lock the caller holds: so a temporary file in it is nobody's."""
    swept = 0
    for path in writer.shelf.folder.glob(f".*{TEMPORARY}"):
        writer.shelf.disk.unlink(path)
        swept += 1
    while True:
        writer.look()
        try:
            days = writer.old_days()
            writer.tidy(days)
            return Recovered(swept, writer.adopt(), len(days))
        except DamagedError as damage:
            writer.bury(damage)
