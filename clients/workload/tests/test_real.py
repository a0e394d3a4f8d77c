"""Against the real system."""

from __future__ import annotations

import shutil

import pytest
from conftest import SAMPLES, Workload

LABELS = "Image,Results\nchelsea,tiger cat\nchina,palace\ncoffee,espresso\nflower,daisy\nrocket,missile\n"


@pytest.mark.parametrize(("path", "field"), [("/", "inputFile"), ("/upload", "myfile"), ("/x.php?format=tuple", "file")])
def test_photographs_get_the_right_labels(workload: Workload, real: str, path: str, field: str) -> None:
    for photograph in SAMPLES.iterdir():
        shutil.copy(photograph, workload.images)
    labels = workload.folder / "labels.csv"
    labels.write_text(LABELS)
    done = workload.run("--num_request", "20", "--url", real + path, "--prediction_file", str(labels), "--field", field)
    assert done.code == 0, done.out
    assert (done.numbers["total"], done.numbers["right"]) == (20, 20)


def test_bad_image_fails_alone(workload: Workload, real: str) -> None:
    shutil.copy(SAMPLES / "rocket.jpg", workload.images)
    (workload.images / "broken.jpg").write_bytes(b"not an image")
    done = workload.run("--url", real)
    assert done.code == 1
    assert done.image("rocket.jpg")["label"] == "missile"
    assert done.image("broken.jpg")["reason"] == "HTTP 415"
