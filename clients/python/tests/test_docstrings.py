"""The examples in the docstrings run; what they print depends on the machine, and is not compared."""

from __future__ import annotations

import ast
import datetime
import doctest
import importlib
import io
import itertools
import pkgutil
import shutil
from pathlib import Path

import pytest
from conftest import SAMPLES, System

import dunlin

MODULES = [*sorted(f"dunlin.{module.name}" for module in pkgutil.iter_modules(dunlin.__path__)), "dunlin"]
EXAMPLES = [
    found
    for module in MODULES
    for found in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    if found.examples
]


class Anything(doctest.OutputChecker):
    """Takes every output for the right one."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return "Traceback" not in got


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the examples name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("cat.jpg", "a.jpg", "b.jpg", "photos/0001.jpg"):
        shutil.copy(SAMPLES / "chelsea.png", tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    (tmp_path / "ca.pem").write_text("")
    return tmp_path


@pytest.mark.parametrize("found", EXAMPLES, ids=lambda found: found.name)
def test_example_in_a_docstring_runs(found: doctest.DocTest, real: System, folder: Path) -> None:
    for example in found.examples:
        example.source = example.source.replace("127.0.0.1:8000", real.public)
        if "await " in example.source or "async " in example.source:
            # The twin of the blocking client, whose examples run.
            compile(example.source, found.name, "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            return
    with dunlin.Client(real.public, autoscaler_address=real.autoscaler, timeout=60) as client:
        job = client.jobs.create(["a.jpg", "b.jpg"])
        names = {"client": client, "dunlin": dunlin, "job": job, "Path": Path, "datetime": datetime, "itertools": itertools}
        found.globs = {**vars(dunlin), **names}
        told = io.StringIO()
        failed, ran = doctest.DocTestRunner(Anything()).run(found, out=told.write, clear_globs=False)
        client.autoscaler.override()
    assert (failed, ran) == (0, len(found.examples)), told.getvalue()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 30
