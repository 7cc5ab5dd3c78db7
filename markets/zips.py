"""Zip files that hold one file, as exchanges publish candles and people keep them."""

import io
import zipfile
import zlib


class UnsoundZipError(ValueError):
    """Bytes that are no such file. The text goes on after the file's name."""


def only_member(data: bytes, *, limit: int) -> bytes:
    """Return the content of the one file in a zip. Raises ``UnsoundZipError``, also for more than ``limit`` bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].file_size > limit:
                raise UnsoundZipError("does not hold one file of a sensible size")
            return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnsoundZipError(f"is not a sound zip file: {error}") from error
