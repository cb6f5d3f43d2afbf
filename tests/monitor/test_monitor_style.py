"""Colours of the pages: contrast by WCAG in both schemes."""

import itertools
import re

import pytest

from blobwatch.monitor import charts
from blobwatch.monitor.pages import STYLE

TEXT, MARK = 4.5, 3.0  # WCAG 2.2: text; what is not text
WORDS = {  # colour of words: grounds on which they stand
    "ink": ["paper", "sheet", "warn"],
    "soft": ["paper", "sheet"],
    "link": ["paper", "sheet", "warn"],
    "good": ["paper", "sheet"],
    "open": ["paper", "sheet", "warn"],
    "bad": ["paper", "sheet"],
    "paper": ["link"],  # of a button
}


def schemes() -> dict[str, dict[str, str]]:
    """Return the colours of each scheme by name."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    return {
        name: dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
        for name, block in (("light", light), ("dark", dark))
    }


def brightness(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, bright = sorted([brightness(one), brightness(other)])
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_follows_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("words", "ground"), [(w, ground) for w, many in WORDS.items() for ground in many])
def test_text_contrast(scheme, words, ground):
    colours = schemes()[scheme]
    assert contrast(colours[words], colours[ground]) >= TEXT


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_mark_and_focus_contrast(scheme):
    colours = schemes()[scheme]
    for mark, ground in itertools.product(("mark", "soft", "edge"), ("paper", "sheet", "warn")):
        assert contrast(colours[mark], colours[ground]) >= MARK


def test_schemes_define_all_used_colours():
    light, dark = schemes().values()
    assert light.keys() == dark.keys()
    assert set(re.findall(r"var\(--(\w+)\)", STYLE.read_text(encoding="utf-8"))) == light.keys()


def test_date_colours_increase_in_brightness():
    values = [brightness(one) for one in charts.date_colours()]
    assert all(later > earlier for earlier, later in itertools.pairwise(values[::16]))
    assert values[-1] - values[0] > 0.7


def test_legend_has_colours_of_map():
    bar = re.search(r"linear-gradient\(90deg, (.*?)\)", STYLE.read_text(encoding="utf-8"))[1].split(", ")
    expected = [charts.colour_of_date(float(one), 0.0, len(bar) - 1.0) for one in range(len(bar))]
    for one, other in zip(bar, expected, strict=True):
        assert all(abs(int(one[k : k + 2], 16) - int(other[k : k + 2], 16)) <= 3 for k in (1, 3, 5))
