"""What can be classified, and how it becomes bytes."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Union, cast

import grpc

from dunlin import _fetch, _png
from dunlin._pb import types_pb2
from dunlin.errors import ImageError


class Readable(Protocol):
    """A file object that is open for reading bytes."""

    def read(self) -> bytes: ...


class Picture(Protocol):
    """A PIL image, by what it can do."""

    @property
    def mode(self) -> str: ...

    def save(self, fp: Any, format: str | None = ..., **params: Any) -> None: ...

    def convert(self, mode: str) -> Any: ...


class Array(Protocol):
    """A numpy array, by what it can do: uint8, rows by columns, or by 1 to 4 channels."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def tobytes(self) -> bytes: ...


Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, Readable, Picture, Array]


@dataclass(frozen=True)
class Image:
    """An image with a name of the caller's own, which comes back with its result.

    >>> client.classify(Image("photos/0001.jpg", custom_id="order-17"))
    """

    source: Source
    #: Unique within one call. Default: the position among its images, or a single file's name.
    custom_id: str = ""


AnyImage = Union[Source, Image]


@dataclass(frozen=True)
class Limits:
    """What an image may cost to read here."""

    #: The gateway's own default (--image-bytes-max).
    image_bytes_max: int = 10 * 1024 * 1024
    #: For one http(s) address. A picture of the limit above over 3 Mbit/s.
    fetch_seconds_max: float = 30.0


def load(image: AnyImage, limits: Limits, custom_id: str | None = None) -> types_pb2.Image:
    """The image as it is sent. Raises `ImageError` (`IMAGE_UNREADABLE`) where it cannot be read, and `TypeError` for what
    is no kind of image. `custom_id`: for one without a name; None: a file's own name.
    """
    source, name = (image.source, image.custom_id) if isinstance(image, Image) else (image, "")
    if not name:
        name = _own_name(source) if custom_id is None else custom_id
    if isinstance(source, str) and source.startswith("s3://"):
        return types_pb2.Image(uri=source, custom_id=name)
    content = _content(source, limits)
    if len(content) > limits.image_bytes_max:
        raise ImageError(
            f"the image has {len(content)} bytes, the limit is {limits.image_bytes_max}",
            reason="IMAGE_TOO_LARGE",
            code=grpc.StatusCode.INVALID_ARGUMENT,
            metadata={"limit": str(limits.image_bytes_max), "found": str(len(content))},
        )
    return types_pb2.Image(content=content, custom_id=name)


def _own_name(source: Source) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.path.basename(str(source).split("?")[0] if is_address(source) else os.fspath(source))
    return ""


def is_address(source: object) -> bool:
    """Whether it is fetched over HTTP."""
    return isinstance(source, str) and source.startswith(("http://", "https://"))


def _content(source: Source, limits: Limits) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, str) and is_address(source):
        try:
            return _fetch.fetch(source, limits.image_bytes_max, limits.fetch_seconds_max)
        except _fetch.FetchError as error:
            raise _unreadable(source, error) from error
    if isinstance(source, (str, os.PathLike)):
        return _file(source, limits.image_bytes_max)
    if hasattr(source, "save") and hasattr(source, "mode"):
        return _picture(cast(Picture, source))
    if hasattr(source, "tobytes") and hasattr(source, "shape"):
        return _array(cast(Array, source))
    if hasattr(source, "read"):
        content = source.read()
        if not isinstance(content, bytes):
            raise TypeError(f"the file gives {type(content).__name__}: open it for reading bytes, with mode 'rb'")
        return content
    raise TypeError(
        f"{type(source).__name__} is no image: give a path, bytes, an open file, a PIL image, a numpy array or an address"
    )


def _file(path: str | os.PathLike[str], bytes_max: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            # One more tells that it is too large, and no more than that is read of what never ends.
            return file.read(bytes_max + 1)
    except OSError as error:
        raise _unreadable(os.fspath(path), error) from error


def _picture(picture: Picture) -> bytes:
    """PNG, which loses nothing. Modes it has no place for are converted."""
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        picture = picture.convert("RGB")
    out = io.BytesIO()
    picture.save(out, format="PNG", compress_level=1)
    return out.getvalue()


def _array(array: Array) -> bytes:
    if str(array.dtype) != "uint8":
        raise TypeError(f"an array of {array.dtype} has no one meaning as pixels: convert it to uint8, 0 to 255")
    if len(array.shape) not in (2, 3):
        raise TypeError(f"an array of shape {tuple(array.shape)} is no image: (height, width) or (height, width, channels)")
    height, width = array.shape[:2]
    channels = array.shape[2] if len(array.shape) == 3 else 1
    return _png.encode(array.tobytes(), height, width, channels)


def _unreadable(what: str, error: Exception) -> ImageError:
    told = f"{type(error).__name__}" if not str(error) else str(error)
    return ImageError(
        f"cannot read {what}: {told}" if what not in told else told,
        reason="IMAGE_UNREADABLE",
        code=grpc.StatusCode.INVALID_ARGUMENT,
    )
