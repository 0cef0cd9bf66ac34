from __future__ import annotations

import io
import os
import pickle
import re
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
from torch_files import (
    ORDERED_DICT,
    archive,
    call,
    name,
    parameter,
    plain,
    storage,
    table,
    tensor,
    whole,
)

from minicnn.errors import FileFormatError
from minicnn.io import load_file, load_torch
from minicnn.io.pytorch import LONGEST, MOST, named_arrays

SIX = np.arange(6, dtype="<f4")


def written(folder, content):
    path = folder / "model.pth"
    path.write_bytes(content)
    return path


def one(tmp_path, steps, storages=None, **settings):
    """Read a checkpoint that holds one tensor under the name "x"."""
    storages = {"0": SIX.tobytes()} if storages is None else storages
    return load_file(written(tmp_path, archive(table({"x": steps}), storages, **settings)))["x"]


# --- what is read -----------------------------------------------------------------------------

VIEWS = {  # offset, sizes, strides -> what NumPy makes of the six values
    "plain": (0, (2, 3), (3, 1), SIX.reshape(2, 3)),
    "transposed": (0, (3, 2), (1, 3), SIX.reshape(2, 3).T),
    "with an offset": (1, (2, 2), (3, 1), SIX.reshape(2, 3)[:, 1:]),
    "every second": (0, (3,), (2,), SIX[::2]),
    "expanded": (2, (4, 2), (0, 1), np.broadcast_to(SIX[2:4], (4, 2))),
    "no dimension": (5, (), (), SIX[5]),
    "one long stride": (3, (1, 2), (2**62, 1), SIX[3:5].reshape(1, 2)),
    "empty": (0, (0, 3), (3, 1), np.zeros((0, 3), "f4")),
    "empty behind the end": (9, (0,), (1,), np.zeros(0, "f4")),
}


@pytest.mark.parametrize("case", VIEWS)
def test_views_of_a_storage(tmp_path, case):
    offset, sizes, strides, expected = VIEWS[case]
    found = one(tmp_path, tensor(None, offset, sizes, strides))
    assert found.dtype == np.float32
    assert found.flags.writeable
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize(("kind", "stored", "expected"), [
    ("BoolStorage", np.array([0, 1, 2], "u1"), np.array([False, True, True])),
    ("ByteStorage", np.array([0, 1, 255], "u1"), None),
    ("CharStorage", np.array([0, 1, -128], "i1"), None),
    ("ShortStorage", np.array([0, 1, -300], "i2"), None),
    ("IntStorage", np.array([0, 1, -70_000], "i4"), None),
    ("LongStorage", np.array([0, 1, -(2**40)], "i8"), None),
    ("HalfStorage", np.array([0, 1.5, -np.inf], "f2"), None),
    ("FloatStorage", np.array([0, 1.5, -np.inf], "f4"), None),
    ("DoubleStorage", np.array([0, 1.5, 1e300], "f8"), None),
    ("BFloat16Storage", np.array([0, 0x3FC0, 0xFF80], "u2"), np.array([0, 1.5, -np.inf], "f4")),
])  # fmt: skip
@pytest.mark.parametrize("order", ["little", "big"])
def test_types_and_byte_orders(tmp_path, kind, stored, expected, order):
    swapped = stored.astype(stored.dtype.newbyteorder("<" if order == "little" else ">"))
    steps = tensor(storage(count=3, kind=kind), 0, (3,), (1,))
    found = one(tmp_path, steps, {"0": swapped.tobytes()}, more={"byteorder": order.encode()})
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, stored if expected is None else expected, strict=True)


def test_tensors_that_share_a_storage_share_it_again(tmp_path):
    state = table({"a": tensor(), "b": parameter(tensor(None, 3, (3,), (1,)))}, ORDERED_DICT)
    found = load_torch(written(tmp_path, archive(state, {"0": SIX.tobytes()})))
    assert type(found) is OrderedDict
    found["a"][1, 0] = 7
    assert found["b"][0] == 7


def test_nested_checkpoints_come_whole_or_with_dotted_names(tmp_path):
    steps = table({
        "epoch": plain(3),
        "model": table({"fc.weight": tensor()}, ORDERED_DICT),
        "optimizer": table({"state": b"}" + plain(0) + tensor(None, 0, (6,), (1,)) + b"s"}),
        "betas": plain((0.9, 0.999)),
        "shape": call(name("torch", "Size"), plain((2, 3))),
    })  # fmt: skip
    path = written(tmp_path, archive(steps, {"0": SIX.tobytes()}))
    found = load_torch(path)
    assert (found["epoch"], found["betas"], found["shape"]) == (3, (0.9, 0.999), (2, 3))
    np.testing.assert_array_equal(found["optimizer"]["state"][0], SIX)
    assert list(load_file(path)) == ["model.fc.weight", "optimizer.state.0"]


def test_the_content_says_what_a_file_is(tmp_path):
    path = tmp_path / "model.safetensors"  # the name lies
    path.write_bytes(archive(table({"x": tensor()}), {"0": SIX.tobytes()}))
    np.testing.assert_array_equal(load_file(path)["x"], SIX.reshape(2, 3))


# --- beside torch ---------------------------------------------------------------------------


def test_what_torch_saves(tmp_path, torch):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, 5, generator=g)
    state = OrderedDict(
        plain=x, transposed=x.T, part=x[1:, ::2], expanded=x[:1].expand(3, 5), scalar=x[0, 0],
        empty=x[:0], parameter=torch.nn.Parameter(x + 1), half=x.half(), bfloat16=x.bfloat16(),
        double=x.double(), count=torch.tensor(3), mask=x > 0, bytes=(x * 9).to(torch.uint8),
        channels_last=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        flipped=x.flip(0),
    )  # fmt: skip
    for protocol in (2, 3, 4, 5):
        torch.save(state, tmp_path / "x", pickle_protocol=protocol)
        found = load_file(tmp_path / "x")
        assert list(found) == list(state)
        for key, value in state.items():
            wanted = value.detach()
            wanted = (wanted.float() if key == "bfloat16" else wanted).numpy()
            assert found[key].dtype == wanted.dtype
            np.testing.assert_array_equal(found[key], wanted, err_msg=key, strict=True)
    assert np.shares_memory(found["plain"], found["transposed"])


def test_a_checkpoint_of_a_training(tmp_path, torch):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    saved = {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(saved, tmp_path / "x")
    found = load_torch(tmp_path / "x")
    assert found["epoch"] == 3
    assert found["optimizer"]["param_groups"][0]["lr"] == 0.1
    assert int(found["model"]["1.num_batches_tracked"]) == 1
    moments = found["optimizer"]["state"][0]["momentum_buffer"]
    expected = optimizer.state[model[0].weight]["momentum_buffer"].numpy()
    np.testing.assert_array_equal(moments, expected)


@pytest.mark.filterwarnings("ignore")  # PyTorch's, about what it saves here
@pytest.mark.parametrize("what", ["model", "sparse", "legacy", "quantized"])
def test_what_of_torchs_is_refused(tmp_path, torch, what):
    path = tmp_path / "x"
    x = torch.ones(2, 2)
    value = {
        "model": torch.nn.Linear(2, 2),
        "sparse": {"x": x.to_sparse()},
        "legacy": {"x": x},
        "quantized": {"x": torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)},
    }[what]
    torch.save(value, path, _use_new_zipfile_serialization=what != "legacy")
    with pytest.raises(FileFormatError, match=r"torch\.save\(model\.state_dict\(\), path\)"):
        load_file(path)


# --- attacks --------------------------------------------------------------------------------

HUGE = 2**63 - 1
LIES = {
    "behind the end": tensor(None, 0, (2, 4), (3, 1)),
    "offset behind the end": tensor(None, 6, (1,), (1,)),
    "stride behind the end": tensor(None, 0, (2,), (6,)),
    "sum that would overflow": tensor(None, HUGE, (2, 2), (HUGE, HUGE)),
    "negative offset": tensor(None, -1, (1,), (1,)),
    "negative size": tensor(None, 0, (-2, -3), (3, 1)),
    "negative stride": tensor(None, 5, (6,), (-1,)),
    "fewer strides": tensor(None, 0, (2, 3), (1,)),
    "no numbers": tensor(None, 0, (2.0,), (1.0,)),
    "a text for a size": tensor(None, 0, "ab", (1, 1)),
    "a number for sizes": tensor(None, 0, 3, 1),
    "too many sides": tensor(None, 0, (1,) * 65, (1,) * 65),
    "sizes beyond all memory": tensor(None, 0, (2**62, 2**62), (0, 0)),
    "expanded beyond reason": tensor(None, 0, (10**6,), (0,)),
    "no storage": tensor(plain("0")),
    "an empty shape beyond all memory": tensor(None, 0, (0, 2**62, 2**62), (0, 0, 0)),
    "more values than bytes": tensor(storage(count=7)),
    "fewer values than bytes": tensor(storage(count=5), 0, (1,), (1,)),
    "a negative count": tensor(storage(count=-6), 0, (0,), (1,)),
    "a count beyond all memory": tensor(storage(count=2**60)),
    "a storage that is missing": tensor(storage(key="1")),
    "a storage elsewhere": tensor(storage(key="../data.pkl", count=10)),
    "a path outside": tensor(storage(key="/../../etc/passwd")),
    "a storage of two types": b"](" + tensor() + tensor(storage(kind="IntStorage")) + b"e",
    "a storage kind of text": tensor(
        b"(" + b"".join(map(plain, ("storage", "FloatStorage", "0", "cpu", 6))) + b"tQ"
    ),
    "a persistent id of another kind": plain(("module", "os", "system")) + b"Q",
    "a persistent id that is a list": plain([1]) + b"Q",
    "a storage class that is called": call(name("torch", "FloatStorage"), plain(10**12)),
    "a class of torch's": call(name("torch", "load"), plain("x")),
    "a tensor with a state": tensor() + plain({"__class__": 1}) + b"b",
    "os.system": call(name("os", "system"), plain("true")),
    "eval": call(name("builtins", "eval"), plain("1")),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_description_that_lies_is_refused(tmp_path, case):
    with pytest.raises(FileFormatError, match="is no PyTorch checkpoint that can be read: "):
        one(tmp_path, LIES[case])


def test_the_storages_of_these_tests_are_good(tmp_path):
    np.testing.assert_array_equal(one(tmp_path, tensor()), SIX.reshape(2, 3))


def test_nothing_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    path = written(tmp_path, archive(plain({"x": Trap()})))
    with pytest.raises(FileFormatError, match=r"names (posix|nt)\.mkdir, which is no part of wei"):
        load_file(path)
    path.write_bytes(pickle.dumps({"x": Trap()}))  # and so not in an old file either
    with pytest.raises(FileFormatError, match=r"before 1\.6 \(to convert it: torch\.save\("):
        load_file(path)
    assert not (tmp_path / "sprung").exists()


def memory_until_refused(path, reason):
    """Return the most bytes that were taken while a refused file was read."""
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=reason):
            load_file(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_compressed_entries_are_refused_before_they_are_unpacked(tmp_path):
    content = archive(
        table({"x": tensor(storage(count=10**7), 0, (10**7,), (1,))}),
        {"0": bytes(4 * 10**7)},
        compression=zipfile.ZIP_DEFLATED,
    )
    path = written(tmp_path, content)
    assert memory_until_refused(path, "is compressed or encrypted") < 10**6


def changed_sizes(content, size, local):
    """Return an archive whose directory, and `local` headers too, give storage 0 another size."""
    content, entry = bytearray(content), b"archive/data/0"
    for signature, name_at, sizes_at in ((b"PK\x01\x02", 46, 20), (b"PK\x03\x04", 30, 18)):
        if signature == b"PK\x03\x04" and not local:
            continue
        places = [found.start() for found in re.finditer(re.escape(signature), bytes(content))]
        (place,) = (at for at in places if content[at + name_at :].startswith(entry))
        content[place + sizes_at : place + sizes_at + 8] = size.to_bytes(4, "little") * 2
    return bytes(content)


@pytest.mark.parametrize("local", [False, True])
def test_entries_longer_than_the_file_are_refused_before_memory_is_taken(tmp_path, local):
    steps = table({"x": tensor(storage(count=10**8), 0, (6,), (1,))})
    content = changed_sizes(archive(steps, {"0": SIX.tobytes()}), 4 * 10**8, local)
    path = written(tmp_path, content)
    assert memory_until_refused(path, "its entry has 400000000 bytes") < 10**6


def test_entries_that_lie_in_each_other_are_counted(tmp_path):
    """Eight entries, each with the next one in its bytes, would become eight times the file."""
    tensors, entries, content = {}, [], bytes(400_000)
    for key in "abcdefgh":
        entry = zipfile.ZipInfo(f"archive/data/{key}")
        entry.extra = b"\xff\xff\x04\x00----"  # a header of 52 bytes: 13 values
        entry.file_size = entry.compress_size = len(content)
        entry.CRC = zlib.crc32(content)
        count = len(content) // 4
        tensors[key] = tensor(storage(key, count), 0, (count,), (1,))
        content = entry.FileHeader() + content
        entry.header_offset = -len(content)  # from the end of them all
        entries.append(entry)
    file = io.BytesIO()
    file.write(content)
    with zipfile.ZipFile(file, "a") as made:
        for entry in entries:
            entry.header_offset += len(content)
            made.filelist.append(entry)
            made.NameToInfo[entry.filename] = entry
        made.writestr("archive/data.pkl", whole(table(tensors)))
    path = written(tmp_path, file.getvalue())
    assert path.stat().st_size < 500_000
    assert memory_until_refused(path, "have more bytes than the file|Overlapped") < 2 * 10**6


def test_two_entries_of_one_name(tmp_path):
    file = io.BytesIO(archive(table({"x": tensor()}), {"0": SIX.tobytes()}))
    with zipfile.ZipFile(file, "a") as made, pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("archive/data/0", bytes(24))
    with pytest.raises(FileFormatError, match="two of its entries have the same name"):
        load_file(written(tmp_path, file.getvalue()))


@pytest.mark.parametrize(("steps", "reason"), [
    (b"]q\x00h\x00a", "dicts 33 deep"),  # a list that holds itself
    (b"]" + b"".join(b"q%c](%se" % (i, b"h%c" % i * 9) for i in range(20)), "more than 100000"),
    (table({"a" * (LONGEST + 1): tensor()}), f"a name of {LONGEST + 1} characters"),
    (table({"a.b": tensor(), "a": table({"b": tensor()})}), r"'a\.b' comes twice"),
])  # fmt: skip
def test_dicts_without_end_and_names_without_measure(tmp_path, steps, reason):
    path = written(tmp_path, archive(steps, {"0": SIX.tobytes()}))
    with pytest.raises(FileFormatError, match=reason):
        load_file(path)


def test_most_values_are_just_read():
    assert named_arrays([None] * (MOST - 1)) == {}


@pytest.mark.parametrize("missing", ["archive/data.pkl", "archive/data/0"])
def test_an_entry_that_is_missing(tmp_path, missing):
    full = zipfile.ZipFile(io.BytesIO(archive(table({"x": tensor()}), {"0": SIX.tobytes()})))
    with zipfile.ZipFile(tmp_path / "x", "w") as made:
        for entry in full.namelist():
            if entry != missing:
                made.writestr(entry, full.read(entry))
    with pytest.raises(FileFormatError, match=r"without one data\.pkl|its entry has 0 bytes"):
        load_file(tmp_path / "x")


def test_a_zip_of_something_else(tmp_path):
    np.savez(tmp_path / "x.npz", x=SIX)
    with pytest.raises(FileFormatError, match=r"zip archive without one data\.pkl; copy it again"):
        load_file(tmp_path / "x.npz")


def test_every_cut_and_every_changed_byte_is_read_or_refused(tmp_path):
    content = archive(table({"x": tensor(), "y": parameter(tensor())}), {"0": SIX.tobytes()})
    path = tmp_path / "x"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError):
            load_file(path)
    values = content.index(SIX.tobytes())
    for position in range(0, len(content), 2):
        changed = bytearray(content)
        changed[position] ^= (0x01, 0x10, 0x80)[position // 2 % 3]
        path.write_bytes(changed)
        try:
            load_file(path)
        except FileFormatError:
            continue
        assert not values <= position < values + 24  # the check sum covers the values


def test_every_cut_and_every_changed_byte_of_the_pickle_is_read_or_refused(tmp_path):
    """Check sums do not help here: who changes a pickle on purpose computes them anew."""
    steps = table({"x": tensor(), "n": plain([1, (2.5, "a")])}, ORDERED_DICT)
    changes = [whole(steps)[:length] for length in range(0, len(steps), 3)]
    for position in range(len(steps)):
        changed = bytearray(whole(steps))
        changed[position] ^= (0x01, 0x06, 0x80)[position % 3]
        changes.append(bytes(changed))
    right = written(tmp_path, archive(steps, {"0": SIX.tobytes()})).read_bytes()
    read = 0
    for text in changes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("archive/data.pkl", text)
            made.writestr("archive/data/0", SIX.tobytes())
        try:
            load_file(written(tmp_path, file.getvalue()))
            read += 1
        except FileFormatError:
            pass
    assert 0 < read < len(changes) / 4  # other numbers and names, such as "y" for "x"
    np.testing.assert_array_equal(load_file(written(tmp_path, right))["x"], SIX.reshape(2, 3))
