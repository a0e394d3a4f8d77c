"""What became of one image. There is exactly one outcome for each image that was to be sent."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """How it ended."""

    #: Answered, and the label is the right one.
    RIGHT = "right label"
    #: Answered, with another label than the right one.
    WRONG = "wrong label"
    #: Answered, and nobody said what is right.
    ANSWERED = "answered"
    #: No answer, after all attempts.
    FAILED = "failed"
    #: The run was stopped before its turn.
    NOT_SENT = "not sent"

    @property
    def ok(self) -> bool:
        """Whether the server answered."""
        return self in (Kind.RIGHT, Kind.WRONG, Kind.ANSWERED)


@dataclass(frozen=True)
class Outcome:
    """One image's."""

    name: str
    kind: Kind
    #: Seconds after the start of the run at which it was sent; with --rate, at which it was due.
    at: float = 0.0
    #: Seconds from then to the answer, or to giving up; repetitions and their pauses included.
    seconds: float = 0.0
    attempts: int = 0
    label: str = ""
    expected: str = ""
    #: Why it failed: `HTTP 503`, `timeout`, `connection refused` ...
    reason: str = ""
    #: What the server said about it.
    told: str = ""
