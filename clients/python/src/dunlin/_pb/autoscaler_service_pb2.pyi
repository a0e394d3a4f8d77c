import datetime
from dunlin._pb import types_pb2 as _types_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InstanceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_STATE_UNSPECIFIED: _ClassVar[InstanceState]
    INSTANCE_STATE_STARTING: _ClassVar[InstanceState]
    INSTANCE_STATE_READY: _ClassVar[InstanceState]
    INSTANCE_STATE_DRAINING: _ClassVar[InstanceState]
    INSTANCE_STATE_STOPPING: _ClassVar[InstanceState]
    INSTANCE_STATE_STOPPED: _ClassVar[InstanceState]
    INSTANCE_STATE_LOST: _ClassVar[InstanceState]

class DayOfWeek(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DAY_OF_WEEK_UNSPECIFIED: _ClassVar[DayOfWeek]
    DAY_OF_WEEK_MONDAY: _ClassVar[DayOfWeek]
    DAY_OF_WEEK_TUESDAY: _ClassVar[DayOfWeek]
    DAY_OF_WEEK_WEDNESDAY: _ClassVar[DayOfWeek]
    DAY_OF_WEEK_THURSDAY: _ClassVar[DayOfWeek]
    DAY_OF_WEEK_FRIDAY: _ClassVar[DayOfWeek]
    DAY_OF_WEEK_SATURDAY: _ClassVar[DayOfWeek]
    DAY_OF_WEEK_SUNDAY: _ClassVar[DayOfWeek]

class BoundKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BOUND_KIND_UNSPECIFIED: _ClassVar[BoundKind]
    BOUND_KIND_MIN: _ClassVar[BoundKind]
    BOUND_KIND_MAX: _ClassVar[BoundKind]
    BOUND_KIND_HOLD: _ClassVar[BoundKind]
    BOUND_KIND_PAID_MINUTE: _ClassVar[BoundKind]
    BOUND_KIND_API_BUDGET: _ClassVar[BoundKind]
    BOUND_KIND_CAPACITY: _ClassVar[BoundKind]
    BOUND_KIND_PAUSED: _ClassVar[BoundKind]
    BOUND_KIND_STALE: _ClassVar[BoundKind]
    BOUND_KIND_OVERRIDE: _ClassVar[BoundKind]
    BOUND_KIND_NOT_LEADER: _ClassVar[BoundKind]

class ActionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_KIND_UNSPECIFIED: _ClassVar[ActionKind]
    ACTION_KIND_UNDRAIN: _ClassVar[ActionKind]
    ACTION_KIND_START: _ClassVar[ActionKind]
    ACTION_KIND_LAUNCH: _ClassVar[ActionKind]
    ACTION_KIND_DRAIN: _ClassVar[ActionKind]
    ACTION_KIND_STOP: _ClassVar[ActionKind]
    ACTION_KIND_TERMINATE: _ClassVar[ActionKind]

class ActionOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_OUTCOME_UNSPECIFIED: _ClassVar[ActionOutcome]
    ACTION_OUTCOME_PENDING: _ClassVar[ActionOutcome]
    ACTION_OUTCOME_DONE: _ClassVar[ActionOutcome]
    ACTION_OUTCOME_THROTTLED: _ClassVar[ActionOutcome]
    ACTION_OUTCOME_NO_CAPACITY: _ClassVar[ActionOutcome]
    ACTION_OUTCOME_FAILED: _ClassVar[ActionOutcome]
INSTANCE_STATE_UNSPECIFIED: InstanceState
INSTANCE_STATE_STARTING: InstanceState
INSTANCE_STATE_READY: InstanceState
INSTANCE_STATE_DRAINING: InstanceState
INSTANCE_STATE_STOPPING: InstanceState
INSTANCE_STATE_STOPPED: InstanceState
INSTANCE_STATE_LOST: InstanceState
DAY_OF_WEEK_UNSPECIFIED: DayOfWeek
DAY_OF_WEEK_MONDAY: DayOfWeek
DAY_OF_WEEK_TUESDAY: DayOfWeek
DAY_OF_WEEK_WEDNESDAY: DayOfWeek
DAY_OF_WEEK_THURSDAY: DayOfWeek
DAY_OF_WEEK_FRIDAY: DayOfWeek
DAY_OF_WEEK_SATURDAY: DayOfWeek
DAY_OF_WEEK_SUNDAY: DayOfWeek
BOUND_KIND_UNSPECIFIED: BoundKind
BOUND_KIND_MIN: BoundKind
BOUND_KIND_MAX: BoundKind
BOUND_KIND_HOLD: BoundKind
BOUND_KIND_PAID_MINUTE: BoundKind
BOUND_KIND_API_BUDGET: BoundKind
BOUND_KIND_CAPACITY: BoundKind
BOUND_KIND_PAUSED: BoundKind
BOUND_KIND_STALE: BoundKind
BOUND_KIND_OVERRIDE: BoundKind
BOUND_KIND_NOT_LEADER: BoundKind
ACTION_KIND_UNSPECIFIED: ActionKind
ACTION_KIND_UNDRAIN: ActionKind
ACTION_KIND_START: ActionKind
ACTION_KIND_LAUNCH: ActionKind
ACTION_KIND_DRAIN: ActionKind
ACTION_KIND_STOP: ActionKind
ACTION_KIND_TERMINATE: ActionKind
ACTION_OUTCOME_UNSPECIFIED: ActionOutcome
ACTION_OUTCOME_PENDING: ActionOutcome
ACTION_OUTCOME_DONE: ActionOutcome
ACTION_OUTCOME_THROTTLED: ActionOutcome
ACTION_OUTCOME_NO_CAPACITY: ActionOutcome
ACTION_OUTCOME_FAILED: ActionOutcome

class Instance(_message.Message):
    __slots__ = ("instance_id", "state", "instance_type", "zone", "spot", "state_time", "billed_since", "slots", "busy_slots", "heartbeat_time", "decision_id")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    SPOT_FIELD_NUMBER: _ClassVar[int]
    STATE_TIME_FIELD_NUMBER: _ClassVar[int]
    BILLED_SINCE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    BUSY_SLOTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_TIME_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    state: InstanceState
    instance_type: str
    zone: str
    spot: bool
    state_time: _timestamp_pb2.Timestamp
    billed_since: _timestamp_pb2.Timestamp
    slots: int
    busy_slots: int
    heartbeat_time: _timestamp_pb2.Timestamp
    decision_id: str
    def __init__(self, instance_id: _Optional[str] = ..., state: _Optional[_Union[InstanceState, str]] = ..., instance_type: _Optional[str] = ..., zone: _Optional[str] = ..., spot: bool = ..., state_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., billed_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., slots: _Optional[int] = ..., busy_slots: _Optional[int] = ..., heartbeat_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., decision_id: _Optional[str] = ...) -> None: ...

class QueueObservation(_message.Message):
    __slots__ = ("visible", "in_flight", "delayed", "oldest_age", "as_of", "approximate")
    VISIBLE_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    DELAYED_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    APPROXIMATE_FIELD_NUMBER: _ClassVar[int]
    visible: int
    in_flight: int
    delayed: int
    oldest_age: _duration_pb2.Duration
    as_of: _timestamp_pb2.Timestamp
    approximate: bool
    def __init__(self, visible: _Optional[int] = ..., in_flight: _Optional[int] = ..., delayed: _Optional[int] = ..., oldest_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., approximate: bool = ...) -> None: ...

class FleetObservation(_message.Message):
    __slots__ = ("ready", "starting", "draining", "stopped", "start_tokens", "start_tokens_per_second", "not_owned", "paid", "starting_groups", "launchable", "paid_min")
    READY_FIELD_NUMBER: _ClassVar[int]
    STARTING_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    START_TOKENS_FIELD_NUMBER: _ClassVar[int]
    START_TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    NOT_OWNED_FIELD_NUMBER: _ClassVar[int]
    PAID_FIELD_NUMBER: _ClassVar[int]
    STARTING_GROUPS_FIELD_NUMBER: _ClassVar[int]
    LAUNCHABLE_FIELD_NUMBER: _ClassVar[int]
    PAID_MIN_FIELD_NUMBER: _ClassVar[int]
    ready: int
    starting: int
    draining: int
    stopped: int
    start_tokens: float
    start_tokens_per_second: float
    not_owned: int
    paid: int
    starting_groups: _containers.RepeatedCompositeFieldContainer[StartingGroup]
    launchable: int
    paid_min: _duration_pb2.Duration
    def __init__(self, ready: _Optional[int] = ..., starting: _Optional[int] = ..., draining: _Optional[int] = ..., stopped: _Optional[int] = ..., start_tokens: _Optional[float] = ..., start_tokens_per_second: _Optional[float] = ..., not_owned: _Optional[int] = ..., paid: _Optional[int] = ..., starting_groups: _Optional[_Iterable[_Union[StartingGroup, _Mapping[str, object]]]] = ..., launchable: _Optional[int] = ..., paid_min: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ...) -> None: ...

class StartingGroup(_message.Message):
    __slots__ = ("ready_in", "count")
    READY_IN_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ready_in: _duration_pb2.Duration
    count: int
    def __init__(self, ready_in: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., count: _Optional[int] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("time", "queue", "fleet", "arrivals_per_second_fast", "arrivals_per_second_slow", "service_mean", "service_p95", "boot_warm_p50", "boot_cold_p50", "late_ratio", "paused", "pause_in_force", "override_in_force", "service_slots", "arrived_total", "completed_total", "late_total", "arrivals_per_second_latest")
    TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    FLEET_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_PER_SECOND_FAST_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_PER_SECOND_SLOW_FIELD_NUMBER: _ClassVar[int]
    SERVICE_MEAN_FIELD_NUMBER: _ClassVar[int]
    SERVICE_P95_FIELD_NUMBER: _ClassVar[int]
    BOOT_WARM_P50_FIELD_NUMBER: _ClassVar[int]
    BOOT_COLD_P50_FIELD_NUMBER: _ClassVar[int]
    LATE_RATIO_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PAUSE_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    ARRIVED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LATE_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_PER_SECOND_LATEST_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    queue: QueueObservation
    fleet: FleetObservation
    arrivals_per_second_fast: float
    arrivals_per_second_slow: float
    service_mean: _duration_pb2.Duration
    service_p95: _duration_pb2.Duration
    boot_warm_p50: _duration_pb2.Duration
    boot_cold_p50: _duration_pb2.Duration
    late_ratio: float
    paused: bool
    pause_in_force: PauseInForce
    override_in_force: OverrideInForce
    service_slots: float
    arrived_total: int
    completed_total: int
    late_total: int
    arrivals_per_second_latest: float
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., queue: _Optional[_Union[QueueObservation, _Mapping[str, object]]] = ..., fleet: _Optional[_Union[FleetObservation, _Mapping[str, object]]] = ..., arrivals_per_second_fast: _Optional[float] = ..., arrivals_per_second_slow: _Optional[float] = ..., service_mean: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., service_p95: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., boot_warm_p50: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., boot_cold_p50: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., late_ratio: _Optional[float] = ..., paused: bool = ..., pause_in_force: _Optional[_Union[PauseInForce, _Mapping[str, object]]] = ..., override_in_force: _Optional[_Union[OverrideInForce, _Mapping[str, object]]] = ..., service_slots: _Optional[float] = ..., arrived_total: _Optional[int] = ..., completed_total: _Optional[int] = ..., late_total: _Optional[int] = ..., arrivals_per_second_latest: _Optional[float] = ...) -> None: ...

class Recollection(_message.Message):
    __slots__ = ("largest_need", "last_work_time", "surge_left", "arrivals_slope", "reserve", "reserve_window", "reserve_quantile", "drained", "arrivals_level")
    LARGEST_NEED_FIELD_NUMBER: _ClassVar[int]
    LAST_WORK_TIME_FIELD_NUMBER: _ClassVar[int]
    SURGE_LEFT_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_SLOPE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_WINDOW_FIELD_NUMBER: _ClassVar[int]
    RESERVE_QUANTILE_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_LEVEL_FIELD_NUMBER: _ClassVar[int]
    largest_need: int
    last_work_time: _timestamp_pb2.Timestamp
    surge_left: _duration_pb2.Duration
    arrivals_slope: float
    reserve: float
    reserve_window: _duration_pb2.Duration
    reserve_quantile: float
    drained: int
    arrivals_level: float
    def __init__(self, largest_need: _Optional[int] = ..., last_work_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., surge_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., arrivals_slope: _Optional[float] = ..., reserve: _Optional[float] = ..., reserve_window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., reserve_quantile: _Optional[float] = ..., drained: _Optional[int] = ..., arrivals_level: _Optional[float] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("step", "backlog", "latency", "fixed", "min_instances", "max_instances", "version", "scale_in_hold", "keep", "stale_after", "floors")
    STEP_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    MIN_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SCALE_IN_HOLD_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    STALE_AFTER_FIELD_NUMBER: _ClassVar[int]
    FLOORS_FIELD_NUMBER: _ClassVar[int]
    step: StepPolicy
    backlog: BacklogPolicy
    latency: LatencyPolicy
    fixed: FixedPolicy
    min_instances: int
    max_instances: int
    version: int
    scale_in_hold: _duration_pb2.Duration
    keep: _duration_pb2.Duration
    stale_after: _duration_pb2.Duration
    floors: _containers.RepeatedCompositeFieldContainer[ScheduleFloor]
    def __init__(self, step: _Optional[_Union[StepPolicy, _Mapping[str, object]]] = ..., backlog: _Optional[_Union[BacklogPolicy, _Mapping[str, object]]] = ..., latency: _Optional[_Union[LatencyPolicy, _Mapping[str, object]]] = ..., fixed: _Optional[_Union[FixedPolicy, _Mapping[str, object]]] = ..., min_instances: _Optional[int] = ..., max_instances: _Optional[int] = ..., version: _Optional[int] = ..., scale_in_hold: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., keep: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., stale_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., floors: _Optional[_Iterable[_Union[ScheduleFloor, _Mapping[str, object]]]] = ...) -> None: ...

class ScheduleFloor(_message.Message):
    __slots__ = ("days", "length", "instances")
    DAYS_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    days: _containers.RepeatedScalarFieldContainer[DayOfWeek]
    length: _duration_pb2.Duration
    instances: int
    def __init__(self, days: _Optional[_Iterable[_Union[DayOfWeek, str]]] = ..., length: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., instances: _Optional[int] = ..., **kwargs: object) -> None: ...

class StepPolicy(_message.Message):
    __slots__ = ("messages_per_instance", "count_in_flight")
    MESSAGES_PER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    COUNT_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    messages_per_instance: int
    count_in_flight: bool
    def __init__(self, messages_per_instance: _Optional[int] = ..., count_in_flight: bool = ...) -> None: ...

class BacklogPolicy(_message.Message):
    __slots__ = ("target_per_instance",)
    TARGET_PER_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    target_per_instance: float
    def __init__(self, target_per_instance: _Optional[float] = ...) -> None: ...

class LatencyPolicy(_message.Message):
    __slots__ = ("target", "quantile", "max_hold")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    QUANTILE_FIELD_NUMBER: _ClassVar[int]
    MAX_HOLD_FIELD_NUMBER: _ClassVar[int]
    target: _duration_pb2.Duration
    quantile: float
    max_hold: _duration_pb2.Duration
    def __init__(self, target: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., quantile: _Optional[float] = ..., max_hold: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ...) -> None: ...

class FixedPolicy(_message.Message):
    __slots__ = ("instances",)
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    instances: int
    def __init__(self, instances: _Optional[int] = ...) -> None: ...

class DecisionTerm(_message.Message):
    __slots__ = ("name", "instances", "formula")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    FORMULA_FIELD_NUMBER: _ClassVar[int]
    name: str
    instances: int
    formula: str
    def __init__(self, name: _Optional[str] = ..., instances: _Optional[int] = ..., formula: _Optional[str] = ...) -> None: ...

class Bound(_message.Message):
    __slots__ = ("kind", "to")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    kind: BoundKind
    to: int
    def __init__(self, kind: _Optional[_Union[BoundKind, str]] = ..., to: _Optional[int] = ..., **kwargs: object) -> None: ...

class Action(_message.Message):
    __slots__ = ("kind", "instance_id", "client_token", "outcome", "error", "attempts")
    KIND_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    kind: ActionKind
    instance_id: str
    client_token: str
    outcome: ActionOutcome
    error: str
    attempts: int
    def __init__(self, kind: _Optional[_Union[ActionKind, str]] = ..., instance_id: _Optional[str] = ..., client_token: _Optional[str] = ..., outcome: _Optional[_Union[ActionOutcome, str]] = ..., error: _Optional[str] = ..., attempts: _Optional[int] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("decision_id", "sequence", "time", "policy", "observation", "terms", "need", "bounds", "want", "current", "actions", "reason", "predicted_p95", "actual_p95", "leader_epoch", "recollection", "predicted_clear_time", "actual_late_ratio", "trigger", "cost_per_hour_usd")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_P95_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_P95_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECOLLECTION_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_CLEAR_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_LATE_RATIO_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    COST_PER_HOUR_USD_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    sequence: int
    time: _timestamp_pb2.Timestamp
    policy: Policy
    observation: Observation
    terms: _containers.RepeatedCompositeFieldContainer[DecisionTerm]
    need: int
    bounds: _containers.RepeatedCompositeFieldContainer[Bound]
    want: int
    current: int
    actions: _containers.RepeatedCompositeFieldContainer[Action]
    reason: str
    predicted_p95: _duration_pb2.Duration
    actual_p95: _duration_pb2.Duration
    leader_epoch: int
    recollection: Recollection
    predicted_clear_time: _timestamp_pb2.Timestamp
    actual_late_ratio: float
    trigger: str
    cost_per_hour_usd: float
    def __init__(self, decision_id: _Optional[str] = ..., sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., policy: _Optional[_Union[Policy, _Mapping[str, object]]] = ..., observation: _Optional[_Union[Observation, _Mapping[str, object]]] = ..., terms: _Optional[_Iterable[_Union[DecisionTerm, _Mapping[str, object]]]] = ..., need: _Optional[int] = ..., bounds: _Optional[_Iterable[_Union[Bound, _Mapping[str, object]]]] = ..., want: _Optional[int] = ..., current: _Optional[int] = ..., actions: _Optional[_Iterable[_Union[Action, _Mapping[str, object]]]] = ..., reason: _Optional[str] = ..., predicted_p95: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., actual_p95: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., leader_epoch: _Optional[int] = ..., recollection: _Optional[_Union[Recollection, _Mapping[str, object]]] = ..., predicted_clear_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., actual_late_ratio: _Optional[float] = ..., trigger: _Optional[str] = ..., cost_per_hour_usd: _Optional[float] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("policy", "observation", "want", "last_change", "leader", "paused", "predicted_p95", "next_ready_time", "cost_per_hour_usd", "warnings", "cloud_calls", "pause_in_force", "override_in_force", "actual_p95")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    LAST_CHANGE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_P95_FIELD_NUMBER: _ClassVar[int]
    NEXT_READY_TIME_FIELD_NUMBER: _ClassVar[int]
    COST_PER_HOUR_USD_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CLOUD_CALLS_FIELD_NUMBER: _ClassVar[int]
    PAUSE_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_P95_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    observation: Observation
    want: int
    last_change: Decision
    leader: bool
    paused: bool
    predicted_p95: _duration_pb2.Duration
    next_ready_time: _timestamp_pb2.Timestamp
    cost_per_hour_usd: float
    warnings: _containers.RepeatedScalarFieldContainer[str]
    cloud_calls: _containers.RepeatedCompositeFieldContainer[_types_pb2.CloudCalls]
    pause_in_force: PauseInForce
    override_in_force: OverrideInForce
    actual_p95: _duration_pb2.Duration
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping[str, object]]] = ..., observation: _Optional[_Union[Observation, _Mapping[str, object]]] = ..., want: _Optional[int] = ..., last_change: _Optional[_Union[Decision, _Mapping[str, object]]] = ..., leader: bool = ..., paused: bool = ..., predicted_p95: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., next_ready_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., cost_per_hour_usd: _Optional[float] = ..., warnings: _Optional[_Iterable[str]] = ..., cloud_calls: _Optional[_Iterable[_Union[_types_pb2.CloudCalls, _Mapping[str, object]]]] = ..., pause_in_force: _Optional[_Union[PauseInForce, _Mapping[str, object]]] = ..., override_in_force: _Optional[_Union[OverrideInForce, _Mapping[str, object]]] = ..., actual_p95: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ...) -> None: ...

class WatchStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: GetStatusResponse
    def __init__(self, status: _Optional[_Union[GetStatusResponse, _Mapping[str, object]]] = ...) -> None: ...

class ListDecisionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "changed_only", "since", "until")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHANGED_ONLY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    changed_only: bool
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., changed_only: bool = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ...) -> None: ...

class ListDecisionsResponse(_message.Message):
    __slots__ = ("decisions", "next_page_token")
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    next_page_token: str
    def __init__(self, decisions: _Optional[_Iterable[_Union[Decision, _Mapping[str, object]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDecisionRequest(_message.Message):
    __slots__ = ("decision_id",)
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    def __init__(self, decision_id: _Optional[str] = ...) -> None: ...

class GetDecisionResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping[str, object]]] = ...) -> None: ...

class WatchDecisionsRequest(_message.Message):
    __slots__ = ("after_sequence", "changed_only")
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_ONLY_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    changed_only: bool
    def __init__(self, after_sequence: _Optional[int] = ..., changed_only: bool = ...) -> None: ...

class WatchDecisionsResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping[str, object]]] = ...) -> None: ...

class ExplainDecisionRequest(_message.Message):
    __slots__ = ("decision_id",)
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    def __init__(self, decision_id: _Optional[str] = ...) -> None: ...

class ExplainDecisionResponse(_message.Message):
    __slots__ = ("text", "counter_factuals", "recomputed_want")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FACTUALS_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTED_WANT_FIELD_NUMBER: _ClassVar[int]
    text: str
    counter_factuals: _containers.RepeatedCompositeFieldContainer[CounterFactual]
    recomputed_want: int
    def __init__(self, text: _Optional[str] = ..., counter_factuals: _Optional[_Iterable[_Union[CounterFactual, _Mapping[str, object]]]] = ..., recomputed_want: _Optional[int] = ...) -> None: ...

class CounterFactual(_message.Message):
    __slots__ = ("input", "to", "want")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    input: str
    to: float
    want: int
    def __init__(self, input: _Optional[str] = ..., to: _Optional[float] = ..., want: _Optional[int] = ..., **kwargs: object) -> None: ...

class SimulateRequest(_message.Message):
    __slots__ = ("policies", "observation", "shape", "recorded", "boot_warm", "boot_cold", "seed")
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    BOOT_WARM_FIELD_NUMBER: _ClassVar[int]
    BOOT_COLD_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    observation: Observation
    shape: LoadShape
    recorded: _duration_pb2.Duration
    boot_warm: _duration_pb2.Duration
    boot_cold: _duration_pb2.Duration
    seed: int
    def __init__(self, policies: _Optional[_Iterable[_Union[Policy, _Mapping[str, object]]]] = ..., observation: _Optional[_Union[Observation, _Mapping[str, object]]] = ..., shape: _Optional[_Union[LoadShape, _Mapping[str, object]]] = ..., recorded: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., boot_warm: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., boot_cold: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., seed: _Optional[int] = ...) -> None: ...

class LoadShape(_message.Message):
    __slots__ = ("requests_per_second", "peak_requests_per_second", "period", "duration")
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    PEAK_REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    requests_per_second: float
    peak_requests_per_second: float
    period: _duration_pb2.Duration
    duration: _duration_pb2.Duration
    def __init__(self, requests_per_second: _Optional[float] = ..., peak_requests_per_second: _Optional[float] = ..., period: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ...) -> None: ...

class SimulateResponse(_message.Message):
    __slots__ = ("decision", "report")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    report: SimulationReport
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping[str, object]]] = ..., report: _Optional[_Union[SimulationReport, _Mapping[str, object]]] = ...) -> None: ...

class SimulationReport(_message.Message):
    __slots__ = ("policy", "requests", "p50", "p95", "p99", "late_ratio", "instance_hours", "cost_usd", "starts", "interrupted")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    P50_FIELD_NUMBER: _ClassVar[int]
    P95_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    LATE_RATIO_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_HOURS_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    requests: int
    p50: _duration_pb2.Duration
    p95: _duration_pb2.Duration
    p99: _duration_pb2.Duration
    late_ratio: float
    instance_hours: float
    cost_usd: float
    starts: int
    interrupted: int
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping[str, object]]] = ..., requests: _Optional[int] = ..., p50: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., p95: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., p99: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, object]]] = ..., late_ratio: _Optional[float] = ..., instance_hours: _Optional[float] = ..., cost_usd: _Optional[float] = ..., starts: _Optional[int] = ..., interrupted: _Optional[int] = ...) -> None: ...

class PauseRequest(_message.Message):
    __slots__ = ("scale_out", "scale_in", "until", "reason", "request_id")
    SCALE_OUT_FIELD_NUMBER: _ClassVar[int]
    SCALE_IN_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    scale_out: bool
    scale_in: bool
    until: _timestamp_pb2.Timestamp
    reason: str
    request_id: str
    def __init__(self, scale_out: bool = ..., scale_in: bool = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PauseResponse(_message.Message):
    __slots__ = ("pause_in_force",)
    PAUSE_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    pause_in_force: PauseInForce
    def __init__(self, pause_in_force: _Optional[_Union[PauseInForce, _Mapping[str, object]]] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("reason", "request_id")
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    reason: str
    request_id: str
    def __init__(self, reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetPolicyRequest(_message.Message):
    __slots__ = ("policy", "if_version", "dry_run", "reason", "request_id")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    if_version: int
    dry_run: bool
    reason: str
    request_id: str
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping[str, object]]] = ..., if_version: _Optional[int] = ..., dry_run: bool = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SetPolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping[str, object]]] = ...) -> None: ...

class SetOverrideRequest(_message.Message):
    __slots__ = ("min_instances", "max_instances", "instances", "until", "reason", "request_id")
    MIN_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    min_instances: int
    max_instances: int
    instances: int
    until: _timestamp_pb2.Timestamp
    reason: str
    request_id: str
    def __init__(self, min_instances: _Optional[int] = ..., max_instances: _Optional[int] = ..., instances: _Optional[int] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SetOverrideResponse(_message.Message):
    __slots__ = ("override_in_force",)
    OVERRIDE_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    override_in_force: OverrideInForce
    def __init__(self, override_in_force: _Optional[_Union[OverrideInForce, _Mapping[str, object]]] = ...) -> None: ...

class PauseInForce(_message.Message):
    __slots__ = ("scale_out", "scale_in", "until", "reason", "actor")
    SCALE_OUT_FIELD_NUMBER: _ClassVar[int]
    SCALE_IN_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    scale_out: bool
    scale_in: bool
    until: _timestamp_pb2.Timestamp
    reason: str
    actor: str
    def __init__(self, scale_out: bool = ..., scale_in: bool = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ...) -> None: ...

class OverrideInForce(_message.Message):
    __slots__ = ("min_instances", "max_instances", "instances", "until", "reason", "actor")
    MIN_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    min_instances: int
    max_instances: int
    instances: int
    until: _timestamp_pb2.Timestamp
    reason: str
    actor: str
    def __init__(self, min_instances: _Optional[int] = ..., max_instances: _Optional[int] = ..., instances: _Optional[int] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ...) -> None: ...

class ListInstancesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListInstancesResponse(_message.Message):
    __slots__ = ("instances",)
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    def __init__(self, instances: _Optional[_Iterable[_Union[Instance, _Mapping[str, object]]]] = ...) -> None: ...

class DrainInstanceRequest(_message.Message):
    __slots__ = ("instance_id", "reason", "request_id")
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    reason: str
    request_id: str
    def __init__(self, instance_id: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DrainInstanceResponse(_message.Message):
    __slots__ = ("instance",)
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    instance: Instance
    def __init__(self, instance: _Optional[_Union[Instance, _Mapping[str, object]]] = ...) -> None: ...
