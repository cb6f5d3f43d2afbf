"""HTML report of an audit: content, escaping and independence of other files."""

import json
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import md5
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder

import pytest

from blobwatch.lineage.audit.hashing import MISMATCH, MISSING, OK
from blobwatch.lineage.audit.html_report import CHAIN, HISTORY, render_page, shorten_hashes, utc_date
from blobwatch.lineage.audit.labels import Labels
from blobwatch.lineage.audit.record_checks import Link
from blobwatch.lineage.audit.run import Audit
from blobwatch.lineage.model_version import ModelVersion, VersionIndex
from blobwatch.lineage.pipeline import LockedStage
from blobwatch.lineage.restore import Snapshot
from blobwatch.lineage.tracking.snapshot import Version

NOW = datetime(2026, 11, 24, 6, 15, 42, tzinfo=UTC)
NAMES = [name for names in CHAIN.values() for name in names]
CURVES = "epoch,train_loss,val_loss,val_auc\n0,0.6,0.5,0.9\n1,0.3,,0.97\n"
VOID = {"meta", "img", "br"}
RECORD = {
    "action": "promote",
    "version": 3,
    "who": "Ada <ada@example.org>",
    "when": "2026-11-22T23:32:42+00:00",
    "reason": "finds fainter blobs",
    "run_id": "1301cc9762fb40dd91ee40256223bcb5",
    "files": {"manifest.json": "01" * 32},
    "fingerprint": "84" * 32,
    "commit": "43" * 20,
    "metrics": {
        "blobs.false_per_100": None,
        "subframes.auc": 0.98419,
        "subframes.auc_low": 0.9798,
        "subframes.auc_high": 0.98903,
    },
}


class Parsed(HTMLParser):
    """Parse a page into a tree; fail if elements are not nested correctly."""

    def __init__(self, text: str):
        super().__init__()
        self.builder, self.open = TreeBuilder(), []
        self.feed(text)
        self.close()
        assert self.open == []
        self.root: Element = self.builder.close()

    def handle_starttag(self, tag, attributes):
        self.builder.start(tag, {key: value or "" for key, value in attributes})
        self.open.append(tag)
        if tag in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.builder.end(tag)

    def handle_data(self, data):
        if self.open:
            self.builder.data(data)


def parse(found: Audit) -> Element:
    return Parsed(render_page(found, NOW)).root


def text_of(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def section(root: Element, title: str) -> Element:
    return next(one for one in root.iter("section") if title in (one.findtext("h2") or ""))


def cells(table: Element) -> list[list[str]]:
    return [[text_of(cell) for cell in row] for row in table.iter("tr")]


def make_subject(record: dict | None = RECORD, manifest: dict | None = None) -> ModelVersion:
    contents = {} if manifest is None else {"manifest.json": json.dumps(manifest).encode()}
    known = VersionIndex([record] if record else [], None, "no MLflow store found")
    registered = None if record else Version("aa" * 16, "", {"commit": "cc" * 20})
    return ModelVersion(Path("."), 3, known, record, registered, {}, contents, "")


def make_label(**other) -> dict:
    row = {"rootname": "ich219i8q", "x": 512.0, "y": 300.5, "radius": 12.0}
    return row | {"label": "blob", "who": "Ada", "when": "2026-11-24"} | other


def make_exposure(number: int, role: str, status: str, **other: str) -> dict:
    row = {"rootname": f"izzz000{number}q", "role": role, "status": status, "md5": f"{number:032x}"}
    return row | {"expstart": "57390.62125324", "filter": "F153M", "programme": "11696"} | other


def make_audit(statuses: dict[str, str] | None = None, **other) -> Audit:
    """Return an audit with all links; their status is ok except as given."""
    statuses = statuses or {}
    links = [
        Link(name, statuses.get(name, OK), f"{number:064x}", f"{number + 16:064x}", f"about {name}")
        for number, name in enumerate(NAMES, start=1)
    ]
    return Audit(make_subject(), links, **other)


def make_snapshot(folder: Path, content: str, locked: str | None = None) -> Snapshot:
    (folder / HISTORY).parent.mkdir(parents=True)
    (folder / HISTORY).write_text(content)
    outs = {HISTORY: md5((content if locked is None else locked).encode()).hexdigest()}
    return Snapshot(folder, None, {"train": LockedStage("blobwatch train", {}, {}, outs)})


LEADS = {
    OK: "All links were checked, and all hashes match.",
    "incomplete": "No mismatch was found, but 1 of 12 links could not be checked here:",
    MISMATCH: "A recorded hash or value does not match.",
}


@pytest.mark.parametrize(
    ("statuses", "verdict"), [({}, OK), ({"run": MISSING}, "incomplete"), ({"run": MISMATCH}, MISMATCH)]
)
def test_page_starts_with_verdict_and_explanation(statuses, verdict):
    root = parse(make_audit(statuses))
    first = root.find(".//main")[0]
    assert first.get("class") == f"verdict {verdict}"
    assert text_of(first.find("h1")) == f"Audit of version 3, champion {verdict}"
    assert first.find("h1//use").get("href") == f"#{verdict}"
    assert [words for words in LEADS.values() if words in text_of(first)] == [LEADS[verdict]]
    assert ("run: about run" in text_of(first)) == bool(statuses)
    assert verdict in text_of(root.find(".//title"))


def test_verdict_groups_unchecked_links_by_reason():
    found = make_audit({"registry": MISSING, "run": MISSING, "alias": MISMATCH})
    silent = [replace(link, note="no store") if link.status == MISSING else link for link in found.links]
    first = parse(replace(found, links=silent)).find(".//main")[0]
    assert [text_of(one) for one in first.iter("li")] == ["alias: about alias", "registry, run: no store"]
    assert "In addition, 2 of 12 links could not be checked here:" in text_of(first)


def test_commands_in_notes_are_formatted_as_code():
    found = Audit(make_subject(), [Link("run", MISSING, note="gone; `blobwatch sync` & <b>")])
    (note,) = (one for one in parse(found).find(".//main")[0].iter("li") if "gone" in text_of(one))
    assert text_of(note) == "run: gone; blobwatch sync & <b>"
    assert text_of(note.find("code")) == "blobwatch sync"


def test_deployment_section_lists_promotion_record():
    place = section(parse(make_audit()), "Deployment: who")
    facts = {text_of(name): text_of(value) for name, value in place.findall("dl/div")}
    assert facts == {
        "Version": "3, champion",
        "By": "Ada <ada@example.org>",
        "On": "2026-11-22 23:32:42 UTC",
        "Action": "a promotion",
        "Reason": "finds fainter blobs",
        "Commit": "43" * 20,
        "Fingerprint": "84" * 32,
        "Run": "1301cc9762fb40dd91ee40256223bcb5",
    }


def test_metrics_have_intervals():
    table = section(parse(make_audit()), "Deployment: who").find(".//table")
    assert cells(table) == [
        ["metric", "value", "interval"],
        ["AUC of the test subframes", "0.9842", "0.9798 to 0.989"],
        ["false blobs per 100 exposures", "not measured", "not in the log"],
    ]


def test_forced_promotion_lists_failed_gates():
    record = RECORD | {"forced": ["AUC is 0.8; at least 0.9 required"]}
    root = parse(replace(make_audit(), subject=make_subject(record)))
    assert "AUC is 0.8; at least 0.9 required" in text_of(section(root, "Deployment: who"))
    assert "promoted with --force" in text_of(root.find(".//main")[0])
    assert "force" not in text_of(parse(make_audit()).find(".//body")).lower()


def test_chain_shows_status_as_colour_symbol_and_word():
    statuses = {"registry": MISSING, "raw exposures": MISMATCH}
    boxes = list(section(parse(make_audit(statuses)), "The chain").findall("ol/li"))
    assert [text_of(box.find("b")) for box in boxes] == NAMES
    for box, name in zip(boxes, NAMES, strict=True):
        status = statuses.get(name, OK)
        mark = box.find("span")
        assert (box.get("class"), mark.find(".//use").get("href"), text_of(mark)) == (
            status,
            f"#{status}",
            status,
        )
        assert text_of(box.find("p")).endswith("?")


def test_hashes_are_short_in_chain_and_complete_in_table():
    root = parse(make_audit())
    assert text_of(section(root, "The chain").find("ol/li/code")) == f"{'0' * 12}…"
    rows = cells(section(root, "Each link").find(".//table"))
    assert rows[0] == ["link", "status", "expected", "found", "note"]
    assert rows[1] == ["promotions log", "ok", f"{1:064x}", f"{17:064x}", "about promotions log"]
    assert len(rows) == 13


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("c268fec08427444ffc095323f838022e.dir", "c268fec08427…"),
        ("manifest.json 0115691aaff0, model.onnx 5b6d6f4ce972", "2 files"),
        ("2", "2"),
        ("", ""),
    ],
)
def test_shorten_hashes(text, shown):
    assert shorten_hashes(text) == shown


def test_unreached_links_are_missing():
    found = replace(make_audit(), links=make_audit().links[:10])
    root = parse(found)
    assert "2 of 12 links could not be checked here" in text_of(root.find(".//main")[0])
    assert LEADS[OK] not in text_of(root)
    assert [one.get("class") for one in section(root, "The chain").findall("ol/li")][-3:] == [
        OK,
        MISSING,
        MISSING,
    ]


def test_unknown_link_is_added_to_chain():
    found = replace(make_audit(), links=[*make_audit().links, Link("dark frames", MISMATCH)])
    assert text_of(section(parse(found), "The chain").findall("ol")[-1][-1]) == "mismatch dark frames"


def test_exposures_are_counted_by_role_and_listed():
    rows = [
        make_exposure(1, "train", OK),
        make_exposure(2, "train", MISMATCH),
        make_exposure(3, "test", MISSING, rootname="icqt0203q"),
        make_exposure(4, "train", OK),
    ]
    counts, table = section(parse(make_audit(exposures=rows)), "Exposures").iter("table")
    assert cells(counts) == [
        ["role", "exposures", "ok", "missing", "mismatch"],
        ["train", "3", "2", "0", "1"],
        ["test", "1", "0", "1", "0"],
    ]
    assert text_of(counts.find("caption")).startswith("4 exposures, 3 of them simulated")
    head, first, second, *_ = cells(table)
    assert head == ["rootname", "date, UTC", "MJD", "filter", "programme", "role", "md5", "status"]
    assert first[:4] == ["izzz0001q", "2016-01-03", "57390.62125324", "F153M"]
    assert first[4:] == ["11696", "train", f"{1:032x}", "ok"]
    assert second[-1] == "mismatch"


def test_labels_are_listed_with_author():
    rows = [make_label(), make_label(x=7.0, y=8.25, label="other", who="Ben")]
    place = section(parse(make_audit(labels=Labels(rows, "data/subframes/labels.csv"))), "Labels by people")
    assert cells(place.find(".//table")) == [
        ["position, pixels", "radius", "exposure", "label", "who", "when"],
        ["(512, 300.5)", "12", "ich219i8q", "blob", "Ada", "2026-11-24"],
        ["(7, 8.25)", "12", "ich219i8q", "other", "Ben", "2026-11-24"],
    ]
    caption = "Labels: 2 by 2 people (blob 1, other 1). Source: data/subframes/labels.csv."
    assert text_of(place.find(".//caption")) == caption


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            Labels([], "data/subframes/labels.csv"),
            "No labels by people were used in training (data/subframes/labels.csv).",
        ),
        (Labels(None, "gone (`dvc pull`)"), "used in training are unknown: gone (dvc pull)."),
        (Labels(), "used in training are unknown."),
    ],
)
def test_empty_and_unknown_labels_are_distinguished(labels, sentence):
    place = section(parse(make_audit(labels=labels)), "Labels by people")
    assert text_of(place).endswith(sentence)
    assert place.find(".//table") is None


@pytest.mark.parametrize(
    ("mjd", "date"),
    [("0", "1858-11-17"), ("51544.99", "2000-01-01"), ("51545", "2000-01-02"), ("57447.5", "2016-02-29")]
    + [(odd, "") for odd in ("", "nan", "inf", "1e12", "yesterday")],
)
def test_utc_date(mjd, date):
    assert utc_date(mjd) == date


def test_page_without_exposures():
    assert "manifest of this version is missing" in text_of(section(parse(make_audit()), "Exposures"))
    there = replace(make_audit(), subject=make_subject(manifest={"name": "blobwatch"}))
    assert "lists no exposures." in text_of(section(parse(there), "Exposures"))


def test_training_curves_are_embedded(tmp_path):
    (image,) = parse(make_audit(snapshot=make_snapshot(tmp_path, CURVES))).iter("img")
    kind, _, content = image.get("src").partition(",")
    png = b64decode(content, validate=True)
    assert kind == "data:image/png;base64"
    assert png.startswith(b"\x89PNG")
    assert b"Software" not in png
    # width and height in the head of a PNG
    size = [int.from_bytes(png[at : at + 4], "big") for at in (16, 20)]
    assert size == [int(image.get("width")), int(image.get("height"))]
    assert image.get("alt")


@pytest.mark.parametrize(
    ("content", "locked", "reason"),
    [
        (CURVES, CURVES + "2,0.1,0.1,0.99\n", "differs from the one in dvc.lock"),
        *(
            (odd, odd, "has no loss and AUC columns")
            for odd in ("epoch,train_loss\n0,0.6\n", "epoch\n0,1,2\n")
        ),
        ("epoch\nfirst\n", None, "has no loss and AUC columns to plot."),
        (None, None, "of this training is missing"),
    ],
)
def test_reason_is_given_without_curves(tmp_path, content, locked, reason):
    snapshot = Snapshot(tmp_path, None, {}) if content is None else make_snapshot(tmp_path, content, locked)
    for one in [snapshot, None] if content is None else [snapshot]:
        root = parse(make_audit(snapshot=one))
        assert list(root.iter("img")) == []
        assert f"{HISTORY} {reason}" in text_of(section(root, "Training curves"))


def test_page_for_broken_log():
    root = parse(
        Audit(None, [Link("promotions log", MISMATCH, note="line 2 does not continue; `git checkout`")])
    )
    first = root.find(".//main")[0]
    assert text_of(first.find("h1")) == "Audit of the promotion log mismatch"
    assert "line 2 does not continue; git checkout" in text_of(first)
    assert "Do not rely on the deployed version" in text_of(first)
    assert len(cells(section(root, "Each link").find(".//table"))) == 2
    assert text_of(root).count("unknown because the promotion log is broken") == 3


def test_page_for_version_never_promoted():
    place = section(parse(replace(make_audit(), subject=make_subject(record=None))), "Deployment: who")
    assert "Version 3 was never promoted. Its state is “registered”" in text_of(place)
    assert "cc" * 20 in text_of(place)
    assert place.find(".//table") is None


def test_user_text_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    record = RECORD | {"reason": evil, "who": evil, "forced": [f"`{evil}`"], "metrics": {evil: 1.0}}
    row = make_exposure(1, evil, OK, rootname=evil, programme=evil, expstart=evil, filter=evil, md5=evil)
    links = [Link("run", MISSING, evil, evil, f"`{evil}` {evil}"), Link(evil, MISMATCH, evil, "", evil)]
    labels = Labels([make_label(rootname=evil, label=evil, who=evil, when=evil)], f"`{evil}`")
    text = render_page(
        Audit(make_subject(record), links, [row], make_snapshot(tmp_path, CURVES), labels), NOW
    )
    assert "<script" not in text
    assert list(Parsed(text).root.iter("script")) == []
    assert text_of(Parsed(text).root).count(evil) > 20


def test_page_is_self_contained(tmp_path):
    root = parse(
        make_audit(
            {"run": MISMATCH},
            exposures=[make_exposure(1, "val", OK)],
            snapshot=make_snapshot(tmp_path, CURVES),
        )
    )
    known = {one.get("id") for one in root.iter() if one.get("id")}
    assert known >= {"ok", "missing", "mismatch", "incomplete"}
    for one in root.iter():
        assert one.tag not in {"script", "link", "iframe", "object", "embed", "form", "base"}
        assert not [name for name in one.attrib if name.startswith("on")]
        assert one.get("src", "data:").startswith("data:")
        assert one.get("href", "#ok").removeprefix("#") in known
    style = text_of(root.find(".//style"))
    assert "url(" not in style
    assert "@import" not in style
    assert "@font-face" not in style


def test_page_has_accessible_headings_and_tables():
    text = render_page(
        make_audit(exposures=[make_exposure(1, "val", OK)], labels=Labels([make_label()], "a table")), NOW
    )
    root = Parsed(text).root
    assert text.startswith("<!DOCTYPE html>\n")
    assert root.get("lang") == "en"
    levels = [int(one.tag[1]) for one in root.iter() if one.tag in {"h1", "h2", "h3"}]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    boxes = [one.find("table") for one in root.iter("div") if one.get("class") == "wide"]
    assert len(boxes) == len(list(root.iter("table"))) == 5
    for table in boxes:
        assert text_of(table.find("caption"))
        assert {head.get("scope") for head in table.find("thead").iter("th")} == {"col"}
        assert {row[0].get("scope") for row in table.find("tbody")} == {"row"}


def test_page_is_deterministic(tmp_path):
    found = make_audit(snapshot=make_snapshot(tmp_path, CURVES))
    assert render_page(found, NOW) == render_page(found, NOW.replace(second=1))
    assert render_page(found, NOW) != render_page(found, NOW + timedelta(minutes=1))


def test_audit_time_is_utc_and_defaults_to_now():
    time = Parsed(render_page(make_audit(), NOW.astimezone(timezone(timedelta(hours=10))))).root.find(
        ".//time"
    )
    assert (text_of(time), time.get("datetime")) == ("2026-11-24 06:15 UTC", "2026-11-24T06:15Z")
    before = datetime.now(UTC).replace(second=0, microsecond=0)
    written = Parsed(render_page(make_audit())).root.find(".//time").get("datetime")
    assert before <= datetime.fromisoformat(written) <= datetime.now(UTC)
