"""Files that are data and nothing else, written whole or not at all."""

from minicnn.io.files import atomic_write, write_json, write_text
from minicnn.io.pytorch import load_torch
from minicnn.io.weights import load_file, load_metadata, save_file

__all__ = [
    "atomic_write",
    "load_file",
    "load_metadata",
    "load_torch",
    "save_file",
    "write_json",
    "write_text",
]
