"""What PyTorch's `torch.save` wrote, read without PyTorch, and without running any of it.

The file is a zip archive: `data.pkl` describes dicts, numbers and tensors, and a tensor is a view
(offset, sizes, strides) of a storage, whose bytes are the entry `data/KEY`.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from io import BufferedReader
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn.io.files import StrPath, opened
from minicnn.io.pickles import LARGEST, Recipe, unpickle
from minicnn_kernels.arrays import Array

ADVICE = (
    "copy it again or, with PyTorch, write the weights alone into a new file: "
    "torch.save(model.state_dict(), path)"
)
SPREAD = 64  # the tensors of a file, written out one by one, have at most so many times its bytes
MOST_SIDES = 64  # NumPy's limit
DEEPEST, MOST, LONGEST = 32, 100_000, 1000  # dicts in dicts, tensors, characters of a name


class Kind(NamedTuple):
    """The type of a storage: in the file, and of the arrays made of it."""

    stored: str
    dtype: str


class Storage(NamedTuple):
    """The values of one storage, in one row, and their type in the file."""

    values: Array
    kind: Kind


STORAGES = {
    "BoolStorage": Kind("u1", "bool"),
    "ByteStorage": Kind("u1", "uint8"),
    "CharStorage": Kind("i1", "int8"),
    "ShortStorage": Kind("i2", "int16"),
    "IntStorage": Kind("i4", "int32"),
    "LongStorage": Kind("i8", "int64"),
    "HalfStorage": Kind("f2", "float16"),
    "BFloat16Storage": Kind("u2", "float32"),  # the upper half of a float32
    "FloatStorage": Kind("f4", "float32"),
    "DoubleStorage": Kind("f8", "float64"),
}


class Checkpoint:
    """An open file: finds the storages, and makes tensors of them."""

    def __init__(self, file: BufferedReader) -> None:
        self.file, self.size = file, file.seek(0, os.SEEK_END)
        self.storages: dict[str, Storage] = {}
        self.read_bytes, self.tensor_bytes = 0, 0
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        self.entries = {entry.filename: entry for entry in entries}
        if len(self.entries) < len(entries):
            raise ValueError("two of its entries have the same name")
        pickles = [name for name in self.entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive without one data.pkl")
        self.folder = pickles[0].removesuffix("data.pkl")
        order = f"{self.folder}byteorder"
        self.order = ">" if order in self.entries and self.text(order, 16) == b"big" else "<"

    def value(self) -> Any:
        """Return what was saved."""
        names = {("torch", name): kind for name, kind in STORAGES.items()} | {
            ("collections", "OrderedDict"): Recipe(lambda: OrderedDict()),
            ("torch", "Size"): Recipe(lambda sizes: sizes),
            ("torch._utils", "_rebuild_tensor_v2"): Recipe(self.tensor),
            ("torch._utils", "_rebuild_parameter"): Recipe(lambda tensor, *_: tensor),
        }
        return unpickle(self.text(f"{self.folder}data.pkl", LARGEST), names, self.storage)

    def text(self, name: str, most: int) -> bytes:
        """Read a small entry."""
        if self.entries[name].file_size > most:
            raise ValueError(f"its entry {name} has {self.entries[name].file_size} bytes")
        return self.read(name).tobytes()

    def read(self, name: str) -> Array:
        """Read the bytes of an entry into memory of its own size, and compare the check sum."""
        if name not in self.entries:
            raise ValueError(f"its entry {name} is missing")
        entry = self.entries[name]
        self.read_bytes += entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"its entry {name} is compressed or encrypted, unlike PyTorch's")
        if entry.file_size != entry.compress_size or self.read_bytes > self.size:
            raise ValueError(f"its entries have more bytes than the file ({self.size})")
        self.file.seek(entry.header_offset)
        lengths = struct.unpack("<26x2H", self.file.read(30))  # of a name and of more, to skip
        self.file.seek(sum(lengths), os.SEEK_CUR)
        raw = np.empty(entry.file_size, np.uint8)
        if self.file.readinto(raw.data) < len(raw) or zlib.crc32(raw.data) != entry.CRC:
            raise ValueError(f"its entry {name} is cut short or changed")
        return raw

    def storage(self, description: Any) -> Storage:
        """Find a storage by the description that a pickle gives of it."""
        match description:
            case ("storage", Kind() as kind, str(key), str(), int(count)):
                pass
            case _:
                raise ValueError("it describes a storage that is none")
        if key not in self.storages:
            self.storages[key] = Storage(self.read_storage(key, kind, count), kind)
        found = self.storages[key]
        if found.kind != kind or len(found.values) != count:
            raise ValueError(f"it describes storage {key[:60]} in two ways")
        return found

    def read_storage(self, key: str, kind: Kind, count: int) -> Array:
        """Read the values of a storage into memory of its own size."""
        name = f"{self.folder}data/{key}"
        stored = np.dtype(self.order + kind.stored)
        there = self.entries[name].file_size if name in self.entries else 0
        if there != count * stored.itemsize or there > self.size:
            raise ValueError(
                f"storage {key[:60]} should have {count} values, its entry has {there} bytes"
            )
        raw = self.read(name) if there else np.empty(0, np.uint8)
        values = raw.view(stored).astype(stored.newbyteorder("="), copy=False)
        if kind == STORAGES["BFloat16Storage"]:
            return from_bfloat16(values)
        return values != 0 if kind.dtype == "bool" else values.view(kind.dtype)

    def tensor(self, storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> Array:
        """Return x with x[i,j,...] = storage[offset + i * strides[0] + j * strides[1] + ...]."""
        places = [offset, *sizes, *strides]
        if not (isinstance(storage, Storage) and all(isinstance(place, int) for place in places)):
            raise ValueError("a tensor is made of something else than a storage and whole numbers")
        if len(sizes) != len(strides) or len(sizes) > MOST_SIDES:
            raise ValueError(f"a tensor has {len(sizes)} sizes and {len(strides)} strides")
        if not all(0 <= place < 2**63 for place in places):
            raise ValueError("a tensor has an offset, size or stride below 0 or beyond all memory")
        values = storage.values
        self.tensor_bytes += prod(sizes) * values.itemsize
        if self.tensor_bytes > SPREAD * self.size:
            raise ValueError(f"its tensors have more than {SPREAD} times the bytes of the file")
        if 0 in sizes:
            return np.empty(sizes, values.dtype)
        last = offset + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True))
        if last >= len(values):
            raise ValueError(
                f"a tensor of sizes {sizes!s:.80} reads value {last} of a storage of {len(values)}"
            )
        steps = [
            stride * values.itemsize if n > 1 else 0
            for n, stride in zip(sizes, strides, strict=True)
        ]
        return np.lib.stride_tricks.as_strided(values[offset:], sizes, steps)


def from_bfloat16(values: Array) -> Array:
    """Return the float32 whose upper halves are these 16 bits."""
    bits = values.astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def load_torch(path: StrPath) -> Any:
    """Read what PyTorch's `torch.save` wrote, without PyTorch, and without running any of it.

    Dicts, lists, numbers and texts come as they are, tensors as writable arrays that share memory
    where the tensors did.  bfloat16, which NumPy lacks, becomes float32.

    Raises:
        FileFormatError: the file is missing, cut short or changed, was written by PyTorch before
            1.6, or holds anything but tensors in dicts, lists and tuples.
    """
    with opened("load_torch", path, "PyTorch checkpoint", ADVICE) as file:
        return read_torch(file)


def read_torch(file: BufferedReader) -> Any:
    """Read a checkpoint from an open file."""
    start = file.read(9)
    if start[:1] == b"\x80" or b"ustar" in start:
        raise ValueError(
            "it is a pickle that is no zip archive, as PyTorch wrote before 1.6 (to convert it: "
            "torch.save(torch.load(old, weights_only=True), new))"
        )
    return Checkpoint(file).value()


def named_arrays(value: Any) -> dict[str, Array]:
    """Return the arrays in nested dicts and lists under names joined by dots.

    >>> named_arrays({"epoch": 3, "model": {"fc.weight": np.zeros((2, 3))}, "steps": [np.ones(1)]})
    {'model.fc.weight': array([[0., 0., 0.],
           [0., 0., 0.]]), 'steps.0': array([1.])}

    Raises:
        ValueError: a name comes twice, or dicts within dicts have no end.
    """
    found: dict[str, Array] = {}
    for count, (name, each) in enumerate(_walk("", value, 0)):
        if count > MOST:
            raise ValueError(f"it has more than {MOST} values")
        if isinstance(each, np.ndarray):
            if name in found:
                raise ValueError(f"the name {name!r} comes twice")
            found[name] = each
    return found


def _walk(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Go over a value and all that is in it, a step at a time: a list may hold itself."""
    if depth > DEEPEST or len(name) > LONGEST:
        raise ValueError(f"it has dicts {depth} deep, or a name of {len(name)} characters")
    yield name, value
    if isinstance(value, (dict, list, tuple)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _walk(f"{name}.{key}" if name else f"{key}", each, depth + 1)
