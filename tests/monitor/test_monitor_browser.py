"""The pages in a real browser: drawn, without a complaint, narrow, dark, and by keyboard alone."""

import shutil

import numpy as np
import pytest
from monitor.browser import Browser
from monitor.shown import CANDIDATE, REFERENCE, audited, fill, labels_in, serving

from blobwatch.monitor import web
from blobwatch.monitor.ledger.reviewers import admit

PROGRAM = "/usr/bin/chromium"
PATHS = ["/", "/blob/1", "/blob/3", "/exposures?page=3", "/drift", "/model", "/sign-in", "/nowhere"]
WIDEST = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
CUT_OFF = """[...document.querySelectorAll("svg text")].filter(one => {
  const text = one.getBoundingClientRect(), whole = one.ownerSVGElement.getBoundingClientRect()
  return text.left < whole.left - 1 || text.right > whole.right + 1 || text.bottom > whole.bottom + 1
}).map(one => one.textContent)"""

pytestmark = pytest.mark.skipif(not shutil.which(PROGRAM), reason=f"{PROGRAM} is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    work = tmp_path_factory.mktemp("browser")
    ledger = fill(f"sqlite:///{work}/ledger.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "find_deployed", lambda root: audited())
        app = web.make_app(ledger, work, labels_in(work / "labels"), REFERENCE, ["127.0.0.1"])
        with serving(app) as address:
            yield address, admit(ledger, "Ada Lovelace")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    browser = Browser(PROGRAM, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(opened):
    opened.complaints.clear()
    opened.wide(1280)
    return opened


def test_the_map_is_drawn_and_leads_to_each_blob(browser, site):
    browser.go(site[0])
    places = browser.ask("""[...document.querySelectorAll("svg.map a")].map(one => {
        const box = one.querySelector(".reach").getBoundingClientRect()
        return [one.getAttribute("href"), box.width, box.height]})""")
    assert [one[0] for one in places] == ["/blob/1", "/blob/2", "/blob/3"]
    assert all(width > 15 and height > 15 for _, width, height in places)


def test_the_style_is_taken_and_the_page_is_not_blank(browser, site):
    browser.go(site[0])
    assert browser.ask('getComputedStyle(document.querySelector("svg.map .frame")).strokeWidth') == "2px"
    seen = browser.picture()
    colours, counts = np.unique(seen.reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours) > 50
    assert counts.max() < 0.95 * counts.sum()
    assert seen.reshape(-1, 3).mean() > 200


def test_a_dark_scheme_is_dark(browser, site):
    browser.wide(1280, scheme="dark")
    browser.go(site[0])
    assert browser.picture().mean() < 60


@pytest.mark.parametrize("path", PATHS)
def test_the_browser_complains_of_nothing_and_nothing_sticks_out_of_a_narrow_window(browser, site, path):
    browser.wide(400)
    browser.go(site[0] + path)
    assert browser.ask(WIDEST) <= 400
    assert browser.ask(CUT_OFF) == []
    missing = "Failed to load resource: the server responded with a status of 404 (Not Found)"
    assert [one for one in browser.complaints if path != "/nowhere" or one != missing] == []


def test_pictures_of_a_blob_are_there(browser, site):
    browser.go(f"{site[0]}/blob/1")
    boxes = browser.ask("""[...document.querySelectorAll(".cutouts svg")].map(one => one.clientWidth)""")
    assert len(boxes) == 3
    assert min(boxes) >= 200
    x, y, side = browser.ask("""(() => { const box = document.querySelector(".cutouts image")
        .getBoundingClientRect(); return [box.x, box.y, box.width].map(Math.floor) })()""")
    seen = browser.picture()[y + 5 : y + side - 5, x + 5 : x + side - 5]
    assert len(np.unique(seen)) > 50


def test_tab_reaches_skip_link_navigation_and_each_blob_on_the_map(browser, site):
    browser.go(site[0])
    assert browser.tab() == ["a", "#main", "Skip to the content"]
    assert browser.ask("document.activeElement.getBoundingClientRect().x") >= 0  # it is seen
    assert [browser.tab()[1] for _ in range(5)] == ["/", "/", "/exposures", "/drift", "/model"]
    for number in (1, 2, 3):
        browser.tab_to(f"/blob/{number}")
        assert browser.ask("!!document.activeElement.closest('svg.map')")
    shade = """getComputedStyle(document.activeElement.querySelector(".reach")).fillOpacity"""
    assert float(browser.ask(shade)) > 0.2  # one sees where one is


def test_the_skip_link_leads_behind_the_navigation(browser, site):
    browser.go(site[0])
    browser.tab()
    browser.press("Enter")
    assert browser.ask("location.hash") == "#main"
    browser.tab()
    assert browser.ask("!!document.activeElement.closest('main')")


def test_a_person_signs_in_and_reviews_by_keyboard_alone(browser, site):
    address, token = site
    browser.go(f"{address}/blob/{CANDIDATE}")
    browser.tab_to("Sign in to review it")
    browser.loaded(lambda: browser.press("Enter"))
    assert browser.ask("document.activeElement.name") == "token"
    browser.type(token)
    browser.loaded(lambda: browser.press("Enter"))
    assert browser.ask("location.pathname") == f"/blob/{CANDIDATE}"
    assert browser.ask("document.cookie") == ""
    browser.tab_to("verdict")
    browser.press(" ")
    browser.tab_to("reason")
    browser.type("rund, dunkel, und es bleibt: ✓")
    browser.tab_to("Review as Ada Lovelace")
    browser.loaded(lambda: browser.press("Enter"))
    assert browser.ask("location.pathname") == f"/blob/{CANDIDATE}"
    words = browser.ask("document.querySelector('main').innerText")
    assert "confirmed by Ada Lovelace" in words
    assert "rund, dunkel, und es bleibt: ✓" in words
    assert browser.complaints == []
    browser.tab_to("Sign out")
    browser.loaded(lambda: browser.press("Enter"))
    assert "Sign in to review" in browser.ask("document.querySelector('header').innerText")
