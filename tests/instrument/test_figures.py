"""The pictures of the instrument show what they are given."""

import sys

import numpy as np
import pytest

from blobwatch.figures.instrument import bin_image, plot_difference_steps, plot_simulated_and_real

Figure = pytest.importorskip("matplotlib.figure", reason="needs the extra train").Figure


def test_simulated_stands_above_real_with_the_same_limits():
    ours, real = np.zeros((1024, 1024)), np.ones((1024, 1024))
    pairs = [("sky", ours, real, (0, 1024, 0, 1024), 0.8, 1.1, "gray")] * 2
    figure = plot_simulated_and_real(pairs)
    assert isinstance(figure, Figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["sky\nsimulated"] * 2 + ["sky\nreal"] * 2
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0.8, 1.1)}
    assert figure.axes[0].images[0].get_array().max() == 0
    assert figure.axes[2].images[0].get_array().min() == 1


def test_a_window_keeps_the_frames_pixels():
    image = np.zeros((1024, 1024))
    image[701, 300] = 1.0
    figure = plot_simulated_and_real([("star", image, image, (290, 320, 695, 705), 0, 1, "gray")])
    drawn = figure.axes[0].images[0]
    assert drawn.get_extent() == [289.5, 319.5, 694.5, 704.5]
    assert np.argwhere(drawn.get_array() == 1).tolist() == [[6, 10]]


def test_new_blobs_are_circled_at_their_places():
    frame = np.ones((1024, 1024), dtype=np.float32)
    frame[:5] = np.nan
    figure = plot_difference_steps(frame, frame, frame - frame, [(300.3, 701.8, 8.0)])
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert [patch.center for patch in axes.patches] == [(300.3, 701.8)]
        assert axes.get_ylim() == (-0.5, 1023.5)  # y upward
    figure.savefig("/dev/null", format="png")


def test_averaged_leaves_out_what_is_unknown():
    image = np.arange(16.0).reshape(4, 4)
    image[0, 0], image[2:, 2:] = np.nan, np.nan
    result = bin_image(image, 2)
    assert result[0, 0] == (1 + 4 + 5) / 3
    assert np.isnan(result[1, 1])


def test_pictures_need_no_pyplot_state():
    before = "matplotlib.pyplot" in sys.modules
    bin_image(np.ones((4, 4)), 2)
    plot_difference_steps(*[np.ones((8, 8))] * 3, [])
    assert ("matplotlib.pyplot" in sys.modules) == before
