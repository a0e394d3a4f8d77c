"""Against a server that misbehaves: every image is counted once, as what it was."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import Workload
from misbehaving import Server


def add_up(numbers: dict[str, int]) -> None:
    kinds = ("right", "wrong", "answered", "failed", "not_sent")
    assert sum(numbers[kind] for kind in kinds) == numbers["total"]


@pytest.mark.parametrize(
    ("name", "kind", "reason", "came"),
    [
        ("test_0.jpg", "answered", "", 1),
        ("alone_0.jpg", "answered", "", 1),
        ("tuple_0.jpg", "answered", "", 1),
        ("json_0.jpg", "answered", "", 1),
        ("busy_1.jpg", "answered", "", 2),
        ("busy_9.jpg", "failed", "HTTP 503", 3),
        ("closes_1.jpg", "answered", "", 2),
        ("closes_9.jpg", "failed", "closed without an answer", 3),
        ("resets_0.jpg", "failed", "closed without an answer", 3),
        ("short_0.jpg", "failed", "answer broke off", 3),
        ("refused_0.jpg", "failed", "HTTP 400", 1),
        ("created_0.jpg", "failed", "HTTP 201", 1),
        ("moved_0.jpg", "failed", "HTTP 302", 1),
        ("empty_0.jpg", "failed", "wrong answer", 1),
        ("other_0.jpg", "failed", "wrong answer", 1),
        ("garbage_0.jpg", "failed", "BadStatusLine", 1),
        ("hangs_0.jpg", "failed", "timeout", 1),
        ("drips_0.jpg", "failed", "timeout", 1),
    ],
)
def test_each_kind_of_answer_is_what_it_is(
    workload: Workload, server: Server, name: str, kind: str, reason: str, came: int
) -> None:
    workload.put(name)
    timeout = "2" if kind == "failed" and reason == "timeout" else "20"
    done = workload.run("--url", server.url, "--timeout", timeout, "--attempts", "3")
    image = done.image(name)
    assert (image["kind"], image["reason"], image["attempts"]) == (kind, reason, came)
    assert server.came[name] == came
    # Repetitions can be known as such.
    assert len(server.keys[name]) == 1
    assert done.code == (0 if kind == "answered" else 69)
    assert image["seconds"] < float(timeout) + 1
    add_up(done.numbers)


def test_all_at_once_each_is_counted_once(workload: Workload, server: Server) -> None:
    good = [f"test_{number:03}.jpg" for number in range(300)]
    bad = ["busy_1.jpg", "closes_1.jpg", "refused_0.jpg", "empty_0.jpg", "resets_0.jpg", "other_0.jpg", "closes_9.jpg"]
    workload.put(*good, *bad, ".DS_Store", "notes.txt")
    done = workload.run("--url", server.url, "--concurrency", "50", "--quiet")
    assert done.numbers["total"] == 307
    assert done.numbers["answered"] == 302
    assert done.numbers["failed"] == 5
    assert done.numbers["retried"] == 4
    assert done.numbers["reasons"] == {
        "closed without an answer": 2,
        "wrong answer": 2,
        "HTTP 400": 1,
    }
    assert all(server.came[name] == 1 for name in good)
    assert done.code == 1
    add_up(done.numbers)


def test_time_that_the_server_names_is_waited_for(workload: Workload, server: Server) -> None:
    workload.put("busy_1.jpg")
    done = workload.run("--url", server.url)
    first, second = server.times["busy_1.jpg"]
    assert 1.0 <= second - first < 2.0
    # It is in the latency: that is what the caller waited.
    assert done.image("busy_1.jpg")["seconds"] >= 1.0


def test_labels_are_compared_with_the_file(workload: Workload, server: Server) -> None:
    workload.put("test_1.jpg", "test_2.jpg", "test_3.jpg", "alone_4.jpg")
    labels = workload.folder / "labels.csv"
    labels.write_text("Image,Results\ntest_1,label 1\ntest_2.jpg,label 7\nalone_4,Paul\n")
    done = workload.run("--url", server.url, "--prediction_file", str(labels))
    assert (done.numbers["right"], done.numbers["wrong"], done.numbers["answered"]) == (2, 1, 1)
    assert done.image("test_2.jpg")["expected"] == "label 7"
    assert "test_2.jpg: 'label 2' and not 'label 7'" in done.out
    assert "[Workload-gen] Total number of answered images: 4" in done.out
    assert done.code == 1


def test_connection_is_kept_unless_told_not_to(workload: Workload, server: Server) -> None:
    workload.put(*(f"test_{number}.jpg" for number in range(20)))
    workload.run("--url", server.url, "--concurrency", "1")
    assert server.connections == 1
    workload.run("--url", server.url, "--concurrency", "1", "--new-connections")
    assert server.connections == 21


def test_rate_is_kept_and_a_slow_server_cannot_hide(workload: Workload, server: Server) -> None:
    workload.put(*(f"slow_{number}.jpg" for number in range(8)))
    # Two at once, one second each, ten a second: the last is answered 4 s after the start, and was due at 0.7 s.
    done = workload.run("--url", server.url, "--rate", "10", "--concurrency", "2")
    assert [round(image["at"], 1) for image in done.numbers["images"]] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert 3.0 < done.numbers["latency_seconds"]["p100"] < 4.5
    assert done.numbers["latency_seconds"]["p50"] > 1.5


def test_interrupt_ends_the_run_and_the_rest_is_not_sent(workload: Workload, server: Server) -> None:
    workload.put(*(f"slow_{number:02}.jpg" for number in range(20)))
    done = workload.run("--url", server.url, "--concurrency", "2", interrupt_after=2.5)
    assert done.code == 130
    assert done.numbers["answered"] == sum(server.came.values())
    assert done.numbers["not_sent"] == 20 - sum(server.came.values()) > 0
    add_up(done.numbers)


def test_nobody_there_is_told_by_the_exit_code(workload: Workload) -> None:
    workload.put("test_0.jpg")
    done = workload.run("--url", "http://127.0.0.1:9/", "--attempts", "2")
    assert done.image("test_0.jpg")["reason"] == "connection refused"
    assert done.code == 69


def test_reader_that_goes_away_ends_nothing(workload: Workload, server: Server) -> None:
    workload.put(*(f"test_{number}.jpg" for number in range(10)))
    told = workload.folder / "told.json"
    flags = f"--image_folder {workload.images} --url {server.url} --json {told}"
    shell = f"{sys.executable} -m dunlin_workload {flags} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=30)  # noqa: S607
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert json.loads(told.read_text())["answered"] == 10


def test_what_a_server_says_is_shown_and_not_obeyed(workload: Workload, server: Server) -> None:
    workload.put("escape_0.jpg")
    page = workload.folder / "page.html"
    done = workload.run("--url", server.url, "--report", str(page))
    assert "\x1b" not in done.out
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_page_has_everything_and_needs_nothing(workload: Workload, server: Server) -> None:
    workload.put(*(f"test_{number:02}.jpg" for number in range(30)), "refused_0.jpg")
    page = workload.folder / "page.html"
    done = workload.run("--url", server.url, "--report", str(page))
    text = page.read_text()
    for told in ("test_29.jpg", "HTTP 400", "<svg", "p95", "answers a second", "not an image"):
        assert told in text
    assert "http" not in text.replace(server.url, "").replace("http-equiv", "")
    assert "latency: p50" in done.out
    assert "answers a second, at most" in done.out
