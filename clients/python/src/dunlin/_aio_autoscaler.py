"""`client.autoscaler` for asyncio; `_autoscaler.py` is its twin."""

from __future__ import annotations

import datetime
from collections.abc import AsyncGenerator, Sequence

from dunlin import _autoscaler_calls as calls
from dunlin._aio_connection import AsyncConnection
from dunlin.autoscaler import Decision, Explanation, Instance, Override, Pause, Status
from dunlin.policy import Load, Policy, SimulationReport


class AsyncAutoscaler:
    """What the fleet does, why, and what it shall do. Reading needs a key with the scope `read`, changing one with `admin`.

    >>> print(await client.autoscaler.status())
    3 waiting, 2 in flight; 1 ready, 1 starting, 0 draining of 2 wanted
    >>> print(await client.autoscaler.explain())
    2 wanted: ...
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def status(self, *, timeout: float | None = None) -> Status:
        """The fleet, the queue and the latest change, now."""
        return await self._connection.call(calls.status(), timeout)

    def watch(self, *, timeout: float = float("inf")) -> AsyncGenerator[Status, None]:
        """The status on every change and at least every 5 s, for ever. Closing the iterator ends it."""
        return self._connection.follow(calls.WatchStatus(), timeout)

    async def instances(self, *, timeout: float | None = None) -> list[Instance]:
        """All instances that are not gone."""
        return await self._connection.call(calls.instances(), timeout)

    async def decisions(
        self,
        *,
        changed_only: bool = False,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[Decision, None]:
        """Decisions, newest first, page by page. `timeout`: of each page.

        >>> async for decision in client.autoscaler.decisions(changed_only=True):
        ...     print(decision)
        0 -> 1: 1 image waits and nobody is there
        """
        which, token = calls.Which(changed_only, since, until, page_size), ""
        while True:
            found, token = await self._connection.call(calls.decisions_page(which, token), timeout)
            for one in found:
                yield one
            if not token:
                return

    async def decision(self, decision_id: str, *, timeout: float | None = None) -> Decision:
        """One decision."""
        return await self._connection.call(calls.decision(decision_id), timeout)

    def watch_decisions(
        self, *, after_sequence: int = 0, changed_only: bool = False, timeout: float = float("inf")
    ) -> AsyncGenerator[Decision, None]:
        """Decisions as they are made, for ever; from behind `after_sequence` on, where it is not 0. A stream that breaks is
        taken up again behind the last one.
        """
        return self._connection.follow(calls.WatchDecisions(after_sequence, changed_only), timeout)

    async def explain(self, decision_id: str = "", *, timeout: float | None = None) -> Explanation:
        """A decision, or the latest, in plain words, with what would have changed it."""
        return await self._connection.call(calls.explain(decision_id), timeout)

    def simulate(
        self,
        policies: Sequence[Policy] = (),
        *,
        load: Load | None = None,
        recorded: float | None = None,
        boot_warm: float | None = None,
        boot_cold: float | None = None,
        seed: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[Decision | SimulationReport, None]:
        """What policies (default: the one in force) would do: with a load, with the last `recorded` seconds of the real one,
        or, without either, with what is seen now. Starts nothing. Yields decisions and, of a run, a report for each policy
        at the end.

        >>> load = dunlin.Load(requests_per_second=5, peak_requests_per_second=50, duration=3600)
        >>> async for event in client.autoscaler.simulate([dunlin.Policy.step(max_instances=20)], load=load):
        ...     if isinstance(event, dunlin.SimulationReport):
        ...         print(event)
        step: p95 9.21 s, 3.94 instance-hours, 31 starts
        """
        trial = calls.Trial(policies, load, recorded, boot_warm, boot_cold, seed)
        return self._connection.follow(calls.Simulate(trial), timeout)

    async def pause(
        self,
        *,
        scale_out: bool = True,
        scale_in: bool = True,
        until: calls.Until = None,
        reason: str = "",
        timeout: float | None = None,
    ) -> Pause:
        """Starts nothing and stops nothing, or one of them, until a time, for a `timedelta`, or until `resume`."""
        return await self._connection.call(calls.pause(scale_out, scale_in, until, reason), timeout)

    async def resume(self, *, reason: str = "", timeout: float | None = None) -> None:
        """Ends a pause."""
        return await self._connection.call(calls.resume(reason), timeout)

    async def override(
        self,
        *,
        min_instances: int | None = None,
        max_instances: int | None = None,
        instances: int | None = None,
        until: calls.Until = None,
        reason: str = "",
        timeout: float | None = None,
    ) -> Override | None:
        """Limits in place of the policy's, or an exact number, until a time or for a `timedelta`. With none of the three it
        takes back what was set.

        >>> await client.autoscaler.override(instances=5, until=datetime.timedelta(hours=1), reason="demo")
        """
        limits = calls.Limits(min_instances, max_instances, instances)
        return await self._connection.call(calls.set_override(limits, until, reason), timeout)

    async def set_policy(
        self,
        policy: Policy,
        *,
        if_version: int = 0,
        dry_run: bool = False,
        reason: str = "",
        timeout: float | None = None,
    ) -> Policy:
        """Replaces the whole policy; `ConflictError` when the one in force is not of `if_version` (0: whatever it is)."""
        return await self._connection.call(calls.set_policy(policy, if_version, dry_run, reason), timeout)

    async def drain(self, instance: Instance | str, *, reason: str = "", timeout: float | None = None) -> Instance:
        """Drains an instance for good: it finishes what it holds, is stopped, and is replaced if it is needed."""
        instance_id = instance.instance_id if isinstance(instance, Instance) else instance
        return await self._connection.call(calls.drain(instance_id, reason), timeout)
