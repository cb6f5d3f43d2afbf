"""Pages over a real server: valid, self-contained, with the content of the ledger."""

import re
from dataclasses import replace
from threading import Event

import html5lib
import numpy as np
import pytest
import requests
from monitor.example_ledger import (
    BEGAN,
    CANDIDATE,
    CONFIRMED,
    COUNT,
    NASTY_ERROR,
    NASTY_NAME,
    NASTY_REASON,
    REFERENCE,
    REJECTED,
    SCRIPT,
    Page,
    audited,
    fill,
    name_of,
    serving,
)

from blobwatch.artefact import Model as Artefact
from blobwatch.monitor import charts, web
from blobwatch.monitor.charts import light_chart
from blobwatch.monitor.ledger.database import open_ledger
from blobwatch.monitor.ledger.tables import Exposure
from blobwatch.monitor.model_status import Deployed, DeployedCache, find_deployed
from blobwatch.monitor.pages import PER_PAGE, Pages, Reader

ALL = ["/", "/blob/1", "/blob/2", "/blob/3", "/exposures", "/exposures?page=2", "/exposures?page=3"]
ALL += ["/drift", "/model", "/sign-in", "/sign-in?back=2"]
LAST = -(-COUNT // PER_PAGE)
NOTHING = Deployed()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def ledger(work):
    return fill(f"sqlite:///{work}/ledger.db")


@pytest.fixture(scope="module")
def empty(work):
    return open_ledger(f"sqlite:///{work}/empty.db", create=True)


@pytest.fixture(scope="module")
def server(work, ledger):
    with serving(ledger, work, REFERENCE) as address:
        yield address


@pytest.fixture(scope="module")
def got(server):
    kept = {}

    def get(path: str) -> requests.Response:
        if path not in kept:
            kept[path] = requests.get(server + path, timeout=10)
        return kept[path]

    return get


@pytest.fixture(scope="module")
def page(got):
    return lambda path: Page(got(path).text)


@pytest.fixture
def drawn(ledger):
    """Render a page without a server."""

    def draw(name: str, *arguments, deployed=NOTHING, reference=None, of=ledger):
        return Page(getattr(Pages(of.reading, reference, lambda: deployed), name)(*arguments, Reader()))

    return draw


@pytest.mark.parametrize("path", ALL)
def test_page_is_valid_and_self_contained_html_with_working_links(got, page, path):
    answer, seen = got(path), page(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    html5lib.HTMLParser(strict=True).parse(answer.text)
    assert [one for one in seen.addresses if not re.match(r"/(?!/)|#|data:", one)] == []
    assert "script" not in seen.tags
    assert [name for name, _ in seen.attributes if name.startswith("on") or name == "style"] == []
    for link in seen.links:
        assert link[1:] in seen.ids if link.startswith("#") else got(link).status_code == 200, link


@pytest.mark.parametrize("path", ["/", "/nowhere", "/blob/99", "/blobs.csv", "/style.css", "/audit"])
def test_responses_have_security_headers(got, path):
    headers = got(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


def test_style_has_no_external_resources(got):
    assert not re.search(r"url\(|@import|https?:", got("/style.css").text)


def test_index_counts_lists_and_links_blobs(page):
    seen = page("/")
    assert [seen.html.count(f'class="{name}"') for name in ("confirmed", "candidate", "cross")] == [1, 1, 1]
    assert "1 new blob confirmed, 1 candidate, 1 rejected, in 120 exposures" in seen.words
    assert "the newest was taken 2018-01-02 06:00" in seen.words
    for number in (CONFIRMED, CANDIDATE, REJECTED):
        assert seen.links.count(f"/blob/{number}") == 2  # on the map and in the list
    assert "100.5 ± 0.1" in seen.words
    assert "3.00 ± 0.44" in seen.words


@pytest.mark.parametrize(
    ("number", "status"), [(CONFIRMED, "confirmed"), (CANDIDATE, "candidate"), (REJECTED, "rejected")]
)
def test_blob_page_shows_status_onset_and_place(page, number, status):
    seen = page(f"/blob/{number}")
    first = BEGAN[number]
    assert re.search(rf"Blob {number}\s+{status}", seen.words)
    assert f"({name_of(first - 1)}) and" in seen.words
    assert f"({name_of(first)})." in seen.words
    assert f"{100.5 * number:.1f}" in seen.words
    assert f"{first:032x}" in seen.words
    assert "0.9876" in seen.words
    assert "cd" * 8 in seen.words
    assert ("scatter of the detections" in seen.words) == (number != CANDIDATE)
    assert len([one for one in seen.addresses if one.startswith("data:image/png;base64,")]) == 3


def test_light_curve_shows_all_exposures(got):
    html = got("/blob/1").text
    assert html.count('class="dot"') == COUNT - BEGAN[CONFIRMED] + 1
    assert html.count('class="dot hollow"') == BEGAN[CONFIRMED] - 10 - 1  # one has no usable pixel
    assert 'class="appeared"' in html


def test_points_before_and_after_onset_are_not_averaged():
    count = 5 * charts.MAX_POINTS
    mjd = np.arange(float(count))
    light = {"mjd": mjd, "depth": np.where(mjd >= 7, 0.04, 0.0), "error": np.full(count, 0.001)}
    chart = light_chart(light, {"first_seen": 7.0, "last_without": 6.0}, 0.02)
    middle = chart["halfway"]
    assert [point["y"] < middle for point in chart["points"]] == [point["shows"] for point in chart["points"]]
    assert sum(not point["shows"] for point in chart["points"]) == 7


def test_neighbours_are_averaged_by_error():
    count = 2 * charts.MAX_POINTS
    value, error = np.tile([0.0, 10.0], charts.MAX_POINTS), np.tile([1.0, 2.0], charts.MAX_POINTS)
    points = charts.average_neighbours(np.arange(float(count)), value, error)
    assert len(points) == charts.MAX_POINTS
    assert points[3]["mjd"] == 6.5
    assert points[3]["value"] == pytest.approx(10.0 * 0.25 / 1.25)
    assert points[3]["error"] == pytest.approx(1.25**-0.5)
    assert sum(one["count"] for one in charts.average_neighbours(np.arange(1001.0), np.ones(1001))) == 1001
    assert charts.average_neighbours(np.array([]), np.array([])) == []


def test_count_axis_has_whole_ticks():
    assert [label for _, label in charts.number_axis(0, 1, 0, 100, whole=True).ticks] == ["0", "1"]


def test_exposures_are_paged_newest_first(page):
    first, last = page("/exposures"), page(f"/exposures?page={LAST}")
    names = re.findall(r"i\d{7}q", first.words)
    assert names[:2] == [name_of(COUNT), name_of(COUNT - 1)]
    assert len(set(names)) == PER_PAGE
    assert len(set(re.findall(r"i\d{7}q", last.words))) == COUNT - PER_PAGE * (LAST - 1)
    assert f"page 1 of {LAST}" in first.words
    assert first.links.count("/exposures?page=2") == 2
    assert not any(f"page={LAST + 1}" in one for one in last.links)
    assert f"page {LAST} of {LAST}" in page(f"/exposures?page={LAST + 7}").words


def test_exposure_shows_probabilities_as_in_frame(got):
    html = got("/exposures").text
    table = re.search(rf'aria-label="Probabilities of {name_of(COUNT)}">(.*?)</table>', html)[1]
    rows = [re.findall(r"<td[^>]*>([\d.]+)</td>", row) for row in table.split("</tr>")[:-1]]
    assert rows == [["0.12"] * 4] * 3 + [["0.12", "0.88", "0.12", "0.12"]]
    assert table.count("flagged") == 1


def test_exposure_links_to_its_blobs(got):
    html = got("/exposures?page=2").text
    row = re.search(rf'<tr id="{name_of(BEGAN[CANDIDATE])}">.*?</table></td><td>(.*?)</td>', html)[1]
    assert 'href="/blob/2"' in row


@pytest.mark.parametrize(
    ("path", "nasty"),
    [
        ("/blob/3", NASTY_NAME),
        ("/blob/3", SCRIPT),
        ("/blob/1", NASTY_ERROR),
        (f"/exposures?page={LAST}", NASTY_REASON),
        ("/model", f"{SCRIPT} differs"),
    ],
)
def test_text_is_escaped(got, page, path, nasty):
    assert nasty in page(path).words
    assert nasty not in got(path).text


def test_drift_page_compares_with_training_range(page):
    seen = page("/drift")
    assert "0.6105 ± 0.0013" in seen.words
    assert "-1 to 1 (mean 0)" in seen.words
    assert seen.words.count("warning") == 0
    assert "rect" in seen.tags


def test_drift_warning_is_on_each_page(drawn):
    ranges = REFERENCE.ranges | {"score": {"mean": 0.0, "low": -0.1, "high": 0.1}}
    reference = replace(REFERENCE, ranges=ranges)
    assert "warning" in drawn("drift", reference=reference).words
    for name, arguments in (("index", ()), ("blob", (1,)), ("exposures", (1,)), ("model", ())):
        seen = drawn(name, *arguments, reference=reference)
        assert "differ from those that trained the model" in seen.words
        assert "/drift" in seen.links
    assert "outside -0.1 to 0.1 of the training data" in drawn("index", reference=reference).words


@pytest.mark.parametrize("reference", [None, replace(REFERENCE, model="0" * 64)])
def test_drift_without_reference_has_no_range(drawn, reference):
    seen = drawn("drift", reference=reference)
    assert "There is no reference of the model" in seen.words
    assert "rect" not in seen.tags
    assert seen.tags.count("svg") == 4


def test_missing_statistic_is_not_drawn(tmp_path):
    lacking = fill(f"sqlite:///{tmp_path}/ledger.db")
    with lacking.writing() as session:
        session.get(Exposure, COUNT).noise = None
    html = Pages(lacking.reading, None, Deployed).drift(Reader())
    assert not re.search(r"\bnan\b", html)
    assert html.count('class="small"') == 4 * (COUNT - 2) - 1


def test_too_few_exposures_have_no_mean(drawn):
    assert "Fewer than 500 exposures" in drawn("drift", reference=replace(REFERENCE, together=500)).words


def test_model_page_shows_audit_links(page, got):
    seen = page("/model")
    assert "no model" in seen.words
    assert re.search(r"run\s*mismatch", seen.words)
    assert "/audit" in seen.links
    assert got("/audit").text == audited().page


def test_model_page_shows_deployed_model(drawn, box_model):
    model = Artefact.load(box_model)
    seen = drawn("model", deployed=Deployed(model, "ok", "2026-02-03T04:05:06+00:00", "", ()))
    assert model.sha256 in seen.words
    assert "(2026-02-03 04:05:06 UTC)" in seen.words
    assert "ab" * 8 in seen.words  # the one that judged


def test_page_does_not_wait_for_audit(ledger, tmp_path):
    done = Event()
    with serving(ledger, tmp_path, deployed=lambda: done.wait(30) and audited()) as address:
        try:
            answer = requests.get(f"{address}/model", timeout=10)
            assert "reload the page in a moment" in answer.text
            assert requests.get(f"{address}/audit", timeout=10).status_code == 404
        finally:
            done.set()


def test_model_page_outside_project_explains_missing_audit(ledger, tmp_path):
    known = find_deployed(tmp_path)
    seen = Page(Pages(ledger.reading, None, lambda: known).model(Reader()))
    assert known.model.sha256 in seen.words
    assert "not audited here" in seen.words


def test_failed_audit_is_reported():
    def fail():
        raise RuntimeError("out of order")

    cache = DeployedCache(fail)
    cache.refresh()
    assert "out of order" in cache.newest.note


@pytest.mark.parametrize("name", ["index", "exposures", "drift", "model"])
@pytest.mark.parametrize("reference", [None, REFERENCE])
def test_empty_ledger_has_each_page(drawn, empty, name, reference):
    seen = drawn(name, *([1] if name == "exposures" else []), reference=reference, of=empty)
    assert html5lib.HTMLParser(strict=True).parse(seen.html).find(".//{*}h1") is not None
    assert name != "index" or "blobwatch monitor DIR" in seen.words


NOT_FOUND = ["/blob/99", "/blob/2147483647", "/nowhere", "/blobs.xml", "/blob/"]
INVALID = ["/blob/0", "/blob/-1", "/blob/x", "/blob/2147483648", "/exposures?page=0"]


@pytest.mark.parametrize("path", NOT_FOUND + INVALID)
def test_missing_or_invalid_address_is_reported(got, path):
    answer = got(path)
    title = {404: "Not found", 422: "Invalid request"}[answer.status_code]
    assert answer.status_code == (404 if path in NOT_FOUND else 422)
    assert title in Page(answer.text).words


def test_unsupported_method_is_405(server):
    answer = requests.delete(f"{server}/", headers={"Authorization": "Bearer x"}, timeout=10)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


def test_exports_are_served(got):
    assert [one["id"] for one in got("/blobs.json").json()] == [1, 2, 3]
    assert got("/blobs.csv").text.count("\n") == 4
    assert got("/blobs.ecsv").text.startswith("# %ECSV")
    assert got("/blobs.reg").text.startswith("# Region file format")


def test_damaged_ledger_is_reported(tmp_path):
    gone = fill(f"sqlite:///{tmp_path}/gone.db")
    with serving(gone, tmp_path) as address:
        gone.engine.dispose()
        (tmp_path / "gone.db").write_bytes(b"no database" * 1000)
        answer = requests.get(f"{address}/", timeout=10)
    assert answer.status_code == 400
    assert "ledger not usable" in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("host", "further", "names"),
    [
        ("127.0.0.1", [], {"127.0.0.1", "localhost", "[::1]"}),
        ("0.0.0.0", ["watch.example"], {"127.0.0.1", "localhost", "[::1]", "watch.example"}),
        ("10.0.0.7", [], {"127.0.0.1", "localhost", "[::1]", "10.0.0.7"}),
        ("fd00::7", [], {"127.0.0.1", "localhost", "[::1]", "[fd00::7]"}),
        ("watch", [], {"127.0.0.1", "localhost", "[::1]", "watch"}),
    ],
)
def test_allowed_hosts(host, further, names):
    assert set(web.allowed_hosts(host, further)) == names
