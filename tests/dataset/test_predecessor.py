"""A blob_dict.npy is read; a pickle that wants anything else is refused, and nothing of it runs."""

import io
import os
import pickle
import struct

import numpy as np
import pytest
from astropy.io import fits

from blobwatch.dataset.predecessor import import_blobs, read_blob_dict
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.templates import FILE, read_templates


def cutout(side: int, depth: float = 2.0, seed: int = 0) -> np.ndarray:
    """Return a noisy round blob as the predecessor's cutouts have it: sigma, clipped."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    shape = np.exp(-np.log(2) * (np.hypot(x, y) / (side / 4)) ** 4)
    noisy = depth * shape + np.random.default_rng(seed).normal(0, 1, shape.shape)
    return np.clip(noisy, -3, 3)


@pytest.fixture
def blobs() -> dict[str, np.ndarray]:
    return {str(n): cutout(9 + n % 13, seed=n) for n in range(1, 28)}


def saved(path, content, protocol: int = 4):
    """Write an object as ``numpy.save`` does, its pickle in any protocol."""
    outer = np.empty((), dtype=object)
    outer[()] = content
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(outer))
        pickle.dump(outer, stream, protocol=protocol)
    return path


def with_pickle(path, content: bytes):
    """Write a .npy file whose object is a given pickle."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    path.write_bytes(stream.getvalue() + content)
    return path


def test_the_dict_as_numpy_saves_it(tmp_path, blobs):
    np.save(tmp_path / "blob_dict.npy", blobs, allow_pickle=True)
    found = read_blob_dict(tmp_path / "blob_dict.npy")
    assert list(found) == list(blobs)
    for name, one in found.items():
        assert one.dtype == np.float64
        np.testing.assert_array_equal(one, blobs[name])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_every_protocol_and_both_spellings_of_numpy(tmp_path, blobs, protocol):
    path = saved(tmp_path / "b.npy", blobs, protocol)
    found = read_blob_dict(path)
    assert all(np.array_equal(found[name], blobs[name]) for name in blobs)
    if protocol < 4:  # numpy 1 wrote another name; where there are frames, they count its length
        older = path.read_bytes().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
        assert older != path.read_bytes()
        path.write_bytes(older)
        assert read_blob_dict(path).keys() == blobs.keys()


def test_an_array_of_itself(tmp_path):
    inside = np.empty((), dtype=object)
    inside[()] = inside
    with pytest.raises(BlobwatchError, match=r"holds a Rebuilt instead of a dict|is damaged"):
        read_blob_dict(saved(tmp_path / "b.npy", inside, 2))


def test_other_kinds_of_numbers_and_orders_of_bytes(tmp_path, blobs):
    one = blobs["5"]
    kinds = [one.astype(kind) for kind in ("<f8", ">f8", "<f4", "<i2", "u1", "?")] + [np.asfortranarray(one)]
    found = read_blob_dict(saved(tmp_path / "b.npy", {str(n): kind for n, kind in enumerate(kinds)}))
    for kind, read in zip(kinds, found.values(), strict=True):
        np.testing.assert_array_equal(kind.astype(float), read)


class Calls:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


TOUCH = "open('ran', 'w')"
CALLS = {
    "system": Calls(os.system, "touch ran"),
    "eval": Calls(eval, TOUCH),
    "exec": Calls(exec, TOUCH),
    "getattr": Calls(getattr, "text", "format"),
    "check_call": Calls(__import__("subprocess").check_call, ["touch", "ran"]),
    "load": Calls(np.load, "x", None, True),
    "fromfile": Calls(np.fromfile, "/etc/passwd"),
    "import_module": Calls(__import__("importlib").import_module, "antigravity"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("where", ["alone", "value", "key", "inside an array"])
def test_a_call_is_named_and_not_made(tmp_path, monkeypatch, name, protocol, where):
    monkeypatch.chdir(tmp_path)
    call = CALLS[name]
    inside = np.empty(1, dtype=object)
    inside[0] = call
    content = {
        "alone": call,
        "value": {"1": cutout(9), "2": call},
        "key": {"1": cutout(9), Key(call): 1},
        "inside an array": {"1": inside},
    }
    path = saved(tmp_path / "b.npy", content[where], protocol)
    with pytest.raises(BlobwatchError, match=rf"b\.npy holds \S+\.{name}, which is no plain array"):
        read_blob_dict(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.npy"]


class Key:
    """A key of a dict that pickles as a call."""

    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call.__reduce__()


class Odd:
    """An array that pickles with another description of itself."""

    def __init__(self, state, kind=np.ndarray):
        self.state, self.kind = state, kind

    def __reduce__(self):
        function, arguments, _ = np.zeros(2).__reduce__()
        return function, (self.kind, *arguments[1:]), self.state


F8 = np.dtype("f8")
ODD = {
    "shape too small": (1, (3,), F8, False, b"\0" * 16),
    "shape negative": (1, (-2,), F8, False, b"\0" * 16),
    "shape huge": (1, (2**40,), F8, False, b"\0" * 16),
    "shape of text": (1, ("a",), F8, False, b""),
    "objects": (1, (2,), np.dtype(object), False, [1, 2]),
    "structures": (1, (1,), np.dtype([("a", "f8")]), False, b"\0" * 8),
    "metadata": (1, (1,), np.dtype("f8", metadata={"a": 1}), False, b"\0" * 8),
    "text": (1, (1,), np.dtype("U4"), False, b"\0" * 16),
    "no kind": (1, (1,), "f8", False, b"\0" * 8),
    "too little": (1, (1,)),
    "nothing": None,
}


@pytest.mark.parametrize("name", ODD)
def test_an_array_with_a_strange_description_is_refused(tmp_path, name):
    path = saved(tmp_path / "b.npy", {"1": cutout(9), "2": Odd(ODD[name])})
    with pytest.raises(BlobwatchError, match="was refused and nothing of it was run"):
        read_blob_dict(path)


# Written by hand: instructions that no dump gives.
HAND = {
    "INST": b"(S'touch ran'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch ran'\no.",
    "PERSID": b"Pelsewhere\n.",
    "BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", 1) + b"a.",
    "more than it could hold": b"\x80\x02}r\xff\xff\xff\x7f.",  # would fill 16 GB with names
    "os.system": b"cos\nsystem\n(S'touch ran'\ntR.",
    "numpy.ndarray": b"cnumpy\nndarray\n(I5\ntR.",
    "a change of what it may ask for": b"cnumpy\ndtype\n}S'make'\nI1\nsb.",
    "of an odd coding": b"c_codecs\nencode\n(VtouchX\nVrot13\ntR.",
    "os.path.join": b"\x80\x04\x8c\x02os\x8c\x09path.join\x93.",
    "numpy.dtype.type": b"\x80\x04\x8c\x05numpy\x8c\x0adtype.type\x93.",
    "a list instead": b"].",
    "a dict instead": b"}.",
    "something else than an array": b"}S'1'\nI5\ns.",
    "under 1 ": b"}I1\nI5\ns.",
}


@pytest.mark.parametrize("name", HAND)
def test_instructions_by_hand_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BlobwatchError, match="was refused and nothing of it was run") as said:
        read_blob_dict(with_pickle(tmp_path / "b.npy", HAND[name]))
    assert name in str(said.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"garbage", b"\x80\x04K\x01", b"h\x05.", b"0."])
def test_a_damaged_pickle(tmp_path, content):
    with pytest.raises(BlobwatchError, match=r"b\.npy (is damaged; copy it again|holds)"):
        read_blob_dict(with_pickle(tmp_path / "b.npy", content))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_truncated_file(tmp_path, blobs, share):
    path = saved(tmp_path / "b.npy", blobs)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BlobwatchError, match=r"b\.npy is damaged; copy it again"):
        read_blob_dict(path)


def test_other_files(tmp_path, blobs):
    with pytest.raises(BlobwatchError, match="is no file; give the predecessor's"):
        read_blob_dict(tmp_path / "none.npy")
    np.savez(tmp_path / "a.npz", **blobs)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(blobs))
    for name in ("a.npz", "b.npy"):
        with pytest.raises(BlobwatchError, match=r"is no \.npy file"):
            read_blob_dict(tmp_path / name)
    np.save(tmp_path / "c.npy", blobs["1"])
    with pytest.raises(BlobwatchError, match="holds an array, not a dict of cutouts"):
        read_blob_dict(tmp_path / "c.npy")
    with (tmp_path / "d.npy").open("wb") as stream:
        stream.truncate(2**25)
    with pytest.raises(BlobwatchError, match=r"has 33554432 bytes; a blob_dict\.npy has far fewer"):
        read_blob_dict(tmp_path / "d.npy")


def test_cutouts_become_templates_that_ds9_opens(tmp_path, blobs, capsys):
    import_blobs(saved(tmp_path / "b.npy", blobs), tmp_path / "templates")
    assert "27 templates" in capsys.readouterr().err
    templates = read_templates(tmp_path / "templates")
    assert [one.name for one in templates] == list(blobs)
    with fits.open(tmp_path / "templates" / FILE) as hdus:
        assert len(hdus) == 28
        assert hdus[3].data.shape == templates[2].profile.shape
        assert hdus[3].header["HALFW"] == templates[2].half_width
        assert np.array_equal(hdus[3].data, templates[2].profile)


def test_a_cutout_without_a_blob_leaves_what_was_there(tmp_path, blobs):
    import_blobs(saved(tmp_path / "b.npy", blobs), tmp_path / "templates")
    before = (tmp_path / "templates" / FILE).read_bytes()
    blobs["5"] = cutout(15, depth=0.0)
    with pytest.raises(
        BlobwatchError, match="cutout 5 shows no blob: its middle is no brighter than its border"
    ):
        import_blobs(saved(tmp_path / "b.npy", blobs), tmp_path / "templates")
    assert (tmp_path / "templates" / FILE).read_bytes() == before
