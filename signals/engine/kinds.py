"""The codes of the engine: kinds of signals, their tags, and the marks on their life."""

from enum import IntEnum

# Rises with every change that alters any signal; each row of the log carries it.
DETECTOR_VERSION = 1

HIGH, LOW = 0, 1  # the two sides of the market; every rule is given for the high side and mirrored


class Kind(IntEnum):
    """Kinds in the order in which one bar emits them (docs/concepts.md#order)."""

    IFVG = 0
    BREAKER = 1
    SWEEP = 2
    BOS = 3
    CHOCH = 4
    OB = 5
    FVG = 6
    SWING = 7
    EQ = 8


KIND_TEXT = tuple(kind.name for kind in Kind)

# Zones: what stands between two prices until it is closed through (docs/concepts.md#the-life-of-a-zone).
ZONE_KINDS = (Kind.FVG, Kind.IFVG, Kind.OB, Kind.BREAKER)


class Tag(IntEnum):
    """What distinguishes signals of one kind. EQ counts its touches in place of a tag."""

    NONE = 0
    HH = 1
    LH = 2
    EH = 3
    HL = 4
    LL = 5
    EL = 6
    CLOSE = 7
    WICK = 8
    AMBIGUOUS = 9
    RECLAIM = 10
    BOS = 11
    CHOCH = 12


# As text: pivots keep capitals as traders write them, the others are words.
TAG_TEXT = ("", "HH", "LH", "EH", "HL", "LL", "EL", "close", "wick", "ambiguous", "reclaim", "BOS", "CHOCH")


class Mark(IntEnum):
    """The life-cycle facts of a signal, each written at most once."""

    MITIGATED = 0
    FILLED = 1
    INVALIDATED = 2


MARK_TEXT = tuple(mark.name.lower() for mark in Mark)

# status = the last of these that is set; ACTIVE when none is
STATUS_TEXT = ("active", "mitigated", "filled", "invalidated")
