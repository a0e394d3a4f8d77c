"""What can go wrong, one class for each family of reasons.

::

    DunlinError                      everything below
    ├── InvalidRequestError          a field is wrong (also a ValueError)
    │   ├── ImageError               this image cannot be classified
    │   └── UriError                 a uri that is not read there
    ├── NotFoundError                no such model, job, object, decision or instance
    ├── AuthError                    no key, a wrong one, or one that may not do this
    ├── ConflictError                it is not as the call supposes: another version, an id used for another call
    ├── OverloadedError              too much waits already; `retry_after` says when to come back
    ├── UnavailableError             the service cannot be reached, or stops (also a ConnectionError)
    ├── DeadlineError                the time was up (also a TimeoutError)
    ├── CallCancelledError           the call was cancelled
    └── ServerError                  a fault of the service or its model

A class is chosen by the `reason` that the service gives, which is stable; without one, by the gRPC code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from dunlin._pb import error_details_pb2, status_pb2

_BINARY_STATUS = "grpc-status-details-bin"
_PUSHBACK = "grpc-retry-pushback-ms"
_REQUEST_ID = "x-request-id"


@dataclass(frozen=True)
class Violation:
    """One field of a request that is wrong."""

    field: str
    description: str


@dataclass(frozen=True)
class Resource:
    """What was not found."""

    kind: str
    name: str


class DunlinError(Exception):
    """Any failure of a call or of an image.

    >>> try:
    ...     client.classify(b"not an image")
    ... except dunlin.ImageError as error:
    ...     print(error.reason)
    IMAGE_UNSUPPORTED_FORMAT
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        request_id: str = "",
        violations: tuple[Violation, ...] = (),
        resource: Resource | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        #: Stable and upper case, as in the service's table of errors; empty when a proxy or the network answered.
        self.reason = reason
        self.code = code
        #: What a program can act on: `limit`, `found` ...
        self.metadata: Mapping[str, str] = dict(metadata or {})
        #: Seconds after which the same call may work; None when the service did not say, infinity when it said never.
        self.retry_after = retry_after
        #: Names the call in the service's logs.
        self.request_id = request_id
        self.violations = violations
        self.resource = resource

    def __str__(self) -> str:
        told = [self.message or self.code.name.lower()]
        if self.reason:
            told.append(f"[{self.reason}]")
        if self.retry_after is not None:
            told.append(f"(retry after {self.retry_after:g} s)")
        if self.request_id:
            told.append(f"(request {self.request_id})")
        return " ".join(told)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, reason={self.reason!r})"


class InvalidRequestError(DunlinError, ValueError):
    """A field is missing, out of range or contradicts another: `violations` names each."""


class ImageError(InvalidRequestError):
    """This image cannot be classified: empty, too large, not an image, damaged, or not to be read."""


class UriError(InvalidRequestError):
    """A uri of a kind or place that the service does not read."""


class NotFoundError(DunlinError, LookupError):
    """No such model, job, object, decision or instance: `resource` names it."""


class AuthError(DunlinError):
    """The key is missing or wrong, or may not do this."""


class ConflictError(DunlinError):
    """It is not as the call supposes: another version is in force, or a request id belongs to another call."""


class OverloadedError(DunlinError):
    """Too much waits already, or the caller's quota is used up. `retry_after` says when to come back."""


class UnavailableError(DunlinError, ConnectionError):
    """The service cannot be reached, is stopping, or lacks something it needs."""


class DeadlineError(DunlinError, TimeoutError):
    """The time was up, before or while it was worked on."""


class CallCancelledError(DunlinError):
    """The call was cancelled, by its caller or by the service."""


class ServerError(DunlinError):
    """A fault of the service or its model."""


_BY_REASON: dict[str, type[DunlinError]] = {
    "INVALID_REQUEST": InvalidRequestError,
    "IMAGE_EMPTY": ImageError,
    "IMAGE_TOO_LARGE": ImageError,
    "IMAGE_TOO_MANY_PIXELS": ImageError,
    "IMAGE_UNSUPPORTED_FORMAT": ImageError,
    "IMAGE_UNDECODABLE": ImageError,
    # Ours: the file, the picture or the address could not be read here.
    "IMAGE_UNREADABLE": ImageError,
    "URI_SCHEME_UNSUPPORTED": UriError,
    "URI_NOT_ALLOWED": UriError,
    "OBJECT_NOT_FOUND": NotFoundError,
    "MODEL_NOT_FOUND": NotFoundError,
    "JOB_NOT_FOUND": NotFoundError,
    "DECISION_NOT_FOUND": NotFoundError,
    "INSTANCE_NOT_FOUND": NotFoundError,
    "RECORD_INCOMPLETE": ConflictError,
    "INSTANCE_NOT_READY": ConflictError,
    "REQUEST_ID_REUSED": ConflictError,
    "ALREADY_EXISTS": ConflictError,
    "VERSION_MISMATCH": ConflictError,
    "API_KEY_INVALID": AuthError,
    "SCOPE_MISSING": AuthError,
    "QUEUE_FULL": OverloadedError,
    "WAIT_EXCEEDS_DEADLINE": OverloadedError,
    "QUOTA_EXCEEDED": OverloadedError,
    "EXPIRED_IN_QUEUE": DeadlineError,
    "DEADLINE_EXCEEDED": DeadlineError,
    "CANCELLED": CallCancelledError,
    "DRAINING": UnavailableError,
    "QUEUE_UNAVAILABLE": UnavailableError,
    "SERVICE_UNAVAILABLE": UnavailableError,
    "UNIMPLEMENTED": ServerError,
    "MAX_ATTEMPTS": ServerError,
    "INFERENCE_FAILED": ServerError,
    "CONFIG": ServerError,
    "INTERNAL": ServerError,
}

_BY_CODE: dict[grpc.StatusCode, type[DunlinError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: AuthError,
    grpc.StatusCode.PERMISSION_DENIED: AuthError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
}

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def from_status(status: status_pb2.Status, pushback: float | None = None, request_id: str = "") -> DunlinError:
    """The error that a `google.rpc.Status` tells, of a call or inside an `ImageResult`."""
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad = error_details_pb2.BadRequest()
    request = error_details_pb2.RequestInfo()
    found = error_details_pb2.ResourceInfo()
    retry_after = pushback
    for detail in status.details:
        for message in (info, bad, request, found):
            detail.Unpack(message)
        if detail.Unpack(retry):
            delay = retry.retry_delay
            retry_after = max(pushback or 0.0, delay.seconds + delay.nanos / 1e9)
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    kind = _BY_REASON.get(info.reason) or _BY_CODE.get(code, ServerError)
    return kind(
        status.message,
        reason=info.reason,
        code=code,
        metadata=info.metadata,
        retry_after=retry_after,
        request_id=request.request_id or request_id,
        violations=tuple(Violation(one.field, one.description) for one in bad.field_violations),
        resource=Resource(found.resource_type, found.resource_name) if found.resource_name else None,
    )


def from_call(code: grpc.StatusCode | None, message: str | None, trailing: Mapping[str, object]) -> DunlinError:
    """The error of a call that ended with `code`; `trailing` is its trailing metadata."""
    code = code or grpc.StatusCode.UNKNOWN
    status = status_pb2.Status()
    binary = trailing.get(_BINARY_STATUS)
    if isinstance(binary, bytes):
        try:
            status.ParseFromString(binary)
        except Exception:  # protobuf names no class for this in all its versions; a proxy may have cut it
            status.Clear()
    # What gRPC says holds; the details only add to it.
    status.code = code.value[0]
    status.message = message or status.message
    request_id = trailing.get(_REQUEST_ID)
    return from_status(status, _pushback(trailing.get(_PUSHBACK)), request_id if isinstance(request_id, str) else "")


def _pushback(value: object) -> float | None:
    """Seconds of `grpc-retry-pushback-ms` (gRPC A6); infinity for "do not retry"."""
    if value is None:
        return None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return int(text) / 1000 if text.isascii() and text.isdigit() else float("inf")
