"""The reader of the predecessor's pickle reads arrays and never executes code."""

import io
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from blobwatch.dataset.blob_dict import MAX_FILE_SIZE, MAX_INSTRUCTIONS, read_blob_dict
from blobwatch.errors import BlobwatchError

CUTOUTS = {str(n): np.random.default_rng(n).normal(size=(7 + n, 7 + n)) for n in range(1, 28)}


def npy(payload: bytes, header: str = "{'descr': '|O', 'fortran_order': False, 'shape': (), }") -> bytes:
    """Return an .npy file with a pickle inside, as np.save writes it."""
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1") + payload


def dumped(content: object, protocol: int = 4) -> bytes:
    """Return an .npy file of one object, of any protocol."""
    outer = np.empty((), dtype=object)
    outer[()] = content
    return npy(pickle.dumps(outer, protocol))


def write_file(tmp_path, content: bytes):
    path = tmp_path / "blob_dict.npy"
    path.write_bytes(content)
    return path


def error_message(tmp_path, content: bytes) -> str:
    """Return the error message of a rejected file."""
    path = write_file(tmp_path, content)
    with pytest.raises(BlobwatchError) as error:
        read_blob_dict(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < len(str(path)) + 300
    return message


def test_reads_file_from_np_save(tmp_path):
    path = tmp_path / "blob_dict.npy"
    np.save(path, CUTOUTS)
    read = read_blob_dict(path)
    assert list(read) == list(CUTOUTS)
    for name, cutout in CUTOUTS.items():
        assert read[name].dtype == np.float64
        np.testing.assert_array_equal(read[name], cutout)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("numpy_1", [False, True])
def test_reads_all_protocols_and_numpy_versions(tmp_path, protocol, numpy_1):
    content = dumped(CUTOUTS, protocol)
    if numpy_1:
        old = b"numpy.core.multiarray"
        text = b"\x8c" + bytes([len(old)]) + old if protocol == 4 else old
        new = b"\x8c\x16numpy._core.multiarray" if protocol == 4 else b"numpy._core.multiarray"
        assert new in content
        # Protocol 4 frames its instructions; one frame has become a byte shorter.
        content = content.replace(new, text)
        if protocol == 4:
            start = content.index(b"\x80\x04\x95") + 3
            (length,) = struct.unpack_from("<Q", content, start)
            content = content[:start] + struct.pack("<Q", length - 1) + content[start + 8 :]
    read = read_blob_dict(write_file(tmp_path, content))
    assert all(np.array_equal(read[name], CUTOUTS[name]) for name in CUTOUTS)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,  # in Fortran's order
        np.arange(9, dtype=">f4").reshape(3, 3),
        np.arange(9, dtype=np.int16).reshape(3, 3),
        np.array([[True, False], [False, True]]),
        np.arange(8.0)[::2],
    ],
    ids=["turned", "big-endian", "integers", "truths", "strided"],
)
def test_reads_numeric_dtypes_and_memory_orders(tmp_path, array):
    read = read_blob_dict(write_file(tmp_path, dumped({"a": array})))["a"]
    np.testing.assert_array_equal(read, array.astype(np.float64))


class Call:
    """Object whose pickle is a function call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def malicious_objects(canary) -> dict:
    """Return objects whose unpickling would create the canary file."""
    touch, code = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    return {
        "posix.system": Call(os.system, touch),
        "nt.system": Call(os.popen, touch),
        "subprocess.Popen": Call(subprocess.Popen, [sys.executable, "-c", code]),
        "builtins.eval": Call(eval, code),
        "builtins.exec": Call(exec, code),
        "builtins.getattr": Call(Call(getattr, os, "system"), touch),
        "numpy.load": Call(np.load, str(canary)),
        "numpy.testing._private.utils.runstring": Call(np.testing.runstring, code, {}),
        "numpy.fromfile": Call(np.fromfile, str(canary)),
        "numpy.save": Call(np.save, str(canary), 1),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(eval, code))),
    }


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", malicious_objects(""))
def test_code_is_rejected_without_execution(tmp_path, name, protocol):
    canary = tmp_path / "canary"
    try:
        content = dumped({"1": malicious_objects(canary)[name]}, protocol)
    except (pickle.PicklingError, AttributeError, TypeError):
        content = dumped({"1": Call(eval, f"open({str(canary)!r}, 'w')")}, protocol)
    message = error_message(tmp_path, content)
    assert "Nothing was executed" in message
    assert "the name" in message or "the pickle instruction" in message
    assert not list(tmp_path.glob("canary*"))


@pytest.mark.parametrize("place", ["key", "beside", "in a list", "as the whole"])
def test_code_is_rejected_at_any_position(tmp_path, place):
    canary = tmp_path / "canary"
    call = Call(os.system, f"touch {canary}")
    objects = {"key": {call: 1}, "beside": {"1": np.ones((9, 9)), "2": call}, "in a list": {"1": [call]}}
    message = error_message(tmp_path, dumped(objects.get(place, call)))
    assert "the name posix.system" in message
    assert not canary.exists()


def by_hand(*instructions: bytes) -> bytes:
    return npy(b"\x80\x04" + b"".join(instructions) + b".")


def name(module: str, attribute: str) -> bytes:
    return b"c" + f"{module}\n{attribute}\n".encode()


RECONSTRUCT, NDARRAY, DTYPE = (
    name(*one)
    for one in (("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"))
)
EMPTY = RECONSTRUCT + NDARRAY + b"K\x00\x85C\x01b\x87R"  # _reconstruct(ndarray, (0,), b"b")
FLOAT = DTYPE + b"\x8c\x02f8\x89\x88\x87R"  # dtype("f8", False, True)
PLAIN = b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"  # its state
OBJECT = DTYPE + b"\x8c\x02O8\x89\x88\x87R(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"


def holding(array: bytes) -> bytes:
    """Return a handwritten file whose dict has one array."""
    return by_hand(EMPTY, b"(K\x01)", OBJECT, b"\x89]}\x8c\x011", array, b"satb")


ZERO = b"\x89C\x08" + b"\x00" * 8


def encode_array(dtype: bytes = FLOAT + PLAIN, shape: bytes = b"K\x01\x85", content: bytes = ZERO) -> bytes:
    return EMPTY + b"(K\x01" + shape + dtype + content + b"tb"


GOOD = encode_array()


def test_reads_handwritten_pickle(tmp_path):
    assert read_blob_dict(write_file(tmp_path, holding(GOOD))) == {"1": [0.0]}


NOT_PLAIN = "that is not a plain array"
NO_NUMBER = "which is not a plain number"
STATE = "a state for a function or type, or two states for one array"
INVALID = {
    "another type": (NOT_PLAIN, RECONSTRUCT + DTYPE + b"K\x00\x85C\x01b\x87R"),
    "a shape at once": (NOT_PLAIN, RECONSTRUCT + NDARRAY + b"J\x00\x00\x00\x40\x85C\x01b\x87R"),
    "a type as a function": ("a call of a type", NDARRAY + b"K\x09\x85R"),
    "a call of a result": ("a call of a type", RECONSTRUCT + b")R)R"),
    "objects": ("the data type O8", encode_array(OBJECT, content=b"\x89]K\x01a")),
    "objects from bytes": ("the data type O8", encode_array(OBJECT)),
    "flags of a type": (NO_NUMBER, encode_array(FLOAT + PLAIN.replace(b"K\x00tb", b"K?tb"))),
    "metadata of a type": (NO_NUMBER, encode_array(FLOAT + PLAIN.replace(b"K\x00tb", b"K\x00}tb"))),
    "fields of a type": (NO_NUMBER, encode_array(FLOAT + PLAIN.replace(b"NNN", b"N\x8c\x01x\x85}"))),
    "a type of text": ("the data type U4", encode_array(FLOAT.replace(b"f8", b"U4") + PLAIN)),
    "a type without a state": (NO_NUMBER, encode_array(FLOAT)),
    "more numbers than bytes": ("does not match its bytes", encode_array(shape=b"J\xff\xff\xff\x7f\x85")),
    "negative sides": (
        "does not match its bytes",
        encode_array(shape=b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86"),
    ),
    "two contents": (STATE, GOOD + b"(K\x01tb"),
    "a state for a name": (STATE, RECONSTRUCT + b"N}\x86b"),
    "attributes of a name": (STATE, name("_codecs", "encode") + b"N}\x8c\x08__code__K\x01s\x86b"),
    "another encoding": (
        "does not match its bytes",
        encode_array(content=b"\x89" + name("_codecs", "encode") + b"\x8c\x01a\x8c\x05rot13\x86R"),
    ),
    "another function": (
        "the name numpy.core.multiarray.fromfile",
        name("numpy.core.multiarray", "fromfile"),
    ),
    "a path through a name": ("the name numpy.dtype.__new__", name("numpy", "dtype.__new__")),
    "a name that is a number": (": damaged (", b"K\x01K\x02\x93"),
    "a persistent object": ("the pickle instruction PERSID", b"Pelsewhere\n"),
    "a binary persistent object": ("the pickle instruction BINPERSID", b"K\x01Q"),
    "an extension": ("the pickle instruction EXT1", b"\x82\x01"),
    "an instance": ("the pickle instruction INST", b"(ios\nsystem\n"),
    "an object": ("the pickle instruction OBJ", b"(" + NDARRAY + b"o"),
    "a new object": ("the pickle instruction NEWOBJ", NDARRAY + b")\x81"),
    "a buffer": ("the pickle instruction NEXT_BUFFER", b"\x97"),
    "a copy": ("the pickle instruction DUP", b"K\x012"),
    "a large memo index": ("a memo index that is too large", b"K\x01r\xff\xff\xff\x7f"),
    "an empty memo": (": damaged (", b"h\x7f"),
    "a function in the memo": ("the name posix.system", name("posix", "system") + b"q\x00"),
    "many instructions": (f"more than {MAX_INSTRUCTIONS:,} instructions", b"N" * (MAX_INSTRUCTIONS + 9)),
    "millions of instructions": (f"more than {MAX_INSTRUCTIONS:,}", b"}N" + b"\x85" * 3_000_000 + b"Ns"),
    "nested tuples as a key": (": damaged (", b"N" + b"\x85" * 9000 + b"}h\x63N"),
    # The deepest key that the limit allows recurses in C and must not overflow.
    "a deep key": (NOT_PLAIN, b"}N" + b"\x85" * (MAX_INSTRUCTIONS - 100) + b"Ns"),
    "a number": (NOT_PLAIN, b"K\x01"),
    "a dict": (NOT_PLAIN, b"}"),
    "a line break in a name": (": damaged (", b"\x8c\x04a\x1b[2m\x8c\x02b\nN\x93"),
    "control characters in a name": ("the name a?[2m.b?", b"\x8c\x05a\x1b[2m\x8c\x02b\n\x93"),
}
OUTSIDE = {
    "an appended pickle": ("bytes after its end", holding(GOOD) + b"cos\nsystem\n."),
    "a number instead of an array": ("something other than one dict", by_hand(b"K\x01")),
    "a dict instead of an array": ("something other than one dict", by_hand(b"}")),
    "two dicts": ("something other than one dict", by_hand(EMPTY, b"(K\x01)", OBJECT, b"\x89]}a}atb")),
    "plain numbers": ("something other than one dict", by_hand(GOOD)),
}


@pytest.mark.parametrize("fault", [*INVALID, *OUTSIDE])
def test_rejects_invalid_pickle(tmp_path, fault):
    content = OUTSIDE[fault][1] if fault in OUTSIDE else holding(INVALID[fault][1])
    assert (INVALID | OUTSIDE)[fault][0] in error_message(tmp_path, content)


@pytest.mark.parametrize("key", [1, None, ("1",), "", "a b", "../a", "x" * 50, "\n"])
def test_rejects_invalid_names(tmp_path, key):
    assert "cutout name" in error_message(tmp_path, dumped({key: np.ones((9, 9))}))


@pytest.mark.parametrize(
    "value", [1.5, "text", None, b"bytes", [np.ones(3)], (np.ones(3),), {"2": np.ones(3)}, np.float64(1.0)]
)
def test_rejects_values_that_are_not_arrays(tmp_path, value):
    message = error_message(tmp_path, dumped({"1": value}))
    assert NOT_PLAIN in message or "it contains the" in message


@pytest.mark.parametrize(
    "array",
    [
        np.array([np.ones(3), {}], dtype=object),
        np.array(["a"]),
        np.array([1j]),
        np.array(["2016-01-01"], dtype="M8[D]"),
        np.zeros(2, dtype=[("a", "f8")]),
        np.ma.masked_array([1.0], [True]),
        np.zeros(1, dtype="V8"),
        np.memmap,
    ],
    ids=["objects", "text", "complex", "dates", "fields", "masked", "void", "a class"],
)
def test_rejects_non_numeric_arrays(tmp_path, array):
    assert "Nothing was executed" in error_message(tmp_path, dumped({"1": array}))


def test_truncated_file_at_every_length(tmp_path):
    whole = dumped({"1": np.ones((2, 2))})
    for length in range(len(whole)):
        message = error_message(tmp_path, whole[:length])
        assert "damaged" in message or "not a valid .npy file" in message


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_raise_blobwatch_error(tmp_path, seed):
    rng = np.random.default_rng(seed)
    whole = np.frombuffer(dumped({"1": np.ones((2, 2)), "2": np.zeros((2, 2))}, seed), np.uint8)
    path = tmp_path / "blob_dict.npy"
    for _ in range(150):
        changed = whole.copy()
        changed[rng.integers(128, len(whole), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(changed.tobytes())
        try:
            read = read_blob_dict(path)
        except BlobwatchError:
            continue
        assert all(type(array) is np.ndarray and array.dtype == np.float64 for array in read.values())


def saved(save, *arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ("not a valid .npy file", b""),
        ("not a valid .npy file", b"SIMPLE  =                    T"),
        ("not a valid .npy file", saved(np.savez, np.ones((9, 9)))),
        ("not a valid .npy file", pickle.dumps({"1": np.ones((9, 9))})),
        ("not a valid .npy file", npy(b"", "__import__('os').system('true')")),
        ("not a valid .npy file", npy(b"", "{'descr': 'f8'}")),
        ("not a valid .npy file", npy(b"", "{'descr': ('")),
        ("not a valid .npy file", b"\x93NUMPY\x09\x00" + dumped({})[8:]),
        ("contains an array instead of a dict", saved(np.save, np.ones((9, 9)))),
        ("contains an array instead of a dict", saved(np.save, np.array([{}, {}], dtype=object))),
        ("damaged", npy(b"")),
    ],
    ids=map(str, range(11)),
)
def test_rejects_other_file_formats(tmp_path, message, content):
    assert message in error_message(tmp_path, content)


def test_large_file_is_not_opened(tmp_path):
    path = write_file(tmp_path, dumped(CUTOUTS))
    os.truncate(path, MAX_FILE_SIZE + 1)
    path.chmod(0)
    with pytest.raises(BlobwatchError, match="larger than 4 MB"):
        read_blob_dict(path)


@pytest.mark.parametrize("absent", ["no.npy", "."])
def test_missing_file(tmp_path, absent):
    with pytest.raises(BlobwatchError, match=r"not a file\. Pass the predecessor's blob_dict\.npy"):
        read_blob_dict(tmp_path / absent)


def test_rejects_recursive_array(tmp_path):
    inside = np.empty((), dtype=object)
    inside[()] = inside
    message = error_message(tmp_path, npy(pickle.dumps(inside, 2)))
    assert "something other than one dict" in message
