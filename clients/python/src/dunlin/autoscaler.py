"""What the autoscaler tells: frozen dataclasses, times in seconds."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from dunlin import _times
from dunlin._pb import autoscaler_service_pb2 as pb
from dunlin.policy import Policy, policy


@dataclass(frozen=True)
class Instance:
    """A machine, or a process of this one, that a worker runs on."""

    instance_id: str
    #: STARTING, READY, DRAINING, STOPPING, STOPPED or LOST.
    state: str
    instance_type: str
    zone: str
    spot: bool
    slots: int
    busy_slots: int
    state_time: datetime.datetime | None
    heartbeat_time: datetime.datetime | None
    #: The decision that started it.
    decision_id: str

    def __str__(self) -> str:
        return f"{self.instance_id} {self.state} {self.busy_slots}/{self.slots} busy"


@dataclass(frozen=True)
class Observation:
    """What a decision was given, as far as people ask for it."""

    time: datetime.datetime | None
    waiting: int
    in_flight: int
    oldest_seconds: float | None
    ready: int
    starting: int
    draining: int
    stopped: int
    #: Over the last 10 s and 60 s.
    arrivals_per_second: tuple[float, float]
    #: What an image takes a worker, mean and 95th percentile.
    service_seconds: tuple[float, float]
    #: Share of the last minute's answers that came after the target.
    late_ratio: float


@dataclass(frozen=True)
class Term:
    """One part of the reasoning; the need is the largest."""

    name: str
    instances: int
    formula: str


@dataclass(frozen=True)
class Bound:
    """What changed the wanted number from what was needed: MIN, MAX, HOLD, PAUSED ..."""

    kind: str
    before: int
    after: int


@dataclass(frozen=True)
class Action:
    """What was done to an instance: UNDRAIN, START, LAUNCH, DRAIN, STOP or TERMINATE, and what came of it."""

    kind: str
    instance_id: str
    outcome: str
    error: str
    attempts: int


@dataclass(frozen=True)
class Decision:
    """One run of the scaling function, with what it saw."""

    decision_id: str
    sequence: int
    time: datetime.datetime | None
    need: int
    want: int
    #: Ready and starting at that time.
    current: int
    #: One sentence.
    reason: str
    #: What it was made for: tick, load, worker, fleet, or what a person asked for and why.
    trigger: str
    terms: tuple[Term, ...]
    bounds: tuple[Bound, ...]
    actions: tuple[Action, ...]
    observation: Observation = field(repr=False)
    policy: Policy = field(repr=False)
    predicted_p95: float | None = None
    #: What came; set some time after.
    actual_p95: float | None = None
    cost_per_hour_usd: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether it did something."""
        return bool(self.actions)

    def __str__(self) -> str:
        return f"{self.current} -> {self.want}: {self.reason}"


@dataclass(frozen=True)
class Pause:
    """What an operator has forbidden for now."""

    scale_out: bool
    scale_in: bool
    #: None: until it is resumed.
    until: datetime.datetime | None
    reason: str
    actor: str


@dataclass(frozen=True)
class Override:
    """The limits that an operator has set for now."""

    min_instances: int | None
    max_instances: int | None
    instances: int | None
    until: datetime.datetime | None
    reason: str
    actor: str


@dataclass(frozen=True)
class Status:
    """The fleet, the queue and the latest change, now."""

    want: int
    observation: Observation
    policy: Policy
    last_change: Decision | None
    leader: bool
    paused: bool
    pause: Pause | None
    override: Override | None
    predicted_p95: float | None
    actual_p95: float | None
    next_ready_time: datetime.datetime | None
    cost_per_hour_usd: float
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        seen = self.observation
        fleet = f"{seen.ready} ready, {seen.starting} starting, {seen.draining} draining of {self.want} wanted"
        return f"{seen.waiting} waiting, {seen.in_flight} in flight; {fleet}" + (" (paused)" if self.paused else "")


@dataclass(frozen=True)
class CounterFactual:
    """The smallest change of one input that gives another wanted number."""

    input: str
    before: float
    after: float
    want: int


@dataclass(frozen=True)
class Explanation:
    """A decision in plain words, and what would have changed it."""

    text: str
    counter_factuals: tuple[CounterFactual, ...]
    #: Computed again from the record; equal to the decision's.
    recomputed_want: int

    def __str__(self) -> str:
        return self.text


def instance(message: pb.Instance) -> Instance:
    """From the wire."""
    return Instance(
        instance_id=message.instance_id,
        state=_short(pb.InstanceState.Name, message.state, "INSTANCE_STATE_"),
        instance_type=message.instance_type,
        zone=message.zone,
        spot=message.spot,
        slots=message.slots,
        busy_slots=message.busy_slots,
        state_time=_times.time_or_none(message, "state_time"),
        heartbeat_time=_times.time_or_none(message, "heartbeat_time"),
        decision_id=message.decision_id,
    )


def observation(message: pb.Observation) -> Observation:
    """From the wire."""
    queue, fleet = message.queue, message.fleet
    return Observation(
        time=_times.time_or_none(message, "time"),
        waiting=queue.visible + queue.delayed,
        in_flight=queue.in_flight,
        oldest_seconds=_times.seconds_or_none(queue, "oldest_age"),
        ready=fleet.ready,
        starting=fleet.starting,
        draining=fleet.draining,
        stopped=fleet.stopped,
        arrivals_per_second=(message.arrivals_per_second_fast, message.arrivals_per_second_slow),
        service_seconds=(_times.seconds(message.service_mean), _times.seconds(message.service_p95)),
        late_ratio=message.late_ratio,
    )


def decision(message: pb.Decision) -> Decision:
    """From the wire."""
    return Decision(
        decision_id=message.decision_id,
        sequence=message.sequence,
        time=_times.time_or_none(message, "time"),
        need=message.need,
        want=message.want,
        current=message.current,
        reason=message.reason,
        trigger=message.trigger,
        terms=tuple(Term(one.name, one.instances, one.formula) for one in message.terms),
        # `from` is a word of Python's.
        bounds=tuple(
            Bound(_short(pb.BoundKind.Name, one.kind, "BOUND_KIND_"), getattr(one, "from"), one.to) for one in message.bounds
        ),
        actions=tuple(_action(one) for one in message.actions),
        observation=observation(message.observation),
        policy=policy(message.policy),
        predicted_p95=_times.seconds_or_none(message, "predicted_p95"),
        actual_p95=_times.seconds_or_none(message, "actual_p95"),
        cost_per_hour_usd=message.cost_per_hour_usd,
    )


def _action(message: pb.Action) -> Action:
    return Action(
        kind=_short(pb.ActionKind.Name, message.kind, "ACTION_KIND_"),
        instance_id=message.instance_id,
        outcome=_short(pb.ActionOutcome.Name, message.outcome, "ACTION_OUTCOME_"),
        error=message.error,
        attempts=message.attempts,
    )


def status(message: pb.GetStatusResponse) -> Status:
    """From the wire."""
    return Status(
        want=message.want,
        observation=observation(message.observation),
        policy=policy(message.policy),
        last_change=decision(message.last_change) if message.HasField("last_change") else None,
        leader=message.leader,
        paused=message.paused,
        pause=pause(message.pause_in_force) if message.HasField("pause_in_force") else None,
        override=override(message.override_in_force) if message.HasField("override_in_force") else None,
        predicted_p95=_times.seconds_or_none(message, "predicted_p95"),
        actual_p95=_times.seconds_or_none(message, "actual_p95"),
        next_ready_time=_times.time_or_none(message, "next_ready_time"),
        cost_per_hour_usd=message.cost_per_hour_usd,
        warnings=tuple(message.warnings),
    )


def pause(message: pb.PauseInForce) -> Pause:
    """From the wire."""
    until = _times.time_or_none(message, "until")
    return Pause(message.scale_out, message.scale_in, until, message.reason, message.actor)


def override(message: pb.OverrideInForce) -> Override:
    """From the wire."""
    return Override(
        min_instances=message.min_instances if message.HasField("min_instances") else None,
        max_instances=message.max_instances if message.HasField("max_instances") else None,
        instances=message.instances if message.HasField("instances") else None,
        until=_times.time_or_none(message, "until"),
        reason=message.reason,
        actor=message.actor,
    )


def explanation(message: pb.ExplainDecisionResponse) -> Explanation:
    """From the wire."""
    others = tuple(CounterFactual(one.input, getattr(one, "from"), one.to, one.want) for one in message.counter_factuals)
    return Explanation(message.text, others, message.recomputed_want)


def _short(name: object, number: int, prefix: str) -> str:
    """An enum's name without what all its names begin with; a number of a newer service as it is."""
    try:
        return str(name(number))[len(prefix) :]  # type: ignore[operator]
    except ValueError:
        return str(number)
