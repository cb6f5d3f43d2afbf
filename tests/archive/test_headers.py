"""The exposures of a scan, in the order of time."""

from pathlib import Path

from blobwatch.archive.headers import File, before, exposures_of
from blobwatch.instrument.exposure_files import Listed


def test_exposures_stay_in_time_where_one_is_there_twice():
    """As raw and flt, or copied with another date."""
    files = [
        File(Path(name), "", when, "F153M", Listed(Path(name), name[0], when, "F153M"))
        for name, when in [("a1", 1.0), ("b1", 2.0), ("a2", 3.0), ("c1", 4.0)]
    ]
    assert [one.path.name for one in exposures_of(files)] == ["a1", "b1", "c1"]
    assert [one.path.name for one in before(exposures_of(files), 4.0, 4.0, 2.5)] == ["b1"]
