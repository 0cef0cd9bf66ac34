"""Weights by name: safetensors files, written and read, and PyTorch's checkpoints, read.

A safetensors file is data alone: the length of a header, the header in JSON, which gives the type,
the shape and the place of every array, then their bytes.  PyTorch, JAX and others read and write it
too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from io import BufferedReader
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minicnn.errors import ArgumentError, DTypeError
from minicnn.io.files import StrPath, atomic_write, opened
from minicnn.io.pytorch import ADVICE, from_bfloat16, named_arrays, read_torch
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array, is_on_card, to_device

DTYPES = {  # in a header, and in NumPy
    "F16": "float16", "F32": "float32", "F64": "float64", "BOOL": "bool",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
    "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
}  # fmt: skip
CODES = {dtype: code for code, dtype in DTYPES.items()}
BFLOAT16 = "BF16"
METADATA = "__metadata__"  # the entry of the header that is no tensor
LARGEST_HEADER = 100_000_000  # bytes; the limit of the format
AGAIN = "copy it again, or save it again"
ALIGNMENT = 8  # bytes: a header ends at a multiple of it


def save_file(
    tensors: Mapping[str, Tensor | Array],
    path: StrPath,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to `path` as a safetensors file, whole or not at all.

    Arrays of any strides are written in C order, one after the other, without a copy of them all.
    The same arrays and metadata give the same bytes.

    Raises:
        ArgumentError: a name or a piece of metadata that is no text, or the reserved name.
        DTypeError: a value that is no array, or one of a type that the format lacks.
        OSError: the file cannot be written (no permission, no space).

    >>> from tempfile import TemporaryDirectory
    >>> weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    >>> with TemporaryDirectory() as folder:
    ...     save_file({"weight": weight.T}, f"{folder}/model.safetensors", {"epoch": "3"})
    ...     load_metadata(f"{folder}/model.safetensors")
    ...     load_file(f"{folder}/model.safetensors")["weight"].shape
    {'epoch': '3'}
    (3, 2)
    """
    arrays = {_checked_name(name): _checked_array(name, value) for name, value in tensors.items()}
    notes = dict(metadata or {})
    for key, text in notes.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise ArgumentError(
                f"save_file: metadata holds {key!r}: {text!r}; give both as str (json.dumps(...))"
            )
    # The widest types first: then each array begins at a multiple of its own item size.
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    ends = dict(zip(order, accumulate(arrays[name].nbytes for name in order), strict=True))
    header: dict[str, Any] = {METADATA: dict(sorted(notes.items()))} if notes else {}
    for name, array in arrays.items():
        place = (ends[name] - array.nbytes, ends[name])
        code = CODES[array.dtype.name]
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": place}
    start = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    start += b" " * (-len(start) % ALIGNMENT)
    with atomic_write(path) as temporary:
        try:
            with temporary.open("wb") as file:
                file.write(len(start).to_bytes(8, "little") + start)
                for name in order:
                    little_endian = arrays[name].dtype.newbyteorder("<")
                    file.write(np.array(arrays[name], little_endian, order="C", copy=None).data)
        except OSError as error:
            raise OSError(f"save_file: cannot write {os.fspath(path)!r}: {error}") from error


def load_file(path: StrPath) -> dict[str, Array]:
    """Read arrays by name, from a safetensors file or a checkpoint of PyTorch's `torch.save`.

    The content of the file says which of them it is.  The arrays are writable.  bfloat16, which
    NumPy lacks, becomes float32.  From a checkpoint tensors in nested dicts and lists come under
    names joined by dots, and all else is left out; tensors that shared memory share it again.
    `load_torch` returns everything.

    Raises:
        FileFormatError: the file is missing, cut short, changed, or of another format.
    """
    if is_of_torch(path):
        with opened("load_file", path, "PyTorch checkpoint", ADVICE) as file:
            return named_arrays(read_torch(file))
    with opened("load_file", path, "complete safetensors file", AGAIN) as file:
        places, _ = _read_header(file)
        return {name: _read_array(file, place) for name, place in places.items()}


def load_metadata(path: StrPath) -> dict[str, str]:
    """Read the metadata of a safetensors file in the order of its keys, without its arrays.

    Raises:
        FileFormatError: the file is missing, cut short, changed, or of another format.
    """
    with opened("load_metadata", path, "complete safetensors file", AGAIN) as file:
        _, metadata = _read_header(file)
        return dict(sorted(metadata.items()))


class Place(NamedTuple):
    """Where the bytes of an array are in a file, and what they are."""

    start: int
    stop: int
    code: str
    shape: tuple[int, ...]


def is_of_torch(path: StrPath) -> bool:
    """Say whether a file begins like a zip archive or a pickle, and not like a safetensors file."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError:
        return False
    return start.startswith((b"PK", b"\x80")) and start[8:] != b"{"


def _read_header(file: BufferedReader) -> tuple[dict[str, Place], dict[str, str]]:
    """Return the places of all arrays, and the metadata.

    Raises:
        ValueError: the places do not fill the file, or are not of the size of their arrays.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(size - 8, LARGEST_HEADER):
        raise ValueError(f"its header should have {length} bytes")
    header = json.loads(file.read(length).decode(), object_pairs_hook=_without_repetition)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    metadata = header.pop(METADATA, None) or {}
    if not all(isinstance(note, str) for note in metadata.values()):
        raise ValueError("its metadata are no texts")
    places = {name: _place(name, entry, 8 + length) for name, entry in header.items()}
    end = 8 + length
    for name, place in sorted(places.items(), key=lambda item: item[1][:2]):
        if place.start != end:
            raise ValueError(f"array {name!r} does not begin where the one before it ends")
        end = place.stop
    if end != size:
        raise ValueError(f"its arrays end at byte {end}")
    return places, metadata


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header has a key twice")
    return found


def _place(name: str, entry: Mapping[str, Any], data: int) -> Place:
    """Check what the header says of one array, whose bytes are counted from `data` on."""
    start, stop = entry["data_offsets"]
    code, shape = entry["dtype"], tuple(entry["shape"])
    if code != BFLOAT16 and code not in DTYPES:
        raise ValueError(f"array {name!r} has the type {code!r}, which NumPy lacks")
    if not all(type(number) is int and number >= 0 for number in (start, stop, *shape)):
        raise ValueError(f"array {name!r} has places or sizes that are no whole numbers")
    itemsize = 2 if code == BFLOAT16 else np.dtype(DTYPES[code]).itemsize
    if stop - start != prod(shape) * itemsize:
        raise ValueError(f"array {name!r} of shape {shape} has {stop - start} bytes")
    return Place(data + start, data + stop, code, shape)


def _read_array(file: BufferedReader, place: Place) -> Array:
    """Read one array into memory of its own size."""
    stored = np.dtype("uint16" if place.code == BFLOAT16 else DTYPES[place.code])
    array = np.empty(place.shape, stored.newbyteorder("<"))
    file.seek(place.start)
    if array.size and file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
        raise ValueError("it became shorter while it was read")
    array = array.astype(stored, copy=False)
    return from_bfloat16(array) if place.code == BFLOAT16 else array


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or name == METADATA:
        raise ArgumentError(
            f"save_file: tensors holds the name {name!r}; give a str other than {METADATA!r}"
        )
    return name


def _checked_array(name: str, value: Tensor | Array) -> Array:
    array = value.array if isinstance(value, Tensor) else value
    array = to_device(array, "cpu") if is_on_card(array) else array
    if not isinstance(array, np.ndarray) or array.dtype.name not in CODES:
        found = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(value)
        raise DTypeError(
            f"save_file: tensors[{name!r}] is {found}; give a Tensor or an array of "
            f"{', '.join(CODES)}"
        )
    return array
