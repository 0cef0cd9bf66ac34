"""Checkpoints as `torch.save` writes them, and as an attacker might, made without torch."""

from __future__ import annotations

import io
import pickle
import zipfile


def plain(value):
    """Return the steps that push a plain value."""
    return pickle.dumps(value, protocol=2)[2:-1]


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def call(function, *arguments):
    """Return the steps that call a function with what `arguments`, which are steps, push."""
    return function + b"(" + b"".join(arguments) + b"tR"


ORDERED_DICT = call(name("collections", "OrderedDict"))


def storage(key="0", count=6, kind="FloatStorage"):
    description = (plain("storage"), name("torch", kind), plain(key), plain("cpu"), plain(count))
    return b"(" + b"".join(description) + b"tQ"


def tensor(of=None, offset=0, sizes=(2, 3), strides=(3, 1)):
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage() if of is None else of,
        *map(plain, (offset, sizes, strides, False)),
        ORDERED_DICT,
    )


def parameter(of):
    return call(name("torch._utils", "_rebuild_parameter"), of, plain(True), ORDERED_DICT)


def table(entries, start=b"}"):
    """Return the steps of a dict from texts to what steps push."""
    items = b"".join(plain(key) + value for key, value in entries.items())
    return start + b"(" + items + b"u"


def whole(steps):
    return b"\x80\x02" + steps + b"."


def archive(steps, storages=None, compression=zipfile.ZIP_STORED, more=()):
    """Return the bytes of a checkpoint."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr("archive/data.pkl", whole(steps))
        for key, content in {"byteorder": b"little", "version": b"3\n", **dict(more)}.items():
            made.writestr(f"archive/{key}", content)
        for key, content in (storages or {}).items():
            made.writestr(f"archive/data/{key}", content)
    return file.getvalue()
