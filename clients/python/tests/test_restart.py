"""A gateway that is killed and comes back."""

from __future__ import annotations

import contextlib
from pathlib import Path

from conftest import start
from pictures import picture

import dunlin
from dunlin import JobState

PATIENT = dunlin.Retry(attempts_max=50, delay_max=0.5)
FLAGS = ("--model=stub:20ms", "--min-instances=1", "--keep=5m")


def test_stream_and_job_outlive_a_killed_gateway(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.closing(start(tmp_path, tmp_path / "data", *FLAGS)))
        system = next(first)
        client = stack.enter_context(dunlin.Client(system.public, timeout=120, retry=PATIENT))
        job = client.jobs.create([picture(shade) for shade in range(100)])
        watch = client.jobs.watch(job)
        seen = [next(watch)]
        stream = client.classify_stream([picture(1000 + shade) for shade in range(100)])
        results = [next(stream) for _ in range(5)]
        system.process.kill()
        system.process.wait()
        again = start(tmp_path, tmp_path / "data", *FLAGS, listen=system.public)
        next(stack.enter_context(contextlib.closing(again)))
        results += stream
        assert sorted(result.index for result in results) == list(range(100))
        assert all(result.ok for result in results)
        seen += watch
        sequences = [event.sequence for event in seen]
        assert sequences == sorted(set(sequences))
        answered = [event.result.index for event in seen if event.result]
        assert sorted(answered) == list(range(100))
        assert client.jobs.get(job).state is JobState.SUCCEEDED
