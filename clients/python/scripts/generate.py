"""Writes src/dunlin/_pb from the .proto files; with --check, compares and changes nothing.

Needs grpcio-tools 1.73.1 (requirements-dev.txt): its code runs on protobuf 6.31 to
7.x, that of newer ones only on newer ones.

The code is changed, so that it meets nobody else's in one process:
- modules import each other from `dunlin._pb` and not from `dunlin.v1` or `google.rpc`;
- descriptors go into a pool of our own, so that a program may also hold its own `dunlin/v1/*.proto` or googleapis'
  `google/rpc/*.proto`, of whatever version. The default pool refuses two files of one name.
Stubs get what mypy --strict misses in them.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import google.protobuf
import grpc_tools
from grpc_tools import protoc

PACKAGE = Path(__file__).resolve().parents[1]
PUBLIC = PACKAGE.parents[1] / "proto"
GENERATED = PACKAGE / "src" / "dunlin" / "_pb"
# (root, files under it)
SOURCES = (
    (
        PUBLIC,
        (
            "google/rpc/status.proto",
            "dunlin/v1/types.proto",
            "dunlin/v1/classifier_service.proto",
            "dunlin/v1/job_service.proto",
            "dunlin/v1/autoscaler_service.proto",
        ),
    ),
    (PACKAGE / "proto", ("error_details.proto", "health.proto")),
)
# `from dunlin.v1 import types_pb2` and `from google.rpc import status_pb2`, in code and in stubs.
IMPORT = re.compile(r"^from (dunlin\.v1|google\.rpc) import (\w+)", re.MULTILINE)
POOL = "_descriptor_pool.Default()"
INIT = '"""Made by scripts/generate.py from the .proto files. Not part of the API."""\n'


def own(text: str) -> str:
    """The code with its imports and its pool turned to ours."""
    text = IMPORT.sub(r"from dunlin._pb import \2", text)
    text = text.replace(
        "from google.protobuf import descriptor_pool as _descriptor_pool\n", "from dunlin._pool import POOL\n"
    )
    text = text.replace(POOL, "POOL")
    left = re.search(r"dunlin\.v1 import|google\.rpc import|_descriptor_pool\b", text)
    if left:
        raise SystemExit(f"generated code still says {left.group()!r}: teach scripts/generate.py")
    return text


def stub(text: str) -> str:
    """The stub made whole: protoc 31 forgets an import and types that mypy --strict asks for."""
    if "datetime." in text:
        text = "import datetime\n" + text
    text = re.sub(r"_Mapping(?=[\],])", "_Mapping[str, object]", text)
    return text.replace("**kwargs)", "**kwargs: object)")


def generate() -> dict[str, str]:
    """The files of `_pb` by name."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    files = {"__init__.py": INIT}
    for root, names in SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            out = [f"--python_out={folder}", f"--pyi_out={folder}"]
            if protoc.main(["protoc", f"-I{root}", f"-I{well_known}", *out, *names]) != 0:
                raise SystemExit("protoc failed")
            for path in sorted(Path(folder).rglob("*_pb2.py*")):
                text = own(path.read_text(encoding="utf-8"))
                files[path.name] = stub(text) if path.suffix == ".pyi" else text
    return files


def main() -> None:
    """Writes or compares."""
    parser = argparse.ArgumentParser(description="Write the generated code, or compare it.")
    parser.add_argument("--check", action="store_true", help="compare, and change nothing")
    check: bool = parser.parse_args().check
    if not google.protobuf.__version__.startswith("6.31."):
        raise SystemExit(f"protobuf is {google.protobuf.__version__}: use requirements-dev.txt")
    files = generate()
    old = {path.name: path.read_text(encoding="utf-8") for path in GENERATED.glob("*.py*") if path.is_file()}
    if check:
        different = sorted(name for name in files.keys() | old.keys() if files.get(name) != old.get(name))
        if different:
            sys.exit(f"not what scripts/generate.py makes: {', '.join(different)}")
        return
    GENERATED.mkdir(exist_ok=True)
    for name in old.keys() - files.keys():
        (GENERATED / name).unlink()
    for name, text in files.items():
        (GENERATED / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
