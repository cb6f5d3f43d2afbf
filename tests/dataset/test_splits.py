"""Splits by time share no exposure."""

import itertools

import numpy as np
import pytest

from blobwatch.dataset.splits import SPLITS, Source, read_sources, split_by_time
from blobwatch.errors import BlobwatchError


def season_of(times: list[float], days: float = 30.0, minimum: int = 3) -> list[Source]:
    """Difference images against the exposures of the trailing days."""
    sources = []
    for moment in times:
        stack = [t for t in times if moment - days <= t < moment]
        if len(stack) >= minimum:
            names = tuple(f"i{t:.3f}" for t in stack)
            sources.append(Source(f"i{moment:.3f}", moment, None, names, tuple(stack)))
    return sources


@pytest.fixture
def sources():
    return season_of(sorted(np.random.default_rng(2).uniform(57388.0, 57634.0, 82).tolist()))


def test_splits_share_no_exposure(sources):
    splits = split_by_time(sources, (0.5, 0.25))
    assert list(splits) == list(SPLITS)
    for one, other in itertools.pairwise(SPLITS):
        assert max(s.expstart for s in splits[one]) < min(s.earliest for s in splits[other])
    lost = len(sources) - sum(len(members) for members in splits.values())
    assert lost <= 0.35 * len(sources)  # two spans of 30 days


def test_split_depends_on_whole_stack():
    """Check that an exposure just after a boundary is in no split, since its stack is before it."""
    sources = season_of([float(t) for t in range(100)], days=5.0)
    splits = split_by_time(sources, (0.5, 0.25))
    first_val = min(source.expstart for source in splits["val"])
    assert first_val - max(source.expstart for source in splits["train"]) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("shares", "empty"), [((0.97, 0.01), "val"), ((0.5, 0.5), "test"), ((0.0, 0.5), "train")]
)
def test_empty_split_raises_error(sources, shares, empty):
    with pytest.raises(
        BlobwatchError, match=f"inside the span of {empty} with its whole stack. Add exposures"
    ):
        split_by_time(sources, shares)


def test_reads_index_of_difference(tmp_path):
    (tmp_path / "index.csv").write_text(
        "rootname,expstart,path,stack,reason\n"
        "ia,10.0,,,too few\nib,11.0,,,too few\nic,12.5,ic_diff.fits,ia ib,\n"
    )
    (source,) = read_sources(tmp_path)
    assert source == Source("ic", 12.5, tmp_path / "ic_diff.fits", ("ia", "ib"), (10.0, 11.0))
    assert source.earliest == 10.0


def test_missing_index(tmp_path):
    with pytest.raises(
        BlobwatchError, match=r"index\.csv: file not found\. Run `blobwatch difference` first"
    ):
        read_sources(tmp_path)
