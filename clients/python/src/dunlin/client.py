"""The blocking client."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from dunlin import _channel, _classify, _health, images, results
from dunlin._autoscaler import Autoscaler
from dunlin._connection import Connection, Settings
from dunlin._jobs import Jobs
from dunlin._plan import Following
from dunlin._retry import Retry

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Client:
    """A connection to Dunlin. It may be used by many threads at once.

    An image is a path, bytes, an open file, a PIL image, a numpy array of uint8, an http(s) address (fetched here) or an
    s3:// one (read by the service), or an `Image` that gives any of them a name.

    >>> with dunlin.Client("127.0.0.1:8000") as client:
    ...     print(client.classify("cat.jpg").label)
    tiger cat

    address: `host:port`, or with `https://` in front for TLS.
    autoscaler_address: where the autoscaler is asked, if not through the same port.
    key: sent as `authorization: Bearer`. Without TLS it can be read on the way.
    tls: True, or a `Tls` with files.
    timeout: seconds a call may take with its repetitions, where it says nothing else; infinity is none.
    retry: how often and how patiently a call is made again.
    limits: what an image may cost to read here.
    actor: who asks, as the autoscaler writes it down beside what is changed.
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
        self._connection = Connection(settings)
        #: Images to be classified later.
        self.jobs = Jobs(self._connection, self._limits)
        #: What the fleet does, why, and what it shall do.
        self.autoscaler = Autoscaler(self._connection)

    def classify(
        self,
        image: images.AnyImage,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> results.ImageResult:
        """Classifies one image and waits for the answer; raises what went wrong.

        >>> client.classify(open("cat.jpg", "rb"), top_k=1, timeout=10).label
        'tiger cat'

        options: `model`, `top_k`, `min_score`, `priority`, `max_queue`, `no_cache` (see `Options`).
        request_id: the same call under the same id within a day gets the first one's answer. Default: a new one. Empty:
            none, which spares a service with a store two writes a call; a repetition may then be classified again.
        """
        asked = _classify.options(**options)
        call = _classify.one(images.load(image, self._limits), asked, request_id)
        return self._connection.call(call, timeout)

    def classify_batch(
        self,
        many: Iterable[images.AnyImage],
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> results.BatchResult:
        """Classifies many images and waits for all of them. An image that fails is a result with an error.

        >>> batch = client.classify_batch(["cat.jpg", "broken.jpg"])
        >>> [result.ok for result in batch], batch.counts.succeeded
        ([True, False], 1)

        What does not fit one message is sent in several, one after the other. The rest is as in `classify`.
        """
        deadline = self._connection.deadline(timeout)
        asked = _classify.options(**options)
        done: list[results.ImageResult] = []
        groups = _classify.groups(many, self._limits, _classify.BATCH_GROUP_MAX)
        for group, group_id in zip(groups, _classify.ids(request_id)):
            done.extend(group.unsent)
            if group.images:
                answered = self._connection.call_until(_classify.batch(group, asked, group_id), deadline)
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
    ) -> Generator[results.ImageResult, None, None]: ...

    @overload
    def classify_stream(
        self,
        many: Iterable[images.AnyImage],
        *,
        progress: bool,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> Generator[results.StreamEvent, None, None]: ...

    def classify_stream(
        self,
        many: Iterable[images.AnyImage],
        *,
        progress: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[_classify.Options],
    ) -> Generator[Any, None, None]:
        """Classifies many images; yields one result for each, as they finish. `result.index` tells which it is.

        >>> for result in client.classify_stream(Path("photos").glob("*.jpg")):
        ...     print(result)

        Images are read as they are needed, and sent in groups of at most 64, the next while one is worked on. An image
        that fails is a result with an error. A stream that breaks is taken up again; each image still gets one result.
        Closing the iterator cancels what is not done.

        progress: also yield a `Progress` when an image's place in the queue changes or a worker starts on it.
        timeout: of the whole; default: none, and the client's default for each group.
        """
        asked = _classify.options(**options)
        unsent: list[results.ImageResult] = []

        def plans() -> Generator[Following[results.StreamEvent], None, None]:
            groups = _classify.groups(many, self._limits, _classify.STREAM_GROUP_MAX)
            for group, group_id in zip(groups, _classify.ids(request_id)):
                unsent.extend(group.unsent)
                if group.images:
                    yield _classify.Stream(group, asked, group_id, progress)

        return self._stream(plans(), unsent, timeout)

    def _stream(
        self,
        plans: Generator[Following[results.StreamEvent], None, None],
        unsent: list[results.ImageResult],
        timeout: float | None,
    ) -> Generator[results.StreamEvent, None, None]:
        events = self._connection.follow_all(plans, timeout)
        try:
            for event in events:
                while unsent:
                    yield unsent.pop(0)
                yield event
            while unsent:
                yield unsent.pop(0)
        finally:
            events.close()

    def health(self, service: str = "", *, timeout: float | None = None) -> bool:
        """Whether the service takes new work. No worker being there is healthy: one is started for the first image.

        >>> client.health()
        True
        """
        return self._connection.call(_health.check(service), timeout)

    def close(self) -> None:
        """Cancels what is running and closes the connection."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._connection.settings.address!r})"
