"""The autoscaler's calls as plans for the clients."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Union

from dunlin import _methods, _times, autoscaler, policy
from dunlin._pb import autoscaler_service_pb2 as pb
from dunlin._plan import Call, request_id
from dunlin.autoscaler import Decision, Explanation, Instance, Override, Pause, Status
from dunlin.policy import Load, Policy, SimulationReport

Until = Union[datetime.datetime, datetime.timedelta, None]


def moment(until: Until) -> datetime.datetime | None:
    """A point in time, from one or from how long from now."""
    if isinstance(until, datetime.timedelta):
        return datetime.datetime.now(tz=datetime.timezone.utc) + until
    return until


def status() -> Call[Status]:
    """The call for the status."""
    return Call(_methods.GET_STATUS, pb.GetStatusRequest(), autoscaler.status)


def instances() -> Call[list[Instance]]:
    """The call for the instances."""
    return Call(
        _methods.LIST_INSTANCES,
        pb.ListInstancesRequest(),
        lambda answer: [autoscaler.instance(one) for one in answer.instances],
    )


@dataclass(frozen=True)
class Which:
    """Which decisions are asked for."""

    changed_only: bool = False
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    page_size: int = 0


def decisions_page(which: Which, token: str) -> Call[tuple[list[Decision], str]]:
    """The call for one page of decisions and the token of the next."""
    request = pb.ListDecisionsRequest(page_size=which.page_size, page_token=token, changed_only=which.changed_only)
    if which.since is not None:
        _times.set_time(request.since, which.since)
    if which.until is not None:
        _times.set_time(request.until, which.until)
    return Call(
        _methods.LIST_DECISIONS,
        request,
        lambda answer: ([autoscaler.decision(one) for one in answer.decisions], answer.next_page_token),
    )


def decision(decision_id: str) -> Call[Decision]:
    """The call for one decision."""
    request = pb.GetDecisionRequest(decision_id=decision_id)
    return Call(_methods.GET_DECISION, request, lambda answer: autoscaler.decision(answer.decision))


def explain(decision_id: str) -> Call[Explanation]:
    """The call for an explanation."""
    return Call(_methods.EXPLAIN_DECISION, pb.ExplainDecisionRequest(decision_id=decision_id), autoscaler.explanation)


class WatchStatus:
    """The status, pushed. A new stream begins with the whole of it, so nothing has to be taken up."""

    method = _methods.WATCH_STATUS
    resumable = True
    ended = False
    complete = False

    def request(self) -> pb.WatchStatusRequest:
        """Always the same."""
        return pb.WatchStatusRequest()

    def take(self, message: Any) -> Iterator[Status]:
        """The status."""
        yield autoscaler.status(message.status)


class WatchDecisions:
    """Decisions as they are made; where the stream breaks, the next one goes on behind the last."""

    method = _methods.WATCH_DECISIONS
    resumable = True
    ended = False
    complete = False

    def __init__(self, after_sequence: int, changed_only: bool) -> None:
        self._sequence = after_sequence
        self._changed_only = changed_only

    def request(self) -> pb.WatchDecisionsRequest:
        """What has not come yet."""
        return pb.WatchDecisionsRequest(after_sequence=self._sequence, changed_only=self._changed_only)

    def take(self, message: Any) -> Iterator[Decision]:
        """The decision, unless it came before or this is a heartbeat."""
        if message.HasField("decision") and message.decision.sequence > self._sequence:
            self._sequence = message.decision.sequence
            yield autoscaler.decision(message.decision)


@dataclass(frozen=True)
class Trial:
    """What is simulated."""

    policies: Sequence[Policy] = ()
    load: Load | None = None
    #: Seconds of the real load before now.
    recorded: float | None = None
    boot_warm: float | None = None
    boot_cold: float | None = None
    seed: int = 0


class Simulate:
    """A simulation. It is cheap to begin again only while nothing has come of it."""

    method = _methods.SIMULATE
    ended = False
    complete = False

    def __init__(self, trial: Trial) -> None:
        if trial.load is not None and trial.recorded is not None:
            raise ValueError("load and recorded exclude each other")
        self._trial = trial
        self.resumable = True

    def request(self) -> pb.SimulateRequest:
        """Always the same."""
        trial = self._trial
        request = pb.SimulateRequest(policies=[one.message() for one in trial.policies], seed=trial.seed)
        if trial.load is not None:
            request.shape.requests_per_second = trial.load.requests_per_second
            request.shape.peak_requests_per_second = trial.load.peak_requests_per_second
            _times.set_seconds(request.shape.duration, trial.load.duration)
            _times.set_seconds(request.shape.period, trial.load.period or trial.load.duration)
        elif trial.recorded is not None:
            _times.set_seconds(request.recorded, trial.recorded)
        else:
            # Absent parts are as they are now.
            request.observation.SetInParent()
        if trial.boot_warm is not None:
            _times.set_seconds(request.boot_warm, trial.boot_warm)
        if trial.boot_cold is not None:
            _times.set_seconds(request.boot_cold, trial.boot_cold)
        return request

    def take(self, message: Any) -> Iterator[Decision | SimulationReport]:
        """Decisions, and at the end a report for each policy."""
        kind = message.WhichOneof("event")
        if kind is None:
            return
        self.resumable = False
        # The end comes when the service closes the stream: there are as many reports as policies.
        self.ended = True
        if kind == "decision":
            yield autoscaler.decision(message.decision)
        else:
            yield policy.report(message.report)


def pause(scale_out: bool, scale_in: bool, until: Until, reason: str) -> Call[Pause]:
    """The call that pauses."""
    request = pb.PauseRequest(scale_out=scale_out, scale_in=scale_in, reason=reason, request_id=request_id())
    ends = moment(until)
    if ends is not None:
        _times.set_time(request.until, ends)
    return Call(_methods.PAUSE, request, lambda answer: autoscaler.pause(answer.pause_in_force))


def resume(reason: str) -> Call[None]:
    """The call that ends a pause."""
    return Call(_methods.RESUME, pb.ResumeRequest(reason=reason, request_id=request_id()), lambda answer: None)


def set_policy(wanted: Policy, if_version: int, dry_run: bool, reason: str) -> Call[Policy]:
    """The call that replaces the policy."""
    request = pb.SetPolicyRequest(
        policy=wanted.message(), if_version=if_version, dry_run=dry_run, reason=reason, request_id=request_id()
    )
    return Call(_methods.SET_POLICY, request, lambda answer: policy.policy(answer.policy))


@dataclass(frozen=True)
class Limits:
    """What an override sets."""

    min_instances: int | None = None
    max_instances: int | None = None
    instances: int | None = None


def set_override(limits: Limits, until: Until, reason: str) -> Call[Override | None]:
    """The call that sets limits, or takes them back when there are none."""
    request = pb.SetOverrideRequest(reason=reason, request_id=request_id())
    if limits.min_instances is not None:
        request.min_instances = limits.min_instances
    if limits.max_instances is not None:
        request.max_instances = limits.max_instances
    if limits.instances is not None:
        request.instances = limits.instances
    ends = moment(until)
    if ends is not None:
        _times.set_time(request.until, ends)

    def convert(answer: pb.SetOverrideResponse) -> Override | None:
        return autoscaler.override(answer.override_in_force) if answer.HasField("override_in_force") else None

    return Call(_methods.SET_OVERRIDE, request, convert)


def drain(instance_id: str, reason: str) -> Call[Instance]:
    """The call that drains an instance for good."""
    request = pb.DrainInstanceRequest(instance_id=instance_id, reason=reason, request_id=request_id())
    return Call(_methods.DRAIN_INSTANCE, request, lambda answer: autoscaler.instance(answer.instance))
