"""A column of texts of which few are different: kinds, reasons, symbols, sessions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from signals.engine.table import IndexArray, TextArray


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Texts as numbers: ``codes``, shape (n,), are places in ``names``.

    So groups are found and files written without looking at each text.
    """

    codes: IndexArray
    names: tuple[str, ...]

    @classmethod
    def of(cls, codes: NDArray[Any], names: Iterable[str]) -> "Labels":
        return cls(codes.astype(np.int64, copy=False), tuple(names))

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def texts(self) -> TextArray:
        text: TextArray = np.array(self.names, dtype=object)[self.codes]
        return text

    def take(self, index: IndexArray) -> "Labels":
        return Labels(self.codes.take(index), self.names)
