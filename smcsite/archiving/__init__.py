"""One file with everything that is needed to move to an empty machine: written, checked and unpacked.

It is a tar archive whose first member, ``digests.json``, names the SHA-256 of every other. The database comes first,
then signals, then candles, so that no signal is of a candle that the archive lacks. Secrets stay behind: whoever reads
the file can neither sign as the site nor go on with somebody's session.
"""

from smcsite.archiving.unpacking import unpack_archive
from smcsite.archiving.writing import write_archive

__all__ = ["unpack_archive", "write_archive"]
