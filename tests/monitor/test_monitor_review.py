"""Reviews: storage in the ledger, status of blobs, labels."""

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from monitor.example_exposures import APPEARED, COUNT, LOUD, NAMES, PASSED
from synthetic import image_with_blobs, write_exposure

from blobwatch.cli import main
from blobwatch.dataset.labels import LABELS, Label, apply_labels, read_labels, write_labels
from blobwatch.dataset.splits import Source
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.blobs import Blob
from blobwatch.monitor import reviews
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.ledger.queries import unlabelled_reviews
from blobwatch.monitor.ledger.rows import get_blob, list_blobs
from blobwatch.monitor.ledger.tables import Exposure, Review
from blobwatch.monitor.monitor import Monitor
from blobwatch.monitor.reviews import review_blob, write_pending_labels
from blobwatch.predict import Predictor

FAR = Label("ich219i8q", 300.0, 400.0, 9.0, "blob", "Ann", "2016-02-03")


@pytest.fixture
def ledger(watched):
    return open_ledger(watched.url)


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "labels").mkdir()
    return tmp_path / "labels"


@pytest.fixture
def run(monkeypatch, capsys, watched, labels):
    """Run the command; return exit status, stdout and stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        where = ["--ledger", watched.url, "--labels", labels]
        monkeypatch.setattr(sys, "argv", ["blobwatch", "review", *map(str, [*arguments, *where])])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


def places(ledger, number: int) -> list[tuple]:
    """Return rootname and place of each detection of a blob, in time order."""
    with ledger.reading() as session:
        seen = sorted(get_blob(session, number).detections, key=lambda one: one.exposure.expstart)
        return [
            (one.exposure.rootname, round(one.x, 2), round(one.y, 2), round(one.radius, 2)) for one in seen
        ]


def told(table: list[Label]) -> list[tuple]:
    return [(one.rootname, one.x, one.y, one.radius, one.label) for one in table]


def reviews_of(ledger) -> list[Review]:
    with ledger.reading() as session:
        return session.query(Review).order_by(Review.id).all()


def status(ledger, number: int) -> str:
    with ledger.reading() as session:
        return get_blob(session, number).status


def test_confirmed_blob_is_labelled_in_first_detection(run, ledger, labels):
    code, out, err = run(2, "--confirm", "--reason", "round, and in no map", "--json")
    assert code == 0
    assert "blob 2 is confirmed. Commit" in err
    with ledger.reading() as session:
        assert json.loads(out) == next(row for row in list_blobs(session) if row["id"] == 2)
    assert told(read_labels(labels)) == [(*places(ledger, 2)[0], "blob")]
    (said,) = reviews_of(ledger)
    assert (said.verdict, said.reason, said.labelled) == ("confirmed", "round, and in no map", True)
    (label,) = read_labels(labels)
    assert (label.who, label.when) == (said.who, said.at)
    assert status(ledger, 2) == "confirmed"


def test_rejected_blob_is_labelled_other_in_each_detection(run, ledger, labels):
    assert run(1, "--reject", "--reason", "a ghost")[:2] == (0, "")
    where = places(ledger, 1)
    assert len(where) >= 3
    assert told(read_labels(labels)) == [(*one, "other") for one in where]
    assert status(ledger, 1) == "rejected"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1, "--reason", "why"), "the verdict is missing. Pass --confirm or --reject"),
        ((99, "--confirm", "--reason", "why"), "the ledger has no blob 99. `blobwatch blobs` lists them"),
        ((1, "--confirm", "--reason", ""), "the reason must have 1 to 2000 characters"),
        ((1, "--confirm", "--reason", " \n"), "the reason must have"),
        ((1, "--confirm", "--reason", "x" * 2001), "the reason must have"),
        ((1, "--confirm", "--reason", "a\x00b"), "the reason must have"),
        ((1, "--confirm", "--reason", "a\udcffb"), "the reason must have"),
    ],
)
def test_invalid_review_is_reported_and_changes_nothing(run, ledger, labels, arguments, said):
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"blobwatch: {said}")
    assert len(err.splitlines()) == 1
    assert reviews_of(ledger) == []
    assert list(labels.iterdir()) == []


@pytest.mark.parametrize(
    ("verdict", "who", "where", "said"),
    [
        ("perhaps", "Ann", "labels", "verdict 'perhaps' is unknown. Use confirmed or rejected"),
        ("confirmed", " ", "labels", "the name of the reviewer is missing. Set git's user.name"),
        ("confirmed", "Ann", "elsewhere", "elsewhere: not a directory"),
    ],
)
def test_verdict_name_and_folder_are_required(ledger, tmp_path, labels, verdict, who, where, said):
    with pytest.raises(BlobwatchError, match=said):
        review_blob(ledger, tmp_path / where, 1, verdict, "why", who)
    assert reviews_of(ledger) == []


@pytest.mark.parametrize(("first", "then"), [("confirmed", "rejected"), ("rejected", "confirmed")])
def test_second_review_replaces_labels(ledger, labels, first, then):
    write_labels(labels, [FAR])
    review_blob(ledger, labels, 1, first, "at first sight", "Ann")
    review_blob(ledger, labels, 1, then, "at second sight", "Ben")
    where = places(ledger, 1)
    expected = [(*where[0], "blob")] if then == "confirmed" else [(*one, "other") for one in where]
    kept, *mine = read_labels(labels)
    assert kept == FAR
    assert told(mine) == expected
    assert {one.who for one in mine} == {"Ben"}
    assert [one.verdict for one in reviews_of(ledger)] == [first, then]
    assert status(ledger, 1) == then


def test_manual_label_is_replaced_only_at_same_place(ledger, labels):
    rootname, x, y, _ = places(ledger, 1)[0]
    beside = Label(rootname, x + 40, y, 9.0, "other", "Ann", "2016-02-03")
    at_the_place = Label(rootname, x + 4, y - 3, 6.0, "other", "Ann", "2016-02-03")
    earlier = replace(at_the_place, rootname=NAMES[0])
    write_labels(labels, [FAR, at_the_place, beside, earlier])
    review_blob(ledger, labels, 1, "confirmed", "seen", "Ben")
    table = read_labels(labels)
    assert table[:3] == [FAR, beside, earlier]
    assert told(table[3:]) == [(*places(ledger, 1)[0], "blob")]


def test_damaged_table_is_rejected_and_unchanged(ledger, labels):
    (labels / LABELS).write_text("rootname,x\nich219i8q,3\n")
    with pytest.raises(BlobwatchError, match=r"labels\.csv, line 2: columns rootname, x\. Use rootname"):
        review_blob(ledger, labels, 1, "confirmed", "seen", "Ann")
    assert (labels / LABELS).read_text() == "rootname,x\nich219i8q,3\n"
    assert reviews_of(ledger) == []


@pytest.mark.parametrize("blocked", [f"labels/{LABELS}", ".labels.partial-lock"])
def test_unwritable_table_or_lock_is_reported_and_label_written_later(ledger, labels, blocked):
    (labels.parent / blocked).mkdir()
    with pytest.raises(BlobwatchError, match=r"labels\.csv: not accessible .*writes this label"):
        review_blob(ledger, labels, 2, "confirmed", "seen", "Ann")
    (labels.parent / blocked).rmdir()
    assert write_pending_labels(ledger, labels) == 1
    assert told(read_labels(labels)) == [(*places(ledger, 2)[0], "blob")]


def test_review_killed_before_label_is_completed_by_next(ledger, labels, monkeypatch):
    def killed(*_):
        raise SystemExit

    with monkeypatch.context() as during:
        during.setattr(reviews, "write_labels", killed)
        with pytest.raises(SystemExit):
            review_blob(ledger, labels, 2, "rejected", "a ghost", "Ann")
    assert list(labels.iterdir()) == []
    assert (status(ledger, 2), [one.labelled for one in reviews_of(ledger)]) == ("rejected", [False])
    review_blob(ledger, labels, 1, "confirmed", "seen", "Ben")
    assert told(read_labels(labels)) == [(*places(ledger, 2)[0], "other"), (*places(ledger, 1)[0], "blob")]
    with ledger.reading() as session:
        assert unlabelled_reviews(session) == []
    before = (labels / LABELS).read_bytes()
    assert write_pending_labels(ledger, labels) == 0
    assert (labels / LABELS).read_bytes() == before


def test_review_killed_after_label_has_one_label(ledger, labels):
    review_blob(ledger, labels, 1, "rejected", "a ghost", "Ann")
    before = (labels / LABELS).read_bytes()
    with ledger.writing() as session:
        session.query(Review).one().labelled = False
    assert write_pending_labels(ledger, labels) == 1
    assert (labels / LABELS).read_bytes() == before


def test_exposure_without_hst_rootname_is_rejected(ledger, labels):
    with ledger.writing() as session:
        session.query(Exposure).filter_by(rootname=NAMES[PASSED]).one().rootname = "my exposure"
    with pytest.raises(BlobwatchError, match="blob 2 cannot become a label: rootname is 'my exposure'"):
        review_blob(ledger, labels, 2, "confirmed", "seen", "Ann")
    assert (reviews_of(ledger), status(ledger, 2)) == ([], "candidate")
    assert list(labels.iterdir()) == []


def test_concurrent_reviews_are_both_kept(ledger, labels, monkeypatch):
    """The second review starts after the first has read the table, before it is written."""
    second = Thread(target=lambda: review_blob(ledger, labels, 2, "rejected", "a ghost", "Ben"))
    second_waits = Event()
    write, lock = reviews.write_labels, reviews.lock_labels

    def write_late(*arguments):
        if not second.ident:
            second.start()
            assert second_waits.wait(10)
        write(*arguments)

    @contextmanager
    def noticed(folder):
        if second.ident:
            second_waits.set()
        with lock(folder):
            yield

    monkeypatch.setattr(reviews, "write_labels", write_late)
    monkeypatch.setattr(reviews, "lock_labels", noticed)
    review_blob(ledger, labels, 1, "confirmed", "seen", "Ann")
    second.join()
    assert {(one.label, one.who) for one in read_labels(labels)} == {("blob", "Ann"), ("other", "Ben")}
    assert [one.labelled for one in reviews_of(ledger)] == [True, True]


def test_training_uses_labels_of_reviews(ledger, labels):
    review_blob(ledger, labels, 1, "confirmed", "seen", "Ann")
    review_blob(ledger, labels, 2, "rejected", "a ghost", "Ann")
    sources = [
        Source(name, 58000.0 + day, Path(f"{name}_diff.fits"), (), ()) for day, name in enumerate(NAMES)
    ]
    taken = apply_labels(read_labels(labels), sources, [], lambda path: image_with_blobs([LOUD]))
    (appeared,) = taken.appearances
    assert appeared.mjd == 58000.0 + APPEARED
    assert np.hypot(appeared.blob.x - LOUD.x, appeared.blob.y - LOUD.y) < 2
    assert list(taken.others) == [NAMES[PASSED]]
    assert len(taken.used) == 2


def test_new_detection_does_not_change_reviewed_status(ledger, labels, tmp_path, box_model):
    """The model finds one blob again, since it is deeper; it does not find the other."""
    review_blob(ledger, labels, 1, "rejected", "a ghost", "Ann")
    review_blob(ledger, labels, 2, "confirmed", "seen", "Ann")
    write_exposure(tmp_path, COUNT, [Blob(LOUD.x, LOUD.y, 4.0, 0.1)])
    (came,) = Monitor(tmp_path, ledger, Predictor.load(box_model)).run()
    assert [one.id for one in came.found] == [1]
    assert (came.new, came.confirmed) == ([], [])
    assert (status(ledger, 1), status(ledger, 2)) == ("rejected", "confirmed")
    assert len(places(ledger, 1)) > COUNT - APPEARED - 4
