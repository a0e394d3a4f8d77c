"""The client for asyncio. `client.py` is its twin: what methods do is told there at length."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from dunlin import _channel, _classify, _health, images, results
from dunlin._aio_autoscaler import AsyncAutoscaler
from dunlin._aio_connection import AsyncConnection
from dunlin._aio_jobs import AsyncJobs
from dunlin._connection import Settings
from dunlin._plan import Following
from dunlin._retry import Retry

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncClient:
    """A connection to Dunlin for asyncio: `Client`, which see, with `await`, `async for` and `async with`.

    >>> async with dunlin.AsyncClient("127.0.0.1:8000") as client:
    ...     print((await client.classify("cat.jpg")).label)
    tiger cat

    It belongs to the event loop in which it is first used. Cancelling a task cancels its call.
    """

    def __init__(
        self,
        address: str = _channel.ADDRESS,
        *,
        autoscaler_address: str | None = None,
        key: str | None = None,
        tls: _channel.Tls | bool | None = None,
        timeout: float = _channel.TIMEOUT,
        retry: Retry | None = None,
        limits: images.Limits | None = None,
        actor: str | None = None,
    ) -> None:
        settings = Settings(address, autoscaler_address, key, tls, timeout, retry or Retry(), actor)
        self._limits = limits or images.Limits()
        self._connection = AsyncConnection(settings)
        #: Images to be classified later.
        self.jobs = AsyncJobs(self._connection, self._limits)
        #: What the fleet does, why, and what it shall do.
        self.autoscaler = AsyncAutoscaler(self._connection)

    async def classify(
        self,
        image: images.AnyImage,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> results.ImageResult:
        """Classifies one image and waits for the answer; raises what went wrong.

        >>> (await client.classify("cat.jpg", top_k=1, timeout=10)).label
        'tiger cat'

        options: `model`, `top_k`, `min_score`, `priority`, `max_queue`, `no_cache` (see `Options`).
        request_id: the same call under the same id within a day gets the first one's answer. Default: a new one. Empty:
            none, which spares a service with a store two writes a call; a repetition may then be classified again.
        """
        asked = _classify.options(**options)
        # Reading may take long: files, addresses, and pictures to be written.
        loaded = await asyncio.to_thread(images.load, image, self._limits)
        call = _classify.one(loaded, asked, request_id)
        return await self._connection.call(call, timeout)

    async def classify_batch(
        self,
        many: Iterable[images.AnyImage],
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> results.BatchResult:
        """Classifies many images and waits for all of them. An image that fails is a result with an error.

        >>> batch = await client.classify_batch(["cat.jpg", "broken.jpg"])
        >>> [result.ok for result in batch], batch.counts.succeeded
        ([True, False], 1)

        What does not fit one message is sent in several, one after the other. The rest is as in `classify`.
        """
        deadline = self._connection.deadline(timeout)
        asked = _classify.options(**options)
        done: list[results.ImageResult] = []
        groups = _classify.groups(many, self._limits, _classify.BATCH_GROUP_MAX)
        async for group, group_id in _in_thread(zip(groups, _classify.ids(request_id))):
            done.extend(group.unsent)
            if group.images:
                answered = await self._connection.call_until(_classify.batch(group, asked, group_id), deadline)
                done.extend(answered)
        return results.batch_result(done)

    @overload
    def classify_stream(
        self,
        many: Iterable[images.AnyImage],
        *,
        progress: Literal[False] = False,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> AsyncGenerator[results.ImageResult, None]: ...

    @overload
    def classify_stream(
        self,
        many: Iterable[images.AnyImage],
        *,
        progress: bool,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> AsyncGenerator[results.StreamEvent, None]: ...

    def classify_stream(
        self,
        many: Iterable[images.AnyImage],
        *,
        progress: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> AsyncGenerator[Any, None]:
        """Classifies many images; yields one result for each, as they finish. `result.index` tells which it is.

        >>> async for result in client.classify_stream(Path("photos").glob("*.jpg")):
        ...     print(result)

        Images are read as they are needed, and sent in groups of at most 64, the next while one is worked on. An image
        that fails is a result with an error. A stream that breaks is taken up again; each image still gets one result.
        Closing the iterator cancels what is not done.

        progress: also yield a `Progress` when an image's place in the queue changes or a worker starts on it.
        timeout: of the whole; default: none, and the client's default for each group.
        """
        asked = _classify.options(**options)
        unsent: list[results.ImageResult] = []

        async def plans() -> AsyncGenerator[Following[results.StreamEvent], None]:
            groups = _classify.groups(many, self._limits, _classify.STREAM_GROUP_MAX)
            async for group, group_id in _in_thread(zip(groups, _classify.ids(request_id))):
                unsent.extend(group.unsent)
                if group.images:
                    yield _classify.Stream(group, asked, group_id, progress)

        return self._stream(plans(), unsent, timeout)

    async def _stream(
        self,
        plans: AsyncGenerator[Following[results.StreamEvent], None],
        unsent: list[results.ImageResult],
        timeout: float | None,
    ) -> AsyncGenerator[results.StreamEvent, None]:
        events = self._connection.follow_all(plans, timeout)
        try:
            async for event in events:
                while unsent:
                    yield unsent.pop(0)
                yield event
            while unsent:
                yield unsent.pop(0)
        finally:
            await events.aclose()

    async def health(self, service: str = "", *, timeout: float | None = None) -> bool:
        """Whether the service takes new work. No worker being there is healthy: one is started for the first image.

        >>> await client.health()
        True
        """
        return await self._connection.call(_health.check(service), timeout)

    async def close(self) -> None:
        """Cancels what is running and closes the connection."""
        await self._connection.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._connection.settings.address!r})"


async def _in_thread(
    groups: Iterator[tuple[_classify.Group, str]],
) -> AsyncGenerator[tuple[_classify.Group, str], None]:
    """Reads images in a thread, so that the event loop goes on."""
    while True:
        found = await asyncio.to_thread(next, groups, None)
        if found is None:
            return
        yield found
