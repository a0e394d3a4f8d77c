"""Reads many images in their order, each when its turn comes; addresses some time before, several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Union

from dunlin import results
from dunlin._pb import types_pb2
from dunlin.errors import DunlinError
from dunlin.images import AnyImage, Image, Limits, is_address, load
from dunlin.results import ImageResult

#: Addresses that are fetched at once: what a browser opens to one host, and a bit.
FETCHES_MAX = 8

#: As it is sent, or its result where it could not be read.
Read = Union[types_pb2.Image, ImageResult]


def read(images: Iterable[AnyImage], limits: Limits) -> Iterator[Read]:
    """One for each image. As long as no address comes, nothing is taken from `images` before it is needed."""
    ahead: deque[Callable[[], Read]] = deque()
    pool: ThreadPoolExecutor | None = None
    try:
        for index, image in enumerate(images):
            if is_address(image.source if isinstance(image, Image) else image):
                pool = pool or ThreadPoolExecutor(FETCHES_MAX, thread_name_prefix="dunlin-fetch")
                fetched: Future[Read] = pool.submit(_one, index, image, limits)
                ahead.append(fetched.result)
            elif ahead:
                ahead.append(_later(index, image, limits))
            else:
                yield _one(index, image, limits)
            if len(ahead) > FETCHES_MAX:
                yield ahead.popleft()()
        while ahead:
            yield ahead.popleft()()
    finally:
        if pool is not None:
            # Those that run end by their own limits.
            pool.shutdown(wait=False, cancel_futures=True)


def _later(index: int, image: AnyImage, limits: Limits) -> Callable[[], Read]:
    return lambda: _one(index, image, limits)


def _one(index: int, image: AnyImage, limits: Limits) -> Read:
    try:
        return load(image, limits, custom_id=str(index))
    except DunlinError as error:
        name = image.custom_id if isinstance(image, Image) else ""
        return results.unsent(index, name or str(index), error)
