"""Shards keep images, labels, blobs and origin consistent on disk and in all orientations."""

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
from synthetic import easy_subframes

from blobwatch.dataset.shards import (
    BLOB,
    Shard,
    orient_image,
    orient_position,
    read_shard,
    read_split,
    write_shard,
)
from blobwatch.errors import BlobwatchError

EIGHT = [(flipped, turns) for flipped in (False, True) for turns in range(4)]


@pytest.fixture(scope="module")
def data() -> Shard:
    return easy_subframes(6)


@pytest.fixture
def path(data, tmp_path):
    write_shard(tmp_path / "train" / "izzz0000q.npz", data)
    return tmp_path / "train" / "izzz0000q.npz"


def test_round_trip_of_shard(data, path):
    back = read_shard(path)
    for name in ("images", "subframes", "blobs", "rootnames"):
        assert getattr(back, name).dtype == getattr(data, name).dtype
        np.testing.assert_array_equal(getattr(back, name), getattr(data, name))
    write_shard(path.parent / "again.npz", data)
    assert (path.parent / "again.npz").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("flipped", "turns"), EIGHT)
def test_positions_follow_pixels(flipped, turns):
    image = np.zeros((64, 64))
    image[7, 20] = 1.0  # y 7, x 20
    turned = orient_image(image, flipped, turns)
    y, x = np.unravel_index(turned.argmax(), turned.shape)
    assert orient_position(20, 7, flipped, turns, 64) == (x, y)


@pytest.mark.parametrize("chosen", [[0, 2, 5], [1], [3, 4], []])
def test_take_keeps_blobs_and_origin(data, chosen):
    named = replace(data, rootnames=np.array([f"izzz000{n}q" for n in range(len(data))]))
    part = named.take(np.array(chosen, dtype=int))
    assert len(part) == len(chosen)
    assert sum(len(part.blobs_of(n)) for n in range(len(part))) == len(part.blobs)
    for new, old in enumerate(chosen):
        for name in ("images", "subframes", "rootnames"):
            assert getattr(part, name)[new].tolist() == getattr(named, name)[old].tolist()
        mine, before = part.blobs_of(new), named.blobs_of(old)
        assert bool(part.labels[new]) == (len(mine) > 0)
        for name in set(BLOB.names) - {"subframe"}:
            np.testing.assert_array_equal(mine[name], before[name])
    np.testing.assert_array_equal(named.blobs, data.blobs)  # the whole is as before


def test_read_split_concatenates_sorted_shards(data, tmp_path):
    other = easy_subframes(4, seed=5)
    other = Shard(other.images, other.subframes, other.blobs, np.full(4, "iaaa0000q"))
    write_shard(tmp_path / "val" / "izzz0000q.npz", data)
    write_shard(tmp_path / "val" / "iaaa0000q.npz", other)
    whole = read_split(tmp_path, "val")
    assert list(whole.rootnames) == ["iaaa0000q"] * 4 + ["izzz0000q"] * 6
    np.testing.assert_array_equal(whole.images, np.concatenate([other.images, data.images]))
    for index in range(6):
        expected = data.blobs_of(index).copy()
        expected["subframe"] += 4
        np.testing.assert_array_equal(whole.blobs_of(4 + index), expected)
    held = np.bincount(whole.blobs["subframe"], minlength=10) > 0
    np.testing.assert_array_equal(whole.labels, held)


def test_missing_subframes(tmp_path):
    with pytest.raises(BlobwatchError, match=r"no val subframes\. Run `dvc repro subframes`"):
        read_split(tmp_path, "val")


class Malicious:
    """Object whose unpickling fails the test."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


def test_pickle_in_shard_is_rejected_without_execution(data, tmp_path):
    path = tmp_path / "evil.npz"
    objects = np.array([Malicious()], dtype=object)
    np.savez(path, images=data.images, subframes=data.subframes, blobs=data.blobs, rootnames=objects)
    with pytest.raises(BlobwatchError, match=r"evil\.npz: damaged"):
        read_shard(path)


def without_blobs(whole: bytes) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: part for name, part in np.load(io.BytesIO(whole)).items() if name != "blobs"})
    return buffer.getvalue()


def one_array(whole: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:9999] + bytes([whole[9999] ^ 1]) + whole[10000:],  # a pixel
        lambda whole: b"",
        lambda whole: b"text",
        lambda whole: pickle.dumps({"images": 1}),
        one_array,
        without_blobs,
    ],
)
def test_damaged_shard_raises_error(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BlobwatchError, match=r"izzz0000q\.npz: damaged"):
        read_shard(path)
