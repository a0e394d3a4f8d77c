import datetime
from dunlin._pb import types_pb2 as _types_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClassifyRequest(_message.Message):
    __slots__ = ("image", "options", "request_id")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    image: _types_pb2.Image
    options: _types_pb2.ClassifyOptions
    request_id: str
    def __init__(self, image: _Optional[_Union[_types_pb2.Image, _Mapping[str, object]]] = ..., options: _Optional[_Union[_types_pb2.ClassifyOptions, _Mapping[str, object]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _types_pb2.ImageResult
    def __init__(self, result: _Optional[_Union[_types_pb2.ImageResult, _Mapping[str, object]]] = ...) -> None: ...

class BatchClassifyRequest(_message.Message):
    __slots__ = ("images", "options", "request_id")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    options: _types_pb2.ClassifyOptions
    request_id: str
    def __init__(self, images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping[str, object]]]] = ..., options: _Optional[_Union[_types_pb2.ClassifyOptions, _Mapping[str, object]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchClassifyResponse(_message.Message):
    __slots__ = ("results", "counts")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_types_pb2.ImageResult]
    counts: _types_pb2.ResultCounts
    def __init__(self, results: _Optional[_Iterable[_Union[_types_pb2.ImageResult, _Mapping[str, object]]]] = ..., counts: _Optional[_Union[_types_pb2.ResultCounts, _Mapping[str, object]]] = ...) -> None: ...

class ClassifyStreamRequest(_message.Message):
    __slots__ = ("images", "options", "request_id", "include_progress")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    options: _types_pb2.ClassifyOptions
    request_id: str
    include_progress: bool
    def __init__(self, images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping[str, object]]]] = ..., options: _Optional[_Union[_types_pb2.ClassifyOptions, _Mapping[str, object]]] = ..., request_id: _Optional[str] = ..., include_progress: bool = ...) -> None: ...

class ClassifyStreamResponse(_message.Message):
    __slots__ = ("sequence", "accepted", "progress", "result", "summary", "heartbeat")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    accepted: StreamAccepted
    progress: _types_pb2.ImageProgress
    result: _types_pb2.ImageResult
    summary: StreamSummary
    heartbeat: StreamHeartbeat
    def __init__(self, sequence: _Optional[int] = ..., accepted: _Optional[_Union[StreamAccepted, _Mapping[str, object]]] = ..., progress: _Optional[_Union[_types_pb2.ImageProgress, _Mapping[str, object]]] = ..., result: _Optional[_Union[_types_pb2.ImageResult, _Mapping[str, object]]] = ..., summary: _Optional[_Union[StreamSummary, _Mapping[str, object]]] = ..., heartbeat: _Optional[_Union[StreamHeartbeat, _Mapping[str, object]]] = ...) -> None: ...

class StreamAccepted(_message.Message):
    __slots__ = ("request_id", "image_count", "estimated_wait", "ready_workers", "starting_workers")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_WAIT_FIELD_NUMBER: _ClassVar[int]
    READY_WORKERS_FIELD_NUMBER: _ClassVar[int]
    STARTING_WORKERS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    image_count: int
    estimated_wait: _duration_pb2.Duration
    ready_workers: int
    starting_workers: int
    def __init__(self, request_id: _Optional[str] = ..., image_count: _Optional[int] = ..., estimated_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., ready_workers: _Optional[int] = ..., starting_workers: _Optional[int] = ...) -> None: ...

class StreamSummary(_message.Message):
    __slots__ = ("counts", "total_duration")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DURATION_FIELD_NUMBER: _ClassVar[int]
    counts: _types_pb2.ResultCounts
    total_duration: _duration_pb2.Duration
    def __init__(self, counts: _Optional[_Union[_types_pb2.ResultCounts, _Mapping[str, object]]] = ..., total_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ...) -> None: ...

class StreamHeartbeat(_message.Message):
    __slots__ = ("time",)
    TIME_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ...) -> None: ...

class BidiClassifyRequest(_message.Message):
    __slots__ = ("options", "image", "cancel_custom_id")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_CUSTOM_ID_FIELD_NUMBER: _ClassVar[int]
    options: _types_pb2.ClassifyOptions
    image: _types_pb2.Image
    cancel_custom_id: str
    def __init__(self, options: _Optional[_Union[_types_pb2.ClassifyOptions, _Mapping[str, object]]] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping[str, object]]] = ..., cancel_custom_id: _Optional[str] = ...) -> None: ...

class BidiClassifyResponse(_message.Message):
    __slots__ = ("sequence", "progress", "result", "credit")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    progress: _types_pb2.ImageProgress
    result: _types_pb2.ImageResult
    credit: int
    def __init__(self, sequence: _Optional[int] = ..., progress: _Optional[_Union[_types_pb2.ImageProgress, _Mapping[str, object]]] = ..., result: _Optional[_Union[_types_pb2.ImageResult, _Mapping[str, object]]] = ..., credit: _Optional[int] = ...) -> None: ...
