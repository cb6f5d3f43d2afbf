"""Templates: shapes of real blobs, without the noise, the level and the edge of their cutouts."""

import numpy as np
import pytest

from blobwatch.dataset.injection import draw_known, with_templates
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.blobs import Blob, depth_for, half_width_at, parametric_shape, shape, snr_of
from blobwatch.instrument.templates import SCATTER, TemplateBlob, make_template, read_templates


def cutout(half_width: float = 4.0, side: int = 21, level: float = 0.0, x: float = 10.0, y: float = 10.0):
    """Return a parametric blob of depth 1 on a level, in a square."""
    stamp, x0, y0 = parametric_shape(Blob(x + 100, y + 100, half_width, 1.0))
    frame = np.full((220, 220), level)
    frame[y0 : y0 + stamp.shape[0], x0 : x0 + stamp.shape[1]] += stamp
    return frame[100 : 100 + side, 100 : 100 + side]


@pytest.mark.parametrize("level", [0.0, -0.7])
def test_a_template_has_no_level_no_edge_and_the_peak_of_one(level):
    template = make_template("1", cutout(level=level))
    assert template.profile.max() == 1.0
    assert template.profile.min() == 0.0
    assert template.profile.shape[0] % 2 == 1
    for edge in (template.profile[0], template.profile[-1], template.profile[:, 0], template.profile[:, -1]):
        assert (edge == 0).all()
    assert np.abs(np.diff(template.profile, axis=0)).max() < 0.35  # nowhere a step


@pytest.mark.parametrize("half_width", [2.5, 4.0, 6.0])
def test_the_half_width_is_that_of_the_shape(half_width):
    assert make_template("1", cutout(half_width)).half_width == pytest.approx(half_width, abs=0.35)


@pytest.mark.parametrize("place", [(10.0, 10.0), (12.0, 9.0), (8.4, 11.2)])
def test_a_template_is_centred_wherever_the_blob_was_in_the_cutout(place):
    profile = make_template("1", cutout(4.0, 21, 0.0, *place)).profile
    middle = profile.shape[0] // 2
    y, x = np.mgrid[: profile.shape[0], : profile.shape[1]]
    assert (profile * x).sum() / profile.sum() == pytest.approx(middle, abs=0.55)
    assert (profile * y).sum() / profile.sum() == pytest.approx(middle, abs=0.55)


def test_a_blob_of_a_template_stands_where_it_is_put():
    template = make_template("1", cutout(4.0))
    for x, y in ((300.0, 400.0), (300.4, 399.7), (0.2, 1023.0)):
        stamp, x0, y0 = shape(TemplateBlob(x=x, y=y, half_width=4.0, depth=0.02, template=template))
        rows, columns = np.mgrid[: stamp.shape[0], : stamp.shape[1]]
        assert x0 + (stamp * columns).sum() / stamp.sum() == pytest.approx(x, abs=0.02)
        assert y0 + (stamp * rows).sum() / stamp.sum() == pytest.approx(y, abs=0.02)
        assert stamp.sum() == pytest.approx(template.profile.sum())


def test_its_snr_is_that_of_its_own_shape():
    template = make_template("1", cutout(4.0))
    blob = TemplateBlob(x=300.0, y=400.0, half_width=4.0, depth=0.02, template=template)
    assert snr_of(blob, 0.01) == pytest.approx(2.0 * np.sqrt((template.profile**2).sum()))
    assert depth_for(blob, 12.0, 0.01) == pytest.approx(0.02 * 12.0 / snr_of(blob, 0.01))


def test_templates_stand_only_where_their_size_may_be():
    small, large = make_template("s", cutout(3.0)), make_template("l", cutout(6.5, x=9.6, y=10.3))
    rng = np.random.default_rng(3)
    draw = with_templates(draw_known, [small, large], 0.8)
    drawn = [draw(rng, *rng.uniform(5, 1018, 2)) for _ in range(400)]
    real = [blob for blob in drawn if isinstance(blob, TemplateBlob)]
    assert 200 < len(real) < 340
    assert {blob.template.name for blob in real} == {"s", "l"}
    for blob in real:
        assert abs(blob.half_width - half_width_at(blob.x, blob.y)) <= SCATTER
    assert (
        len({blob.template.profile[9].tobytes() for blob in real if blob.template.name == "l"}) > 1
    )  # mirrored


def test_without_templates_nothing_is_drawn_otherwise():
    assert with_templates(draw_known, [], 0.8) is draw_known


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.ones((9, 11)), "cutout 1 is 9 x 11; give square ones of 7 to 41 pixels"),
        (np.ones((5, 5)), "cutout 1 is 5 x 5"),
        (np.ones((43, 43)), "cutout 1 is 43 x 43"),
        (np.ones(9), "cutout 1 is 9; give square ones"),
        (np.full((9, 9), np.nan), "holds pixels that are not finite"),
        (np.ones((9, 9)), "shows no blob: its middle is no brighter than its border"),
        (-cutout(4.0), "shows no blob"),
    ],
)
def test_what_is_no_cutout_of_a_blob_is_refused(bad, said):
    with pytest.raises(BlobwatchError, match=said):
        make_template("1", bad)


def test_no_file_and_a_damaged_one(tmp_path):
    assert read_templates(tmp_path) == []
    (tmp_path / "blobs.fits").write_bytes(b"SIMPLE" * 900)
    with pytest.raises(BlobwatchError, match=r"blobs\.fits is not a readable FITS file"):
        read_templates(tmp_path)
