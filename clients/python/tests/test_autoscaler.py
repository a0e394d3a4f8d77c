"""The autoscaler against the real system."""

from __future__ import annotations

import dataclasses
import datetime
import itertools

import pytest
from conftest import System
from pictures import picture

import dunlin


@pytest.fixture(autouse=True)
def decided(client: dunlin.Client) -> None:
    """There is a decision, as soon as anything was asked for."""
    assert client.classify(picture()).ok


def test_status_tells_of_the_fleet(client: dunlin.Client) -> None:
    # A worker answers before the autoscaler hears that it is ready.
    status = next(status for status in client.autoscaler.watch(timeout=30) if status.observation.ready >= 1)
    assert client.autoscaler.status().want >= 1
    assert status.leader
    assert status.policy.kind == "latency"
    assert "wanted" in str(status)
    assert any(instance.state == "READY" for instance in client.autoscaler.instances())


def test_watched_status_comes_again_and_again(client: dunlin.Client) -> None:
    watch = client.autoscaler.watch()
    seen = list(itertools.islice(watch, 2))
    watch.close()
    assert [status.policy.kind for status in seen] == ["latency", "latency"]


def test_decisions_are_listed_read_and_explained(client: dunlin.Client) -> None:
    newest = list(itertools.islice(client.autoscaler.decisions(page_size=2), 5))
    assert [one.sequence for one in newest] == sorted((one.sequence for one in newest), reverse=True)
    changed = next(client.autoscaler.decisions(changed_only=True))
    assert changed.changed
    assert client.autoscaler.decision(changed.decision_id).reason == changed.reason
    explained = client.autoscaler.explain(changed.decision_id)
    assert explained.recomputed_want == changed.want
    assert str(explained)
    watch = client.autoscaler.watch_decisions(after_sequence=newest[1].sequence, timeout=30)
    assert next(watch).sequence > newest[1].sequence
    watch.close()
    with pytest.raises(dunlin.NotFoundError):
        client.autoscaler.decision("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_pause_is_in_force_until_it_is_resumed(client: dunlin.Client) -> None:
    pause = client.autoscaler.pause(scale_out=False, until=datetime.timedelta(minutes=5), reason="test")
    try:
        assert (pause.scale_out, pause.scale_in, pause.reason, pause.actor) == (False, True, "test", "tests")
        assert pause.until is not None
        left = pause.until - datetime.datetime.now(tz=datetime.timezone.utc)
        assert datetime.timedelta(minutes=4) < left <= datetime.timedelta(minutes=5)
        assert client.autoscaler.status().pause == pause
    finally:
        client.autoscaler.resume(reason="test")
    assert client.autoscaler.status().pause is None


def test_override_is_set_and_taken_back(client: dunlin.Client) -> None:
    override = client.autoscaler.override(instances=2, until=datetime.timedelta(minutes=1), reason="test")
    assert override is not None
    assert override.instances == 2
    assert override.max_instances is None
    assert client.autoscaler.override(reason="test") is None
    with pytest.raises(dunlin.InvalidRequestError):
        client.autoscaler.override(instances=2, max_instances=3, until=datetime.timedelta(minutes=1))


def test_policy_is_changed_from_the_one_in_force(client: dunlin.Client) -> None:
    policy = client.autoscaler.status().policy
    wanted = dataclasses.replace(policy, max_instances=7)
    tried = client.autoscaler.set_policy(wanted, dry_run=True)
    assert (tried.max_instances, tried.target) == (7, policy.target)
    assert client.autoscaler.status().policy.max_instances == policy.max_instances
    with pytest.raises(dunlin.ConflictError):
        client.autoscaler.set_policy(wanted, if_version=policy.version + 100)


def test_unknown_instance_cannot_be_drained(client: dunlin.Client) -> None:
    with pytest.raises(dunlin.NotFoundError):
        client.autoscaler.drain("nobody")


def test_policies_are_simulated_with_a_load(client: dunlin.Client) -> None:
    load = dunlin.Load(requests_per_second=2, peak_requests_per_second=20, duration=600)
    policies = [dunlin.Policy.step(max_instances=10), dunlin.Policy.latency(5.0, max_instances=10)]
    events = list(client.autoscaler.simulate(policies, load=load, seed=1, boot_warm=10, boot_cold=20))
    reports = [event for event in events if isinstance(event, dunlin.SimulationReport)]
    assert [report.policy.kind for report in reports] == ["step", "latency"]
    assert all(report.requests > 1000 and report.p99 >= report.p50 > 0 for report in reports)
    assert any(isinstance(event, dunlin.Decision) for event in events)
    now = list(client.autoscaler.simulate([dunlin.Policy.fixed(2)]))
    assert isinstance(now[0], dunlin.Decision)
    assert now[0].want == 2


async def test_async_autoscaler_does_the_same(stub: System) -> None:
    async with dunlin.AsyncClient(stub.public, autoscaler_address=stub.autoscaler) as client:
        assert (await client.autoscaler.status()).want >= 1
        assert await client.autoscaler.instances()
        decisions = [one async for one in client.autoscaler.decisions(page_size=1000)]
        assert (await client.autoscaler.explain(decisions[0].decision_id)).text
        async for status in client.autoscaler.watch():
            assert status.leader
            break
        async for event in client.autoscaler.simulate([dunlin.Policy.backlog(4.0, max_instances=3)]):
            assert isinstance(event, dunlin.Decision)
        await client.autoscaler.pause(until=datetime.timedelta(minutes=1))
        await client.autoscaler.resume()
