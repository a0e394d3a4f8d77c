"""Carries out calls and streams over gRPC, blocking: attempts, deadlines, errors."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from dunlin import _channel, _methods, errors
from dunlin._plan import Call, Deadline, Following
from dunlin._retry import Retry

Out = TypeVar("Out")
#: Streams that are open at once where many follow one another: the next is worked on while one is read.
AHEAD = 2


@dataclass(frozen=True)
class Settings:
    """What a client was made with."""

    address: str = _channel.ADDRESS
    autoscaler_address: str | None = None
    key: str | None = field(default=None, repr=False)
    tls: _channel.Tls | bool | None = None
    timeout: float = _channel.TIMEOUT
    retry: Retry = field(default_factory=Retry)
    actor: str | None = None


def failure(error: grpc.RpcError) -> errors.DunlinError:
    """The typed error of a call that failed."""
    code, told = getattr(error, "code", None), getattr(error, "details", None)
    trailing = getattr(error, "trailing_metadata", None)
    pairs = (trailing() if callable(trailing) else None) or ()
    return errors.from_call(
        code() if callable(code) else None,
        told() if callable(told) else None,
        {str(key): value for key, value in pairs},
    )


def broken_off() -> errors.DunlinError:
    """A stream that ended well, and too early."""
    return errors.UnavailableError("the stream ended before everything had come", code=grpc.StatusCode.UNAVAILABLE)


class Running:
    """A stream that was opened."""

    def __init__(self, plan: Following[Any], call: Any, deadline: Deadline) -> None:
        self.plan = plan
        self.call = call
        self.deadline = deadline


class Connection:
    """The channels of one client."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._metadata = _channel.metadata(settings.key, settings.actor)
        self._channel = self._connect(settings.address)
        elsewhere = settings.autoscaler_address
        self._autoscaler = self._channel if elsewhere is None else self._connect(elsewhere)

    def _connect(self, address: str) -> grpc.Channel:
        target = _channel.target(address, self.settings.tls)
        if target.credentials is None:
            return grpc.insecure_channel(target.address, options=target.options)
        return grpc.secure_channel(target.address, target.credentials, options=target.options)

    def close(self) -> None:
        """Cancels what is running and closes the connections."""
        self._channel.close()
        self._autoscaler.close()

    def _channel_of(self, path: str) -> grpc.Channel:
        return self._autoscaler if path.startswith(_methods.AUTOSCALER) else self._channel

    def deadline(self, timeout: float | None) -> Deadline:
        """Of one call; None: the client's default."""
        return Deadline(self.settings.timeout if timeout is None else timeout)

    def call(self, call: Call[Out], timeout: float | None = None) -> Out:
        """Makes the call, again where that is safe and can help."""
        return self.call_until(call, self.deadline(timeout))

    def call_until(self, call: Call[Out], deadline: Deadline) -> Out:
        """The same with a deadline that others share."""
        method = call.method
        ask: Any = self._channel_of(method.path).unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        attempt = 1
        while True:
            try:
                return call.convert(ask(call.request, timeout=deadline.left(), metadata=self._metadata))
            except grpc.RpcError as error:
                failed = failure(error)
            self._pause(failed, attempt, deadline)
            attempt += 1

    def _pause(self, failed: errors.DunlinError, attempt: int, deadline: Deadline) -> None:
        """Waits until the next attempt may be made, or raises the error."""
        delay = self.settings.retry.delay(failed, attempt, deadline.left())
        if delay is None:
            raise failed
        time.sleep(delay)

    def _open(self, plan: Following[Any], deadline: Deadline) -> Running:
        method = plan.method
        ask: Any = self._channel_of(method.path).unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return Running(plan, ask(plan.request(), timeout=deadline.left(), metadata=self._metadata), deadline)

    def follow(self, plan: Following[Out], timeout: float | None = None) -> Generator[Out, None, None]:
        """What a stream gives, taken up again where it breaks. Closing it cancels the call."""
        deadline = self.deadline(timeout)
        yield from self._drain(self._open(plan, deadline))

    def follow_all(self, plans: Iterable[Following[Out]], timeout: float | None = None) -> Generator[Out, None, None]:
        """What many streams give, one after the other, each opened while the one before is read. `timeout`: of all of
        them; None: the client's default for each.
        """
        shared = None if timeout is None else Deadline(timeout)
        opened: deque[Running] = deque()
        try:
            for plan in plans:
                opened.append(self._open(plan, shared or self.deadline(None)))
                if len(opened) == AHEAD:
                    yield from self._drain(opened.popleft())
            while opened:
                yield from self._drain(opened.popleft())
        finally:
            for running in opened:
                running.call.cancel()

    def _drain(self, running: Running) -> Iterator[Any]:
        plan, attempt = running.plan, 1
        while True:
            try:
                for message in running.call:
                    for out in plan.take(message):
                        # Something new came: the next break is a first one again.
                        attempt = 1
                        yield out
                if plan.ended:
                    return
                failed = broken_off()
            except grpc.RpcError as error:
                failed = failure(error)
            finally:
                running.call.cancel()
            if plan.complete:
                return
            if not plan.resumable:
                raise failed
            self._pause(failed, attempt, running.deadline)
            attempt += 1
            running = self._open(plan, running.deadline)
