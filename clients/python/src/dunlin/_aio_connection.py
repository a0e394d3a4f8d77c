"""Carries out calls and streams over gRPC for asyncio: attempts, deadlines, errors. `_connection.py` is its twin."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, TypeVar

import grpc
import grpc.aio

from dunlin import _channel, _methods, errors
from dunlin._connection import AHEAD, Running, Settings, broken_off, failure
from dunlin._plan import Call, Deadline, Following

Out = TypeVar("Out")


class AsyncConnection:
    """The channels of one client. They belong to the event loop that is running when they are first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._metadata = _channel.metadata(settings.key, settings.actor)
        self._targets = (settings.address, settings.autoscaler_address or settings.address)
        # Read now, so that a wrong address or a missing file is told where the client is made.
        self._read = [_channel.target(address, settings.tls) for address in self._targets]
        self._channels: dict[str, grpc.aio.Channel] = {}

    def _channel_of(self, path: str) -> grpc.aio.Channel:
        target = self._read[1 if path.startswith(_methods.AUTOSCALER) else 0]
        channel = self._channels.get(target.address)
        if channel is None:
            if target.credentials is None:
                channel = grpc.aio.insecure_channel(target.address, options=target.options)
            else:
                channel = grpc.aio.secure_channel(target.address, target.credentials, options=target.options)
            self._channels[target.address] = channel
        return channel

    async def close(self) -> None:
        """Cancels what is running and closes the connections."""
        for channel in self._channels.values():
            await channel.close()

    def deadline(self, timeout: float | None) -> Deadline:
        """Of one call; None: the client's default."""
        return Deadline(self.settings.timeout if timeout is None else timeout)

    async def call(self, call: Call[Out], timeout: float | None = None) -> Out:
        """Makes the call, again where that is safe and can help."""
        return await self.call_until(call, self.deadline(timeout))

    async def call_until(self, call: Call[Out], deadline: Deadline) -> Out:
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
                return call.convert(await ask(call.request, timeout=deadline.left(), metadata=self._metadata))
            except grpc.RpcError as error:
                failed = failure(error)
            await self._pause(failed, attempt, deadline)
            attempt += 1

    async def _pause(self, failed: errors.DunlinError, attempt: int, deadline: Deadline) -> None:
        """Waits until the next attempt may be made, or raises the error."""
        delay = self.settings.retry.delay(failed, attempt, deadline.left())
        if delay is None:
            raise failed
        await asyncio.sleep(delay)

    def _open(self, plan: Following[Any], deadline: Deadline) -> Running:
        method = plan.method
        ask: Any = self._channel_of(method.path).unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return Running(plan, ask(plan.request(), timeout=deadline.left(), metadata=self._metadata), deadline)

    async def follow(self, plan: Following[Out], timeout: float | None = None) -> AsyncGenerator[Out, None]:
        """What a stream gives, taken up again where it breaks. Closing it cancels the call."""
        deadline = self.deadline(timeout)
        events = self._drain(self._open(plan, deadline))
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def follow_all(
        self, plans: AsyncIterable[Following[Out]], timeout: float | None = None
    ) -> AsyncGenerator[Out, None]:
        """What many streams give, one after the other, each opened while the one before is read. `timeout`: of all of
        them; None: the client's default for each.
        """
        shared = None if timeout is None else Deadline(timeout)
        opened: deque[AsyncGenerator[Any, None]] = deque()
        calls: list[Running] = []
        try:
            async for plan in plans:
                running = self._open(plan, shared or self.deadline(None))
                calls = [*calls[-AHEAD:], running]
                opened.append(self._drain(running))
                if len(opened) == AHEAD:
                    async for event in opened[0]:
                        yield event
                    opened.popleft()
            while opened:
                async for event in opened[0]:
                    yield event
                opened.popleft()
        finally:
            for events in opened:
                await events.aclose()
            # One that was not begun to be read has no `finally` of its own yet.
            for running in calls:
                running.call.cancel()

    async def _drain(self, running: Running) -> AsyncGenerator[Any, None]:
        plan, attempt = running.plan, 1
        while True:
            try:
                async for message in running.call:
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
            await self._pause(failed, attempt, running.deadline)
            attempt += 1
            running = self._open(plan, running.deadline)
