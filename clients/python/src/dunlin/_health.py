"""grpc.health.v1 as a plan for the clients."""

from __future__ import annotations

from dunlin import _methods
from dunlin._pb import health_pb2
from dunlin._plan import Call


def check(service: str) -> Call[bool]:
    """Whether a service takes new work; an empty name stands for all."""
    serving = health_pb2.HealthCheckResponse.SERVING
    return Call(
        _methods.CHECK_HEALTH,
        health_pb2.HealthCheckRequest(service=service),
        lambda answer: bool(answer.status == serving),
    )
