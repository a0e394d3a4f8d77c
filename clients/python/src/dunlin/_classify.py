"""Classifying as plans for the clients: requests, groups of images that fit a message, streams that resume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from dunlin import _methods, _reading, _times, results
from dunlin._pb import classifier_service_pb2, types_pb2
from dunlin._plan import Call, request_id
from dunlin.images import AnyImage, Limits
from dunlin.results import ImageResult, Priority, StreamEvent

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Half of what the gateway reads as one message (32 MiB), so that the largest image still fits a group begun.
GROUP_BYTES_MAX = 16 * 1024 * 1024
#: Of one stream: small enough that results come before many more images are read.
STREAM_GROUP_MAX = 64
#: Of one batch: the gateway's own default (--images-per-request-max).
BATCH_GROUP_MAX = 1000


class Options(TypedDict, total=False):
    """What to return, and how long it may take. All methods that classify take these by name."""

    #: `name` or `name@version`; default: the service's.
    model: str
    #: Classes to return, best first; default 5.
    top_k: int
    #: Leave out classes below this score, 0 to 1.
    min_score: float
    #: Default: INTERACTIVE, for jobs BATCH.
    priority: Priority
    #: The longest an image may wait in the queue, in seconds.
    max_queue: float
    #: Classify anew what the service remembers.
    no_cache: bool


_PRIORITIES = {
    Priority.INTERACTIVE: types_pb2.PRIORITY_INTERACTIVE,
    Priority.BATCH: types_pb2.PRIORITY_BATCH,
}


def options(**given: Unpack[Options]) -> types_pb2.ClassifyOptions:
    """As they are sent."""
    unknown = given.keys() - Options.__annotations__.keys()
    if unknown:
        known = ", ".join(Options.__annotations__)
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}; known: {known}")
    message = types_pb2.ClassifyOptions(
        model=given.get("model", ""),
        top_k=given.get("top_k", 0),
        min_score=given.get("min_score", 0.0),
        no_cache=given.get("no_cache", False),
    )
    if "priority" in given:
        message.priority = _PRIORITIES[Priority(given["priority"])]
    if "max_queue" in given:
        _times.set_seconds(message.max_queue_duration, given["max_queue"])
    return message


def one(image: types_pb2.Image, asked: types_pb2.ClassifyOptions, given_id: str | None) -> Call[ImageResult]:
    """The call for one image."""
    own_id = request_id() if given_id is None else given_id
    request = classifier_service_pb2.ClassifyRequest(image=image, options=asked, request_id=own_id)
    return Call(_methods.CLASSIFY, request, lambda answer: results.image_result(answer.result))


@dataclass
class Group:
    """Images that go in one message, and those that could not be read."""

    images: list[types_pb2.Image] = field(default_factory=list)
    #: Position of each in the whole call.
    indices: list[int] = field(default_factory=list)
    unsent: list[ImageResult] = field(default_factory=list)
    bytes: int = 0

    def __len__(self) -> int:
        return len(self.images) + len(self.unsent)


def groups(images: Iterable[AnyImage], limits: Limits, count_max: int) -> Iterator[Group]:
    """Cuts images into groups that fit a message, reading each when its turn comes."""
    group = Group()
    for index, image in enumerate(_reading.read(images, limits)):
        size = 0 if isinstance(image, ImageResult) else image.ByteSize()
        if group.images and group.bytes + size > GROUP_BYTES_MAX:
            yield group
            group = Group()
        if isinstance(image, ImageResult):
            group.unsent.append(image)
        else:
            group.images.append(image)
            group.indices.append(index)
            group.bytes += size
        if len(group) >= count_max:
            yield group
            group = Group()
    if len(group):
        yield group


def batch(group: Group, asked: types_pb2.ClassifyOptions, given_id: str) -> Call[list[ImageResult]]:
    """The call for a group, all at once."""
    request = classifier_service_pb2.BatchClassifyRequest(images=group.images, options=asked, request_id=given_id)

    def convert(answer: classifier_service_pb2.BatchClassifyResponse) -> list[ImageResult]:
        return [results.image_result(result, group.indices[result.index]) for result in answer.results]

    return Call(_methods.BATCH_CLASSIFY, request, convert)


class Stream:
    """One group as a stream. Sent again under its id, the service does not classify again what it has; what has been given
    out already is left out.
    """

    method = _methods.CLASSIFY_STREAM
    resumable = True

    def __init__(self, group: Group, asked: types_pb2.ClassifyOptions, given_id: str, progress: bool) -> None:
        self._request = classifier_service_pb2.ClassifyStreamRequest(
            images=group.images, options=asked, request_id=given_id, include_progress=progress
        )
        self._indices = group.indices
        self._open = set(range(len(group.images)))

    @property
    def ended(self) -> bool:
        """Whether every image has its result."""
        return not self._open

    complete = ended

    def request(self) -> classifier_service_pb2.ClassifyStreamRequest:
        """Always the same: the id stands for it."""
        return self._request

    def take(self, message: Any) -> Iterator[StreamEvent]:
        """Results that are new, and progress of images without one."""
        kind = message.WhichOneof("event")
        if kind == "result":
            index = message.result.index
            if index in self._open:
                self._open.discard(index)
                yield results.image_result(message.result, self._indices[index])
        elif kind == "progress" and message.progress.index in self._open:
            yield results.progress(message.progress, self._indices[message.progress.index])


def ids(given_id: str | None) -> Iterator[str]:
    """An id for each group of a call: each is a request of its own."""
    first = request_id() if given_id is None else given_id
    number = 0
    while True:
        yield first if number == 0 or not first else f"{first}-{number}"
        number += 1
