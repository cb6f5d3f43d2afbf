"""Templates from cutouts: no square border, no offset, little noise and the right size."""

from dataclasses import replace

import numpy as np
import pytest

from blobwatch.dataset.cutouts import SIDES, create_template, create_templates, render_blob
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.blobs import Blob, draw_blob
from blobwatch.instrument.templates import TemplateBlob

KNOWN = Blob(x=400.0, y=300.0, half_width=6.0, depth=1.0)


def cutout_of(
    blob: Blob, side: int, snr: float, seed: int = 0, at=(0.3, -0.4), level: float = 0.0
) -> np.ndarray:
    """Return a square cutout with noise, in sigma, clipped at 3 like the predecessor's."""
    middle = (side - 1) / 2
    blob = replace(blob, x=middle + at[0], y=middle + at[1], depth=1.0)
    strength = snr / np.sqrt((blob.unit_shape()[0] ** 2).sum())
    noise = np.random.default_rng(seed).standard_normal((side, side))
    return np.clip(strength * render_blob(blob, noise.shape) + noise + level, -3.0, 3.0)


def test_template_is_centred_normalized_and_faded():
    for seed, side in enumerate((9, 14, 15, 21)):
        template = create_template("a", cutout_of(replace(KNOWN, half_width=side / 2.6), side, 30.0, seed))
        image = template.profile
        assert image.shape[0] == image.shape[1]
        assert image.shape[0] % 2 == 1
        assert image.max() == 1.0
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert np.abs(border).max() < 0.005
        v, u = np.indices(image.shape) - image.shape[0] // 2
        strong = np.where(image > 0.5, image, 0.0)
        assert abs((strong * u).sum() / strong.sum()) < 0.6
        assert abs((strong * v).sum() / strong.sum()) < 0.6


def test_square_border_is_removed():
    """Check a level of half a sigma, which makes a square a sixth of the peak high."""
    inside, outside = [], []
    for seed in range(30):
        image = create_template("a", cutout_of(KNOWN, 15, 40.0, seed, at=(0, 0), level=0.5)).profile
        v, u = np.indices(image.shape) - image.shape[0] // 2
        cutout = np.maximum(np.abs(u), np.abs(v)) <= 7
        away = np.abs(u) + np.abs(v) > 10  # from the diamond
        inside.append(image[away & cutout].mean())
        outside.append(image[away & ~cutout].mean())
        assert max(np.abs(np.diff(image, axis=axis)).max() for axis in (0, 1)) < 0.5
    assert abs(np.mean(inside)) < 0.02
    assert abs(np.mean(outside)) < 0.005


def measured(count: int, snr: tuple[float, float]) -> np.ndarray:
    """Return rows of true half-width, measured half-width and correlation of the shapes."""
    rng = np.random.default_rng(5)
    rows = []
    for seed in range(count):
        blob = draw_blob(rng, *rng.uniform(5, 1018, 2), depth=1.0)
        side = int(np.clip(round(2.4 * blob.half_width), 9, 21))
        template = create_template("a", cutout_of(blob, side, rng.uniform(*snr), seed, rng.uniform(-1, 1, 2)))
        if template is not None:
            drawn = TemplateBlob(40.2, 39.7, 1.0, 1.0, template=template)
            true, made = (render_blob(one, (81, 81)) for one in (replace(blob, x=40.2, y=39.7), drawn))
            correlation = (true * made).sum() / np.sqrt((true**2).sum() * (made**2).sum())
            rows.append((blob.half_width, template.half_width, correlation))
    return np.array(rows)


def test_template_has_shape_and_size_of_blob():
    rows = measured(80, (12.0, 45.0))
    assert len(rows) > 70
    assert np.median(rows[:, 1] / rows[:, 0]) == pytest.approx(1.0, abs=0.07)
    assert np.std(rows[:, 1] - rows[:, 0]) < 0.9  # the scatter of the sizes at a place
    assert np.median(rows[:, 2]) > 0.95
    assert np.quantile(rows[:, 2], 0.1) > 0.85


def test_cutouts_without_blob_are_skipped():
    rng = np.random.default_rng(6)
    cutouts = {"1": cutout_of(KNOWN, 15, 25.0), "flat": np.zeros((15, 15)), "edge": np.zeros((15, 15))}
    cutouts["edge"][0:4, 0:4] = 3.0
    cutouts |= {f"noise{n}": rng.standard_normal((15, 15)) for n in range(20)}
    cutouts["dark"] = -cutouts["1"]  # the sign of an exposure, not of a difference
    templates, left_out = create_templates(cutouts)
    assert sorted([one.name for one in templates] + left_out) == sorted(cutouts)
    assert "1" not in left_out
    assert {"flat", "edge", "dark"} <= set(left_out)
    assert len(templates) <= 4  # some noise looks like a faint blob
    with pytest.raises(BlobwatchError, match="no cutout contains a blob above the noise"):
        create_templates({"flat": np.zeros((15, 15))})


@pytest.mark.parametrize(
    ("cutout", "message"),
    [
        (np.ones((9, 11)), "cutout a: shape \\(9, 11\\)\\. Use squares of 7 to 41 pixels"),
        (np.array(1.0), "cutout a: shape \\(\\)\\."),
        (np.ones((SIDES[0] - 1,) * 2), "shape \\(6, 6\\)"),
        (np.ones((SIDES[1] + 1,) * 2), "shape \\(42, 42\\)"),
        (np.full((9, 9), np.nan), "values that are not finite"),
    ],
)
def test_invalid_cutouts_raise_error(cutout, message):
    with pytest.raises(BlobwatchError, match=message):
        create_templates({"b": cutout_of(KNOWN, 15, 25.0), "a": cutout})
