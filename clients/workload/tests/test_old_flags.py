"""The command lines of the old generators."""

from __future__ import annotations

import pytest
from conftest import SAMPLES, Workload
from misbehaving import Server

from dunlin_workload import measure, options, run
from dunlin_workload.answers import Expected, WrongAnswer, label
from dunlin_workload.outcome import Kind, Outcome


@pytest.mark.parametrize("slash", ["", "/"])
def test_command_line_of_2021_works(workload: Workload, server: Server, slash: str) -> None:
    workload.put("test_00.jpg", "test_01.jpg")
    # The later flag wins.
    done = workload.run(
        "--num_request", "1", "--url", server.url, "--image_folder", f"{workload.images}{slash}", "--field", "myfile"
    )
    assert done.code == 0, done.errors
    assert server.came == {"test_00.jpg": 1}
    assert server.fields == {"myfile"}


def test_command_line_of_2025_goes_to_port_8000() -> None:
    command = ["--num_request", "3", "--ip_addr", "10.0.0.7", "--image_folder", str(SAMPLES)]
    asked = options.parse(command)
    assert asked.server.url.geturl() == "http://10.0.0.7:8000/"
    assert asked.server.form_field == "inputFile"
    assert asked.load.concurrency == 100
    assert [path.name for path in asked.load.images] == ["chelsea.png", "china.jpg", "coffee.png"]


def test_more_images_than_there_are_come_round_again() -> None:
    found = run.find(SAMPLES)
    assert len(run.choose(found, 12, None)) == 12
    assert run.choose(found, None, None) == found
    by_chance = run.choose(found, 5, 1)
    assert sorted(by_chance) == found
    assert run.choose(found, 5, 1) == by_chance
    assert len(run.choose(found, 13, 1)) == 13


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--url", "ftp://a"],
        ["--url", "a"],
        ["--url", "http://a:99999"],
        ["--url", "http://a", "--ip_addr", "b"],
        ["--url", "http://a", "--num_request", "0"],
        ["--url", "http://a", "--rate", "0"],
        ["--url", "http://a", "--prediction_file", "/nowhere"],
        ["--url", "http://a", "--image_folder", "/nowhere"],
    ],
)
def test_wrong_usage_is_told(workload: Workload, flags: list[str]) -> None:
    workload.put("a.jpg")
    done = workload.run(*flags)
    assert done.code == 2
    assert "error:" in done.errors
    assert not done.numbers


@pytest.mark.parametrize(
    ("body", "want"),
    [
        ("Paul", "Paul"),
        ("test_00:Paul", "Paul"),
        ("test_00:Paul\n", "Paul"),
        ("test_00.jpg:Paul", "Paul"),
        ("(test_00, Paul)", "Paul"),
        ("(test_00.jpg,Paul)", "Paul"),
        ("test_00,Paul", "Paul"),
        ("tabby, tabby cat", "tabby, tabby cat"),
        ("test_00:tabby, tabby cat", "tabby, tabby cat"),
        ("half: a label", "half: a label"),
    ],
)
def test_label_is_found_in_every_old_answer(body: str, want: str) -> None:
    assert label(body, "text/plain", "test_00.jpg") == want


@pytest.mark.parametrize("body", ["", " \n", "test_01:Paul", "(test_01,Paul)"])
def test_answer_for_another_image_is_no_answer(body: str) -> None:
    with pytest.raises(WrongAnswer):
        label(body, "text/plain", "test_00.jpg")


def test_labels_are_read_with_a_head_and_without(workload: Workload) -> None:
    file = workload.folder / "labels.csv"
    for text in ("Image,Results\ntest_00,Paul\n", "\ufefftest_00.jpg, Paul\r\n\r\n"):
        file.write_text(text, encoding="utf-8")
        assert Expected.read(file).of("test_00.jpeg") == "Paul"
        assert len(Expected.read(file)) == 1


def test_percentiles_are_of_answers_that_were() -> None:
    outcomes = [Outcome("a", Kind.ANSWERED, seconds=number / 100) for number in range(1, 101)]
    numbers = measure.summary([*outcomes, Outcome("b", Kind.FAILED, seconds=99, reason="x")], 10)
    assert [numbers.percentile(share) for share in (0.5, 0.95, 0.99, 1)] == [0.5, 0.95, 0.99, 1.0]
    bars = measure.histogram(numbers.latencies)
    assert sum(bar.count for bar in bars) == 100
    assert bars[0].low == 0.01
    assert measure.histogram([0.5]) == [measure.Bar(0.5, 0.500001, 1)]
    assert measure.histogram([]) == []
    assert sum(measure.throughput(outcomes, 10, 5)) * 10 / 5 == pytest.approx(100)
