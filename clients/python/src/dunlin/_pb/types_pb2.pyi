import datetime
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from dunlin._pb import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_BATCH: _ClassVar[Priority]

class ImageState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_STATE_UNSPECIFIED: _ClassVar[ImageState]
    IMAGE_STATE_QUEUED: _ClassVar[ImageState]
    IMAGE_STATE_RUNNING: _ClassVar[ImageState]
    IMAGE_STATE_SUCCEEDED: _ClassVar[ImageState]
    IMAGE_STATE_FAILED: _ClassVar[ImageState]
    IMAGE_STATE_CANCELLED: _ClassVar[ImageState]
    IMAGE_STATE_EXPIRED: _ClassVar[ImageState]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_BATCH: Priority
IMAGE_STATE_UNSPECIFIED: ImageState
IMAGE_STATE_QUEUED: ImageState
IMAGE_STATE_RUNNING: ImageState
IMAGE_STATE_SUCCEEDED: ImageState
IMAGE_STATE_FAILED: ImageState
IMAGE_STATE_CANCELLED: ImageState
IMAGE_STATE_EXPIRED: ImageState

class Image(_message.Message):
    __slots__ = ("content", "uri", "custom_id")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_ID_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    uri: str
    custom_id: str
    def __init__(self, content: _Optional[bytes] = ..., uri: _Optional[str] = ..., custom_id: _Optional[str] = ...) -> None: ...

class ClassifyOptions(_message.Message):
    __slots__ = ("model", "top_k", "min_score", "priority", "max_queue_duration", "no_cache")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_DURATION_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    model: str
    top_k: int
    min_score: float
    priority: Priority
    max_queue_duration: _duration_pb2.Duration
    no_cache: bool
    def __init__(self, model: _Optional[str] = ..., top_k: _Optional[int] = ..., min_score: _Optional[float] = ..., priority: _Optional[_Union[Priority, str]] = ..., max_queue_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., no_cache: bool = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("class_id", "label", "score")
    CLASS_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    class_id: int
    label: str
    score: float
    def __init__(self, class_id: _Optional[int] = ..., label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class ExecutionInfo(_message.Message):
    __slots__ = ("model", "model_version", "worker_id", "instance_id", "attempt", "cached", "batch_size", "enqueue_time", "start_time", "end_time", "queue_duration", "fetch_duration", "decode_duration", "inference_duration")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    ENQUEUE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DURATION_FIELD_NUMBER: _ClassVar[int]
    FETCH_DURATION_FIELD_NUMBER: _ClassVar[int]
    DECODE_DURATION_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_DURATION_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_version: str
    worker_id: str
    instance_id: str
    attempt: int
    cached: bool
    batch_size: int
    enqueue_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    queue_duration: _duration_pb2.Duration
    fetch_duration: _duration_pb2.Duration
    decode_duration: _duration_pb2.Duration
    inference_duration: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., model_version: _Optional[str] = ..., worker_id: _Optional[str] = ..., instance_id: _Optional[str] = ..., attempt: _Optional[int] = ..., cached: bool = ..., batch_size: _Optional[int] = ..., enqueue_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., queue_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., fetch_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., decode_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., inference_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ...) -> None: ...

class ImageResult(_message.Message):
    __slots__ = ("index", "custom_id", "state", "classifications", "error", "execution")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    index: int
    custom_id: str
    state: ImageState
    classifications: _containers.RepeatedCompositeFieldContainer[Classification]
    error: _status_pb2.Status
    execution: ExecutionInfo
    def __init__(self, index: _Optional[int] = ..., custom_id: _Optional[str] = ..., state: _Optional[_Union[ImageState, str]] = ..., classifications: _Optional[_Iterable[_Union[Classification, _Mapping[str, object]]]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping[str, object]]] = ..., execution: _Optional[_Union[ExecutionInfo, _Mapping[str, object]]] = ...) -> None: ...

class ImageProgress(_message.Message):
    __slots__ = ("index", "custom_id", "state", "queue_depth", "estimated_wait", "worker_id")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_WAIT_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    index: int
    custom_id: str
    state: ImageState
    queue_depth: int
    estimated_wait: _duration_pb2.Duration
    worker_id: str
    def __init__(self, index: _Optional[int] = ..., custom_id: _Optional[str] = ..., state: _Optional[_Union[ImageState, str]] = ..., queue_depth: _Optional[int] = ..., estimated_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., worker_id: _Optional[str] = ...) -> None: ...

class ResultCounts(_message.Message):
    __slots__ = ("total", "succeeded", "failed", "cancelled", "expired")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    total: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int
    def __init__(self, total: _Optional[int] = ..., succeeded: _Optional[int] = ..., failed: _Optional[int] = ..., cancelled: _Optional[int] = ..., expired: _Optional[int] = ...) -> None: ...

class CloudCalls(_message.Message):
    __slots__ = ("service", "operation", "count")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    service: str
    operation: str
    count: int
    def __init__(self, service: _Optional[str] = ..., operation: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...
