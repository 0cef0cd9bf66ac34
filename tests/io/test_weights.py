from __future__ import annotations

import json
import os
import pickle
import re
import stat
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn.errors import ArgumentError, DTypeError, FileFormatError
from minicnn.io.weights import CODES, load_file, load_metadata, save_file
from minicnn.tensor import Tensor

NUMBERS = np.arange(24).reshape(2, 3, 4)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


ARRAYS = {
    "C order": NUMBERS.astype("float32"),
    "Fortran order": np.asfortranarray(NUMBERS.astype("float32")),
    "transposed": NUMBERS.astype("float32").transpose(2, 0, 1),
    "channels last": np.arange(48.0).reshape(2, 2, 4, 3).transpose(0, 3, 1, 2),
    "negative strides": NUMBERS.astype("float32")[::-1, :, ::-1],
    "every second": NUMBERS.astype("float64")[..., ::2],
    "broadcast": np.broadcast_to(np.float32([1, 2, 3]), (4, 3)),
    "one value broadcast": np.broadcast_to(np.float32(7), (2, 5)),
    "no dimension": np.array(3.5, dtype="float32"),
    "empty": np.zeros((0, 3), dtype="float32"),
    "empty in the middle": np.zeros((2, 0, 3), dtype="int64"),
    "read-only": read_only(NUMBERS.astype("float32")),
    "big-endian": NUMBERS.astype(">f4"),
    "big-endian transposed": NUMBERS.astype(">i8").T,
    "unaligned": np.frombuffer(b"x" + NUMBERS.tobytes(), dtype="int64", offset=1),
    "special values": np.float32([np.nan, np.inf, -np.inf, -0.0, 1e-45]),
    "bool": NUMBERS % 3 == 0,
    "bool transposed": (NUMBERS % 3 == 0).T,
    "largest": np.array([2**64 - 1], dtype="uint64"),
    **{name: (NUMBERS * 5).astype(name) for name in CODES if name.startswith("uint")},
    **{name: (NUMBERS - 12).astype(name) for name in CODES if not name.startswith("uint")},
}


@pytest.mark.parametrize("case", ARRAYS)
def test_every_layout_and_type_comes_back(tmp_path, case):
    array = ARRAYS[case]
    save_file({"x": array}, tmp_path / "x.safetensors")
    back = load_file(tmp_path / "x.safetensors")["x"]
    assert back.dtype == array.dtype.newbyteorder("=")
    assert back.shape == array.shape
    assert back.tobytes() == array.astype(back.dtype).tobytes()  # bytes: NaN and -0.0 too
    assert back.flags.c_contiguous
    assert back.flags.writeable


def test_many_arrays_in_one_file(tmp_path):
    save_file(ARRAYS, tmp_path / "x.safetensors")
    back = load_file(tmp_path / "x.safetensors")
    assert back.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_the_bytes_are_those_of_the_published_format(tmp_path):
    save_file(ARRAYS, tmp_path / "x", {"epoch": "3"})
    content = (tmp_path / "x").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    assert header.pop("__metadata__") == {"epoch": "3"}
    assert header.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        first, last = header[name]["data_offsets"]
        little_endian = array.astype(array.dtype.newbyteorder("<"))
        assert content[start + first : start + last] == little_endian.tobytes("C"), name
        assert header[name]["shape"] == list(array.shape)


def test_tensors_are_saved_with_or_without_a_gradient(tmp_path):
    weight = Tensor(ARRAYS["transposed"], requires_grad=True)
    save_file({"weight": weight, "mean": Tensor(np.zeros(3))}, tmp_path / "x")
    back = load_file(tmp_path / "x")
    np.testing.assert_array_equal(back["weight"], ARRAYS["transposed"])
    np.testing.assert_array_equal(back["mean"], np.zeros(3))


def test_saving_changes_nothing(tmp_path):
    array = NUMBERS.astype(">f4").T
    strides, copy = array.strides, array.copy()
    metadata = {"b": "1", "a": "2"}
    save_file({"x": array}, tmp_path / "x", metadata)
    assert (array.strides, array.dtype) == (strides, np.dtype(">f4"))
    np.testing.assert_array_equal(array, copy)
    assert list(metadata) == ["b", "a"]


def test_loaded_arrays_do_not_hang_on_the_file(tmp_path):
    save_file({"x": np.ones(3)}, tmp_path / "x")
    back = load_file(tmp_path / "x")["x"]
    back += 1
    np.testing.assert_array_equal(load_file(tmp_path / "x")["x"], np.ones(3))
    save_file({"x": np.zeros(1000)}, tmp_path / "x")
    np.testing.assert_array_equal(back, [2, 2, 2])


def test_no_array_at_all(tmp_path):
    save_file({}, tmp_path / "x")
    assert load_file(tmp_path / "x") == {}
    assert load_metadata(tmp_path / "x") == {}


def test_names_are_any_text(tmp_path):
    names = ["", "a.b.c", "größe", 'quote"', "new\nline", "\N{SNOWMAN}"]
    save_file({name: np.array([i]) for i, name in enumerate(names)}, tmp_path / "x")
    assert {name: int(array[0]) for name, array in load_file(tmp_path / "x").items()} == {
        name: i for i, name in enumerate(names)
    }


texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=30, deadline=None)
@given(metadata=st.dictionaries(texts, texts))
def test_any_metadata_comes_back_sorted_and_leaves_the_arrays_alone(tmp_path_factory, metadata):
    path = tmp_path_factory.mktemp("weights") / "x"
    save_file({'"': NUMBERS}, path, metadata)
    assert list(load_metadata(path).items()) == sorted(metadata.items())
    np.testing.assert_array_equal(load_file(path)['"'], NUMBERS)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    metadata = {str(i): "text" for i in range(8)}
    for name, notes in (("a", metadata), ("b", dict(reversed(metadata.items())))):
        save_file({"x": NUMBERS, "y": NUMBERS.T}, tmp_path / name, notes)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_others_may_read_the_file_as_any_other(tmp_path):
    (tmp_path / "plain").touch()
    save_file({"x": NUMBERS}, tmp_path / "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "x")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "message"),
    [
        ({"x": [1.0]}, None, DTypeError, r"tensors\['x'\] is <class 'list'>; give a Tensor"),
        ({"x": 1.0}, None, DTypeError, "<class 'float'>"),
        ({"x": np.array([None])}, None, DTypeError, "an array of object"),
        ({"x": np.array(["a"])}, None, DTypeError, "an array of <U1"),
        ({"x": np.zeros(2, "complex128")}, None, DTypeError, "an array of complex128"),
        ({"x": np.zeros(2, "i4,f4")}, None, DTypeError, "an array of"),
        ({"x": np.zeros(2, "M8[s]")}, None, DTypeError, "an array of datetime64"),
        ({3: np.zeros(2)}, None, ArgumentError, "the name 3"),
        ({"__metadata__": np.zeros(2)}, None, ArgumentError, "other than '__metadata__'"),
        ({"x": np.zeros(2)}, {"epoch": 3}, ArgumentError, "'epoch': 3; give both as str"),
        ({"x": np.zeros(2)}, {3: "epoch"}, ArgumentError, "3: 'epoch'"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_the_old_file_kept(
    tmp_path, tensors, metadata, error, message
):
    path = tmp_path / "x"
    save_file({"old": NUMBERS}, path)
    with pytest.raises(error, match=message):
        save_file(tensors, path, metadata)
    assert load_file(path).keys() == {"old"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_file(tmp_path):
    pytest.importorskip("resource", reason="file size limits are POSIX")
    path = tmp_path / "x"
    save_file({"old": NUMBERS}, path)
    script = f"""
import resource, signal
import numpy as np
from minicnn.io.weights import save_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    save_file({{"x": np.zeros(100_000)}}, {str(path)!r})
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"cannot write {str(path)!r}" in done.stdout, done.stderr
    assert load_file(path).keys() == {"old"}
    assert list(tmp_path.iterdir()) == [path]


# --- damaged files -------------------------------------------------------------------------


def safetensors_bytes(header, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


WHOLE = safetensors_bytes(entry(), bytes(8))
HEADER = len(WHOLE) - 16
DAMAGED = {
    "empty": b"",
    "shorter than a length": WHOLE[:5],
    "a length alone": WHOLE[:8],
    "cut in the header": WHOLE[:20],
    "cut in the data": WHOLE[:-1],
    "no data": WHOLE[:-8],
    "something added": WHOLE + b"x",
    "header length 0": bytes(8) + WHOLE[8:],
    "header length too short": (HEADER - 1).to_bytes(8, "little") + WHOLE[8:],
    "header length into the data": (HEADER + 4).to_bytes(8, "little") + WHOLE[8:],
    "header length beyond the file": (10**6).to_bytes(8, "little") + WHOLE[8:],
    "header length beyond all memory": (2**63).to_bytes(8, "little") + WHOLE[8:],
    "header length at most": b"\xff" * 8 + WHOLE[8:],
    "bad JSON": WHOLE[:8] + b"x" + WHOLE[9:],
    "header of another kind": safetensors_bytes([1, 2]),
    "header not UTF-8": safetensors_bytes(b'{"\xff": 1}'),
    "very deep header": safetensors_bytes(b'{"a":' * 5000),
    "a key twice": safetensors_bytes(b'{"x":1,' + json.dumps(entry()).encode()[1:], bytes(8)),
    "a hole between arrays": safetensors_bytes(
        {"x": entry()["x"], "y": entry(offsets=[9, 17])["x"]}, bytes(17)
    ),
    "sizes that are no numbers": safetensors_bytes(entry(shape=[True, 2]), bytes(8)),
    "a tensor without type": safetensors_bytes({"x": {"shape": [2], "data_offsets": [0, 8]}}),
    "unknown type": safetensors_bytes(entry(dtype="Q9"), bytes(8)),
    "8-bit float": safetensors_bytes(entry("F8_E4M3", [8]), bytes(8)),
    "packed 4-bit float": safetensors_bytes(entry("F4", [16]), bytes(8)),
    "offsets beyond the data": safetensors_bytes(entry(offsets=[0, 80]), bytes(8)),
    "offsets behind each other": safetensors_bytes(entry(offsets=[8, 0]), bytes(8)),
    "negative offsets": safetensors_bytes(entry(offsets=[-8, 0]), bytes(8)),
    "offsets unlike the shape": safetensors_bytes(entry(shape=[3]), bytes(8)),
    "offsets beyond the shape": safetensors_bytes(entry(shape=[1]), bytes(8)),
    "negative size": safetensors_bytes(entry(shape=[-2]), bytes(8)),
    "size beyond all memory": safetensors_bytes(entry(shape=[2**63, 2]), bytes(8)),
    "empty, but too big": safetensors_bytes(entry(shape=[0, 2**62], offsets=[0, 0])),
    "empty, but beyond a size": safetensors_bytes(entry(shape=[0, 2**63], offsets=[0, 0])),
    "too many dimensions": safetensors_bytes(entry(shape=[1] * 70, offsets=[0, 4]), bytes(4)),
    "two tensors on one place": safetensors_bytes({"x": entry()["x"], "y": entry()["x"]}, bytes(8)),
    "metadata that is no text": safetensors_bytes({"__metadata__": {"epoch": 3}}),
    "a pickle": pickle.dumps({"x": [1.0, 2.0]}),
    "a zip": b"PK\x03\x04" + bytes(100),
    "text": b"epoch,loss\n1,0.5\n",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named_with_what_is_wrong_and_what_to_do(tmp_path, case):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(DAMAGED[case])
    with pytest.raises(FileFormatError, match=re.escape(f"load_file: {str(path)!r}")) as caught:
        load_file(path)
    assert re.search("; copy it again", str(caught.value))
    assert path.read_bytes() == DAMAGED[case]


def test_metadata_of_a_damaged_file(tmp_path):
    (tmp_path / "x").write_bytes(DAMAGED["cut in the data"])
    with pytest.raises(FileFormatError, match=r"load_metadata: .*no complete safetensors file"):
        load_metadata(tmp_path / "x")


def test_the_whole_file_of_these_tests_is_good(tmp_path):
    (tmp_path / "x").write_bytes(WHOLE)
    np.testing.assert_array_equal(load_file(tmp_path / "x")["x"], np.zeros(2, "float32"))


def test_every_cut_and_every_changed_byte_is_read_or_refused(tmp_path):
    path = tmp_path / "x"
    save_file({"w": NUMBERS.astype("int16"), "b": np.array(True)}, path, {"epoch": "3"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            load_file(path)
    for position in range(len(whole)):
        for flip in (0x01, 0x10, 0x80):
            changed = bytearray(whole)
            changed[position] ^= flip
            path.write_bytes(changed)
            try:
                load_file(path)
                load_metadata(path)
            except FileFormatError:
                pass


@pytest.mark.parametrize("load", [load_file, load_metadata])
def test_a_missing_file_and_a_folder(tmp_path, load):
    with pytest.raises(FileFormatError, match=r"no\.safetensors' is missing; give the path"):
        load(tmp_path / "no.safetensors")
    with pytest.raises(FileFormatError, match="is a folder or a device"):
        load(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def locked(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("minicnn.io.files.open", locked, raising=False)
    (tmp_path / "x").touch()
    with pytest.raises(FileFormatError, match="check its permissions"):
        load_file(tmp_path / "x")


def test_nothing_in_a_pickle_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    (tmp_path / "x").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FileFormatError):
        load_file(tmp_path / "x")
    assert not (tmp_path / "sprung").exists()


# --- beside the safetensors library ----------------------------------------------------------


def test_the_library_reads_what_we_write(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    save_file(ARRAYS, tmp_path / "x", {"epoch": "3"})
    back = library.load_file(tmp_path / "x")
    assert back.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_we_read_what_the_library_writes(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    plain = {name: np.array(array.astype(array.dtype.newbyteorder("=")), order="C")
             for name, array in ARRAYS.items()}  # fmt: skip
    library.save_file(plain, tmp_path / "x", {"epoch": "3"})
    back = load_file(tmp_path / "x")
    assert back.keys() == plain.keys()
    for name, array in plain.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array, err_msg=name)
    assert load_metadata(tmp_path / "x") == {"epoch": "3"}


@pytest.mark.parametrize("case", DAMAGED)
def test_the_library_refuses_these_files_too(tmp_path, case):
    library = pytest.importorskip("safetensors.numpy")
    (tmp_path / "x").write_bytes(DAMAGED[case])
    with pytest.raises(Exception):  # noqa: B017, PT011
        library.load_file(tmp_path / "x")


def test_bfloat16_becomes_float32(tmp_path, torch):
    library = pytest.importorskip("safetensors.torch")
    x = torch.tensor([1.5, -3.0, float("inf"), 1e-40, 3.14159]).bfloat16()
    library.save_file({"x": x}, tmp_path / "x")
    back = load_file(tmp_path / "x")["x"]
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, x.float().numpy())


def test_arrays_come_in_the_order_in_which_they_were_saved(tmp_path):
    names = ["z", "a", "m"]
    save_file({n: np.zeros(2, t) for n, t in zip(names, ("i1", "f8", "f4"), strict=True)},
              tmp_path / "x")  # fmt: skip
    assert list(load_file(tmp_path / "x")) == names


def test_arrays_on_a_card_are_written_as_any_others(card, tmp_path):
    images = NUMBERS.reshape(2, 3, 2, 2).astype("float32")
    on_card = Tensor(images).to("cuda").requires_grad_()
    save_file({"a": on_card, "b": on_card.array}, tmp_path / "card.safetensors")
    save_file({"a": images, "b": images}, tmp_path / "cpu.safetensors")
    written = (tmp_path / "card.safetensors").read_bytes()
    assert written == (tmp_path / "cpu.safetensors").read_bytes()
