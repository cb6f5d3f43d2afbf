"""Templates are injected where they fit; without them nothing is other than it was."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from synthetic import NOISE, frame_from_image, image_with_blobs

from blobwatch.dataset.injection import (
    draw_blob_to_inject,
    draw_measured_blob,
    draw_wide_blob,
    inject_blob,
    mix_in_templates,
)
from blobwatch.dataset.subframes import Recipe, cut_subframes
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash
from blobwatch.images.tiling import Tile
from blobwatch.instrument.blobs import (
    Blob,
    blob_snr,
    depth_at_snr,
    half_width_at,
    parametric_shape,
)
from blobwatch.instrument.templates import (
    FILE,
    SIZE_TOLERANCE,
    Template,
    TemplateBlob,
    read_templates,
    write_templates,
)

PLACE = (512.0, 512.0)  # where the law says 6.6


def template(name: str = "1", half_width: float = 6.6, steep: float = 0.02) -> Template:
    """Return a template whose shape is lopsided, so that a mirror image shows."""
    stamp, _, _ = parametric_shape(Blob(100.0, 100.0, half_width, 1.0))
    ramp = 1.0 + steep * np.arange(len(stamp))
    profile = stamp * ramp[None, :] * ramp[:, None] ** 2
    return Template(name, profile / profile.max(), half_width)


def placed(one: Template, x: float, y: float, depth: float = 0.02) -> TemplateBlob:
    return TemplateBlob(x=x, y=y, half_width=one.half_width, depth=depth, template=one)


def centroid(image: np.ndarray) -> tuple[float, float]:
    v, u = np.indices(image.shape)
    return (image * u).sum() / image.sum(), (image * v).sum() / image.sum()


def test_template_shape_is_at_blob_position():
    one = template()
    own = [value - one.profile.shape[0] // 2 for value in centroid(one.profile)]
    for x, y in ((300.0, 400.0), (300.37, 400.81), (299.5, 3.2), (0.2, 1023.0)):
        stamp, x0, y0 = placed(one, x, y).unit_shape()
        found = centroid(stamp)
        assert stamp.sum() == pytest.approx(one.profile.sum())
        assert (found[0] + x0 - own[0], found[1] + y0 - own[1]) == pytest.approx((x, y), abs=0.02)
        border = np.concatenate([stamp[0], stamp[-1], stamp[:, 0], stamp[:, -1]])
        assert np.abs(border).max() < 2e-3


@pytest.mark.parametrize("asked", [4.0, 12.0, 30.0])
def test_snr_depth_and_injection_of_template_blob(asked):
    blob = placed(template(), 400.3, 300.7)
    blob = replace(blob, depth=depth_at_snr(blob, asked, NOISE))
    assert blob_snr(blob, NOISE) == pytest.approx(asked)
    cut = np.zeros((256, 256))
    light = np.ones_like(cut)
    light[:, 100:] = 0.5
    inject_blob(cut, light, blob, 300, 200)
    full = np.zeros_like(cut)
    inject_blob(full, np.ones_like(cut), blob, 300, 200)
    assert np.sqrt((full**2).sum()) / NOISE == pytest.approx(asked)
    np.testing.assert_allclose(cut, full * light, atol=1e-15)


def test_two_templates_at_one_place_are_two_blobs():
    one, two = template("1"), template("2", steep=0.05)
    assert placed(one, *PLACE) != placed(two, *PLACE)
    assert placed(one, *PLACE) == placed(one, *PLACE)
    assert not np.array_equal(placed(one, *PLACE).unit_shape()[0], placed(two, *PLACE).unit_shape()[0])
    assert placed(one, *PLACE).as_dict().keys() == Blob(1.0, 2.0, 3.0, 0.1).as_dict().keys()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_template_share_and_mirroring(share):
    drawn = mix_in_templates(draw_wide_blob, [template("1"), template("2", 6.0)], share)
    rng = np.random.default_rng(1)
    blobs = [blob for blob in (drawn(rng, *PLACE) for _ in range(1000)) if isinstance(blob, TemplateBlob)]
    assert len(blobs) / 1000 == pytest.approx(share, abs=0.05)
    assert {blob.template.name for blob in blobs} == (set() if share == 0 else {"1", "2"})
    if share:
        assert len({blob.template.profile.tobytes() for blob in blobs}) == 8


def test_template_is_used_only_where_size_is_plausible():
    small, large = template("small", 3.0), template("large", 10.0)
    drawn = mix_in_templates(draw_measured_blob, [small, large], 1.0)
    rng = np.random.default_rng(2)
    seen = set()
    for x, y in rng.uniform(5, 1018, (400, 2)):
        blob = drawn(rng, x, y)
        fitting = {
            one.name for one in (small, large) if abs(one.half_width - half_width_at(x, y)) <= SIZE_TOLERANCE
        }
        name = blob.template.name if isinstance(blob, TemplateBlob) else None
        assert name in (fitting or {None})
        assert (blob.x, blob.y) == (x, y)
        seen.add(name)
    assert seen == {"small", "large", None}


def test_no_templates_leave_random_stream_unchanged():
    assert mix_in_templates(draw_wide_blob, [], 1.0) is draw_wide_blob
    assert mix_in_templates(draw_measured_blob, [template()], 0.0) is draw_measured_blob
    plain = Recipe((5.0, 30.0), (1, 4), 0.5, True)
    frame = frame_from_image(image_with_blobs([]))
    made = [
        cut_subframes(np.random.default_rng(4), frame, 6, recipe)
        for recipe in (plain, replace(plain, template_share=0.3), replace(plain, templates=(template(),)))
    ]
    assert len({(one.images.tobytes(), one.blobs.tobytes()) for one in made}) == 1


def test_subframes_contain_templates_with_half_width():
    recipe = Recipe((20.0, 20.0), (2, 4), 0.0, templates=(template(), template("2", 4.0)), template_share=1.0)
    shard = cut_subframes(np.random.default_rng(4), frame_from_image(image_with_blobs([])), 12, recipe)
    mine = shard.blobs[np.isin(shard.blobs["half_width"], np.array([6.6, 4.0], dtype=np.float32))]
    assert len(mine) >= 6
    assert mine["snr"] == pytest.approx(np.full(len(mine), 20.0), rel=1e-5)
    for blob in mine:
        x, y = round(float(blob["x"])), round(float(blob["y"]))
        seen = shard.scaled(int(blob["subframe"]))[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
        assert seen.mean() > 0.8
    tile = Tile(0, 0, 0, 300, 300)
    blob = draw_blob_to_inject(np.random.default_rng(5), tile, [], (9.0, 9.0), NOISE, recipe.draw)
    assert blob_snr(blob, NOISE) == pytest.approx(9.0)


@pytest.fixture
def source(tmp_path):
    """What stands for the file of cutouts, of which only the name and the hash are kept."""
    path = tmp_path / "blob_dict.npy"
    path.write_bytes(b"cutouts")
    return path


def test_template_file_round_trip(tmp_path, source):
    given = [template("1"), template("27", 4.0)]
    write_templates(tmp_path / "templates", given, source)
    path, read = tmp_path / "templates" / FILE, read_templates(tmp_path / "templates")
    assert [one.name for one in read] == ["1", "27"]
    for one, other in zip(read, given, strict=True):
        np.testing.assert_array_equal(one.profile, other.profile)
        assert one.half_width == other.half_width
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "BLOB_1", "BLOB_27"]
        assert hdus[0].header["SRCSHA"] == file_hash(source)
        assert hdus[1].header["HALFW"] == 6.6
    first = path.read_bytes()
    write_templates(tmp_path / "templates", given, source)
    assert path.read_bytes() == first


def test_a_folder_without_templates(tmp_path):
    (tmp_path / "README.md").write_text("what comes here")
    assert read_templates(tmp_path) == []
    assert read_templates(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda hdu: hdu.header.remove("HALFW"), "is not a template"),
        (lambda hdu: hdu.header.remove("TEMPLATE"), "is not a template"),
        (lambda hdu: hdu.header.set("HALFW", -1.0), "is not a template"),
        (lambda hdu: hdu.header.set("HALFW", "x"), "is not a template"),
        (lambda hdu: setattr(hdu, "data", hdu.data[:-1]), "is not a template"),
        (lambda hdu: setattr(hdu, "data", hdu.data[:-1, :-1]), "is not a template"),
        (lambda hdu: hdu.data.__setitem__((3, 3), np.nan), "is not a template"),
        (lambda hdu: setattr(hdu, "data", hdu.data[6:-6, 6:-6]), "does not fade to zero at its edge"),
    ],
)
def test_invalid_template_is_rejected(tmp_path, source, harm, said):
    write_templates(tmp_path, [template()], source)
    with fits.open(tmp_path / FILE, mode="update", memmap=False) as hdus:
        harm(hdus[1])
    with pytest.raises(BlobwatchError, match=said):
        read_templates(tmp_path)


def test_a_damaged_file(tmp_path):
    (tmp_path / FILE).write_bytes(b"SIMPLE" * 900)
    with pytest.raises(BlobwatchError, match=r"blobs\.fits: not a readable FITS file"):
        read_templates(tmp_path)
