"""What comes back for images: frozen dataclasses, times in seconds."""

from __future__ import annotations

import collections
import datetime
import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Union

from dunlin import _times, errors
from dunlin._pb import types_pb2


class Named(str, enum.Enum):
    """An enum that is its own name, so that `state == "SUCCEEDED"` works and a log shows the word."""

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


class ImageState(Named):
    """Where an image is."""

    UNSPECIFIED = "UNSPECIFIED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    #: Withdrawn before a worker started.
    CANCELLED = "CANCELLED"
    #: Its time was up before a worker started.
    EXPIRED = "EXPIRED"

    @classmethod
    def of(cls, number: int) -> ImageState:
        """The state of a number on the wire; a number of a newer service is UNSPECIFIED."""
        states = list(cls)
        return states[number] if 0 <= number < len(states) else cls.UNSPECIFIED


class Priority(Named):
    """Interactive images go before batch ones, without starving them."""

    INTERACTIVE = "INTERACTIVE"
    BATCH = "BATCH"


@dataclass(frozen=True)
class Classification:
    """One class.

    >>> str(Classification(281, "tabby", 0.8712))
    'tabby 87.1 %'
    """

    class_id: int
    label: str
    #: Softmax probability, 0 to 1.
    score: float

    def __str__(self) -> str:
        return f"{self.label} {self.score * 100:.1f} %"


@dataclass(frozen=True)
class Execution:
    """Where the time went and who did the work. Durations are in seconds."""

    model: str
    model_version: str
    worker_id: str
    instance_id: str
    #: 1: the first delivery.
    attempt: int
    cached: bool
    #: Images in the forward pass that held this one.
    batch_size: int
    queue_seconds: float
    fetch_seconds: float
    decode_seconds: float
    inference_seconds: float
    enqueue_time: datetime.datetime | None = None
    start_time: datetime.datetime | None = None
    end_time: datetime.datetime | None = None

    def __str__(self) -> str:
        where = "cache" if self.cached else self.worker_id or "unknown worker"
        times = f"queue {self.queue_seconds * 1000:.1f} ms, inference {self.inference_seconds * 1000:.1f} ms"
        return f"{self.model}@{self.model_version} by {where}: {times}"


@dataclass(frozen=True)
class ImageResult:
    """The outcome of one image: classes, or an error.

    >>> result = client.classify("cat.jpg")
    >>> print(result.label, result.score)
    tiger cat 0.39
    """

    #: Position among the images of the call.
    index: int
    #: The caller's name for the image, or the index.
    custom_id: str
    state: ImageState
    #: Best first; empty unless it succeeded.
    classifications: tuple[Classification, ...] = ()
    error: errors.DunlinError | None = field(default=None, compare=False)
    execution: Execution | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.state is ImageState.SUCCEEDED

    @property
    def top(self) -> Classification:
        """The best class; raises what went wrong if there is none."""
        self.raise_for_error()
        if not self.classifications:
            raise LookupError("no class reached min_score")
        return self.classifications[0]

    @property
    def label(self) -> str:
        """The best class's label; raises what went wrong if there is none."""
        return self.top.label

    @property
    def score(self) -> float:
        """The best class's score; raises what went wrong if there is none."""
        return self.top.score

    def raise_for_error(self) -> None:
        """Raises the image's error, if it has one."""
        if self.error is not None:
            raise self.error

    def __iter__(self) -> Iterator[Classification]:
        return iter(self.classifications)

    def __str__(self) -> str:
        told = ", ".join(str(one) for one in self.classifications) if self.ok else str(self.error or self.state)
        return f"{self.custom_id}: {told}"


@dataclass(frozen=True)
class Counts:
    """How many images ended how."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0


@dataclass(frozen=True)
class BatchResult:
    """All outcomes of a batch, in the order of its images. It is a sequence of them."""

    results: tuple[ImageResult, ...]
    counts: Counts

    def __iter__(self) -> Iterator[ImageResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> ImageResult:
        return self.results[index]


@dataclass(frozen=True)
class Progress:
    """An image changed its state, and has no result yet."""

    index: int
    custom_id: str
    state: ImageState
    #: About how many are ahead, when it is QUEUED.
    queue_depth: int
    estimated_wait: float | None
    #: When it is RUNNING.
    worker_id: str

    def __str__(self) -> str:
        if self.state is ImageState.RUNNING:
            return f"{self.custom_id}: running on {self.worker_id}"
        wait = "" if self.estimated_wait is None else f", about {self.estimated_wait:.1f} s"
        return f"{self.custom_id}: {self.queue_depth} ahead{wait}"


#: What `classify_stream(..., progress=True)` yields; without `progress`, results alone.
StreamEvent = Union[Progress, ImageResult]


def image_result(message: types_pb2.ImageResult, index: int | None = None) -> ImageResult:
    """From the wire; `index`: its position in the call, where that is not the one in the message."""
    state = ImageState.of(message.state)
    return ImageResult(
        index=message.index if index is None else index,
        custom_id=message.custom_id,
        state=state,
        classifications=tuple(Classification(one.class_id, one.label, one.score) for one in message.classifications),
        error=None if state is ImageState.SUCCEEDED else errors.from_status(message.error),
        execution=_execution(message.execution) if message.HasField("execution") else None,
    )


def _execution(message: types_pb2.ExecutionInfo) -> Execution:
    return Execution(
        model=message.model,
        model_version=message.model_version,
        worker_id=message.worker_id,
        instance_id=message.instance_id,
        attempt=message.attempt,
        cached=message.cached,
        batch_size=message.batch_size,
        queue_seconds=_times.seconds(message.queue_duration),
        fetch_seconds=_times.seconds(message.fetch_duration),
        decode_seconds=_times.seconds(message.decode_duration),
        inference_seconds=_times.seconds(message.inference_duration),
        enqueue_time=_times.time_or_none(message, "enqueue_time"),
        start_time=_times.time_or_none(message, "start_time"),
        end_time=_times.time_or_none(message, "end_time"),
    )


def progress(message: types_pb2.ImageProgress, index: int | None = None) -> Progress:
    """From the wire; `index` as in `image_result`."""
    return Progress(
        index=message.index if index is None else index,
        custom_id=message.custom_id,
        state=ImageState.of(message.state),
        queue_depth=message.queue_depth,
        estimated_wait=_times.seconds_or_none(message, "estimated_wait"),
        worker_id=message.worker_id,
    )


def counts(message: types_pb2.ResultCounts) -> Counts:
    """From the wire."""
    return Counts(message.total, message.succeeded, message.failed, message.cancelled, message.expired)


def unsent(index: int, custom_id: str, error: errors.DunlinError) -> ImageResult:
    """The outcome of an image that could not be read here, and so was not sent."""
    return ImageResult(index=index, custom_id=custom_id, state=ImageState.FAILED, error=error)


def batch_result(results: Iterable[ImageResult]) -> BatchResult:
    """The outcomes in order, counted."""
    ordered = tuple(sorted(results, key=lambda result: result.index))
    by_state = collections.Counter(result.state for result in ordered)
    counted = Counts(
        total=len(ordered),
        succeeded=by_state[ImageState.SUCCEEDED],
        failed=by_state[ImageState.FAILED],
        cancelled=by_state[ImageState.CANCELLED],
        expired=by_state[ImageState.EXPIRED],
    )
    return BatchResult(ordered, counted)
