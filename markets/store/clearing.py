"""What a crash left behind, cleared up by the next one who starts."""

from dataclasses import dataclass, fields

from markets.store.disk import TEMPORARY, translated
from markets.store.shelf import DamagedError
from markets.store.writing import Writer


@dataclass(frozen=True, slots=True)
class ClearedUp:
    """How many temporary files were removed, files taken into the manifest, days merged into their month, and
    damaged files moved to the quarantine.
    """

    swept: int = 0
    adopted: int = 0
    merged_days: int = 0
    quarantined: int = 0

    def __add__(self, other: "ClearedUp") -> "ClearedUp":
        return ClearedUp(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def clear_up(writer: Writer) -> ClearedUp:
    """Clear up one series, whose lock the caller holds: so a temporary file in it is nobody's."""
    folder, disk = writer.shelf.folder, writer.shelf.disk
    leftovers = list(folder.glob(f".*{TEMPORARY}"))
    with translated(folder):
        for path in leftovers:
            disk.unlink(path)
        # A process that was killed between its rename and this left a file that is seen, and not yet safe.
        disk.fsync_folder(folder)
    while True:
        writer.look()
        try:
            writer.fold(writer.files)
            days = writer.old_days()
            writer.tidy(days)
            writer.drop_journals()
            return ClearedUp(len(leftovers), writer.adopt(), len(days), writer.buried)
        except DamagedError as damage:
            writer.bury(damage)
