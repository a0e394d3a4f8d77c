"""protobuf's times and durations as Python's, and back."""

from __future__ import annotations

import datetime
from typing import Protocol


class _Span(Protocol):
    seconds: int
    nanos: int


class _Settable(_Span, Protocol):
    def HasField(self, field_name: str) -> bool: ...  # noqa: N802


def seconds(duration: _Span) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def seconds_or_none(message: object, field: str) -> float | None:
    """A duration in seconds, or None where the field is absent."""
    return seconds(getattr(message, field)) if message.HasField(field) else None  # type: ignore[attr-defined]


def time_or_none(message: object, field: str) -> datetime.datetime | None:
    """A time, in UTC, or None where the field is absent."""
    if not message.HasField(field):  # type: ignore[attr-defined]
        return None
    stamp: _Span = getattr(message, field)
    whole = datetime.datetime.fromtimestamp(stamp.seconds, tz=datetime.timezone.utc)
    return whole + datetime.timedelta(microseconds=stamp.nanos // 1000)


def set_seconds(target: _Span, value: float) -> None:
    """Writes seconds into a duration."""
    target.seconds = int(value)
    target.nanos = round((value - int(value)) * 1e9)


def set_time(target: _Span, value: datetime.datetime) -> None:
    """Writes a time; one without a zone is local time, as in the standard library."""
    moment = value.timestamp()
    target.seconds = int(moment // 1)
    target.nanos = value.microsecond * 1000
