"""Weights in a safetensors file: a header in JSON, then the bytes of every array.

The file is data alone: nothing in it is ever run. PyTorch, JAX and others read and write it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.errors import ArgumentError, DTypeError, FileFormatError
from minicnn.io.files import StrPath, atomic_write
from minicnn.tensor import Tensor
from minicnn_kernels.arrays import Array

DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
METADATA = "__metadata__"  # the entry of the header that is no tensor


def save_file(
    tensors: Mapping[str, Tensor | Array],
    path: StrPath,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to `path` as a safetensors file, whole or not at all.

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
    from safetensors import SafetensorError
    from safetensors.numpy import save_file as write

    arrays = {_checked_name(name): _plain_array(name, value) for name, value in tensors.items()}
    notes = dict(metadata or {})
    for key, text in notes.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise ArgumentError(
                f"save_file: metadata holds {key!r}: {text!r}; give both as str (json.dumps(...))"
            )
    with atomic_write(path) as temporary:
        try:
            write(arrays, temporary, notes or None)
        except SafetensorError as error:
            raise OSError(f"save_file: cannot write {os.fspath(path)!r}: {error}") from error
        if notes:
            _sort_metadata(temporary)


def load_file(path: StrPath) -> dict[str, Array]:
    """Read the arrays of a safetensors file by name. Each is a writable copy of its own.

    Raises:
        FileFormatError: the file is missing, cut short, changed, or of another format.
    """
    with _opened("load_file", path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def load_metadata(path: StrPath) -> dict[str, str]:
    """Read the metadata of a safetensors file in the order of its keys, without its arrays.

    Raises:
        FileFormatError: the file is missing, cut short, changed, or of another format.
    """
    with _opened("load_metadata", path) as file:
        return dict(sorted((file.metadata() or {}).items()))


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or name == METADATA:
        raise ArgumentError(
            f"save_file: tensors holds the name {name!r}; give a str other than {METADATA!r}"
        )
    return name


def _plain_array(name: str, value: Tensor | Array) -> Array:
    """Return `value` as an array in C order.

    The library copies memory as it lies: without this, strided arrays are saved scrambled.
    """
    array = value.detach().numpy() if isinstance(value, Tensor) else value
    if not isinstance(array, np.ndarray) or array.dtype.name not in DTYPES:
        found = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(value)
        raise DTypeError(
            f"save_file: tensors[{name!r}] is {found}; give a Tensor or an array of "
            f"{', '.join(DTYPES)}"
        )
    return np.array(array, order="C", copy=None)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata in the header, which the library writes in a random order.

    Only the order changes, so the header keeps its length and the arrays their place.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header[METADATA] = dict(sorted(header[METADATA].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        file.seek(8)
        file.write(text)


@contextmanager
def _opened(function: str, path: StrPath) -> Iterator[Any]:
    """Open a safetensors file, and turn all that can be wrong with it into a FileFormatError."""
    from safetensors import SafetensorError, safe_open

    name = repr(os.fspath(path))
    if not os.path.isfile(path):
        found = "a folder or a device" if os.path.exists(path) else "missing"
        raise FileFormatError(f"{function}: {name} is {found}; give the path of a weight file")
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise FileFormatError(
            f"{function}: {name} ({os.path.getsize(path)} bytes) is no complete safetensors file: "
            f"{reason}. It was cut short, changed, or is of another format (torch.save's, for "
            "example); copy it or save it again"
        ) from error
    except OSError as error:
        raise FileFormatError(
            f"{function}: {name} cannot be read: {error}; check its permissions and its disk"
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
        # What NumPy says of a type or a shape that the format knows and NumPy does not.
        raise FileFormatError(
            f"{function}: {name} holds an array that NumPy has no type or size for: {error}; "
            "save it as float32 with the program that wrote it"
        ) from error
