"""Policies of scaling, and loads to try them with."""

from __future__ import annotations

from dataclasses import dataclass, field

from dunlin import _times
from dunlin._pb import autoscaler_service_pb2 as pb


@dataclass(frozen=True)
class Policy:
    """How the number of instances is found. `dataclasses.replace` makes another from one that the service gave; what this
    class has no field for (schedules, holds) stays as it was.

    >>> dunlin.Policy.latency(target=20.0, max_instances=30)
    Policy(kind='latency', min_instances=0, max_instances=30, version=0, target=20.0, quantile=0.95, ...)
    """

    #: step, backlog, latency or fixed.
    kind: str
    min_instances: int = 0
    max_instances: int = 0
    version: int = 0
    #: latency: seconds from accepted to answered that `quantile` of the images must meet. backlog: images an instance.
    target: float | None = None
    quantile: float | None = None
    #: step: messages an instance.
    messages_per_instance: int | None = None
    #: fixed.
    instances: int | None = None
    #: The message it came from.
    wire: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def step(cls, messages_per_instance: int = 5, *, min_instances: int = 0, max_instances: int) -> Policy:
        """An instance for every so many waiting images."""
        return cls("step", min_instances, max_instances, messages_per_instance=messages_per_instance)

    @classmethod
    def backlog(cls, target: float, *, min_instances: int = 0, max_instances: int) -> Policy:
        """So many images, waiting and in work, an instance."""
        return cls("backlog", min_instances, max_instances, target=target)

    @classmethod
    def latency(cls, target: float, *, quantile: float = 0.95, min_instances: int = 0, max_instances: int) -> Policy:
        """`quantile` of the images answered within `target` seconds."""
        return cls("latency", min_instances, max_instances, target=target, quantile=quantile)

    @classmethod
    def fixed(cls, instances: int) -> Policy:
        """Always so many."""
        return cls("fixed", instances, instances, instances=instances)

    def message(self) -> pb.Policy:
        """As it is sent."""
        message = pb.Policy.FromString(self.wire)
        message.min_instances = self.min_instances
        message.max_instances = self.max_instances
        message.version = self.version
        if self.kind == "step":
            message.step.messages_per_instance = self.messages_per_instance or 0
        elif self.kind == "backlog":
            message.backlog.target_per_instance = self.target or 0.0
        elif self.kind == "latency":
            _times.set_seconds(message.latency.target, self.target or 0.0)
            message.latency.quantile = self.quantile or 0.0
        elif self.kind == "fixed":
            message.fixed.instances = self.instances or 0
        else:
            raise ValueError(f"unknown policy {self.kind!r}; known: step, backlog, latency, fixed")
        return message


@dataclass(frozen=True)
class Load:
    """A load to simulate: so many requests a second, with a peak in the middle of each period."""

    requests_per_second: float
    duration: float
    peak_requests_per_second: float = 0.0
    #: Seconds from peak to peak; default: the whole duration.
    period: float | None = None


@dataclass(frozen=True)
class SimulationReport:
    """What a policy would have done with a load. Times are in seconds."""

    policy: Policy
    requests: int
    p50: float
    p95: float
    p99: float
    #: Share of the requests that came after the target.
    late_ratio: float
    instance_hours: float
    cost_usd: float
    starts: int
    interrupted: int

    def __str__(self) -> str:
        return f"{self.policy.kind}: p95 {self.p95:.2f} s, {self.instance_hours:.2f} instance-hours, {self.starts} starts"


def policy(message: pb.Policy) -> Policy:
    """From the wire."""
    kind = message.WhichOneof("kind") or ""
    target: float | None = None
    if kind == "latency":
        target = _times.seconds(message.latency.target)
    elif kind == "backlog":
        target = message.backlog.target_per_instance
    return Policy(
        kind=kind,
        min_instances=message.min_instances,
        max_instances=message.max_instances,
        version=message.version,
        target=target,
        quantile=message.latency.quantile if kind == "latency" else None,
        messages_per_instance=message.step.messages_per_instance if kind == "step" else None,
        instances=message.fixed.instances if kind == "fixed" else None,
        wire=message.SerializeToString(),
    )


def report(message: pb.SimulationReport) -> SimulationReport:
    """From the wire."""
    return SimulationReport(
        policy=policy(message.policy),
        requests=message.requests,
        p50=_times.seconds(message.p50),
        p95=_times.seconds(message.p95),
        p99=_times.seconds(message.p99),
        late_ratio=message.late_ratio,
        instance_hours=message.instance_hours,
        cost_usd=message.cost_usd,
        starts=message.starts,
        interrupted=message.interrupted,
    )
