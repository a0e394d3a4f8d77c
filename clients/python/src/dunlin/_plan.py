"""What the two clients carry out: one call, or a stream that can be taken up again where it broke."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Callable, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from dunlin._methods import Streaming, Unary

Out = TypeVar("Out")
OutCovariant = TypeVar("OutCovariant", covariant=True)


@dataclass(frozen=True)
class Call(Generic[Out]):
    """One message to send, and what to make of the answer. It may be sent again as it is."""

    method: Unary[Any, Any]
    request: Message
    convert: Callable[[Any], Out]


class Following(Protocol[OutCovariant]):
    """A stream: what to ask for now, given what has come, and what to make of each message."""

    @property
    def method(self) -> Streaming[Any, Any]: ...

    @property
    def ended(self) -> bool:
        """Whether an end of the stream now is its proper end."""
        ...

    @property
    def complete(self) -> bool:
        """Whether nothing more will come, so that a break now does no harm."""
        ...

    @property
    def resumable(self) -> bool:
        """Whether the request, sent again now, goes on where it broke."""
        ...

    def request(self) -> Message: ...

    def take(self, message: Any) -> Iterable[OutCovariant]: ...


class Deadline:
    """A point in time that a call and its repetitions share."""

    def __init__(self, timeout: float) -> None:
        if timeout <= 0:
            raise ValueError("timeout must be over 0 seconds; float('inf') is none")
        self._until = None if timeout == float("inf") else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds, at least 0; None without an end."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())


def request_id() -> str:
    """An id under which the service does a call's work once, however often it is sent."""
    return uuid.uuid4().hex
