"""The pages in a real browser: drawn without errors, on a narrow window, in dark mode, by keyboard alone."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from monitor.example_ledger import CANDIDATE, REFERENCE, fill, serving
from PIL import Image
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

from blobwatch.monitor.ledger.reviewers import add_reviewer

CHROMIUM = "/usr/bin/chromium"  # Debian's; Playwright's own browsers are not downloaded
PATHS = ["/", "/blob/1", "/blob/3", "/exposures?page=3", "/drift", "/model", "/sign-in", "/nowhere"]
WIDTH = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
CUT_OFF = """[...document.querySelectorAll("svg text")].filter(one => {
  const text = one.getBoundingClientRect(), whole = one.ownerSVGElement.getBoundingClientRect()
  return text.left < whole.left - 1 || text.right > whole.right + 1 || text.bottom > whole.bottom + 1
}).map(one => one.textContent)"""
FOCUS = """(() => {
  const at = document.activeElement
  const name = at.getAttribute("href") || at.name || ""
  return [at.tagName.toLowerCase(), name, at.value || at.textContent.trim()]
})()"""

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"{CHROMIUM} is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    work = tmp_path_factory.mktemp("browser")
    ledger = fill(f"sqlite:///{work}/ledger.db")
    with serving(ledger, work, REFERENCE) as address:
        yield address, add_reviewer(ledger, "Ada Lovelace")


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def errors():
    """Messages in the browser's console: script errors, refused content, failed requests."""
    return []


@pytest.fixture
def page(chromium, errors):
    def log_console(message: ConsoleMessage) -> None:
        if message.type != "verbose":  # hints, such as missing autocomplete attributes
            errors.append(message.text)

    page = chromium.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.on("console", log_console)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()


def screenshot(page: Page) -> np.ndarray:
    """Return the visible part of the page, RGB."""
    return np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB"))


def press_tab(page: Page) -> list[str]:
    """Press Tab; return the focused element: tag, target or name, text."""
    page.keyboard.press("Tab")
    return page.evaluate(FOCUS)


def tab_to(page: Page, what: str) -> None:
    """Press Tab until an element with this target, name or text has the focus."""
    passed = []
    for _ in range(60):
        passed.append(press_tab(page))
        if what in passed[-1]:
            return
    raise AssertionError(f"Tab does not reach {what}: {passed}")


def press_enter(page: Page) -> None:
    """Press Enter and wait for the page that it leads to."""
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_map_links_to_each_blob(page, site):
    page.goto(site[0])
    places = page.evaluate("""[...document.querySelectorAll("svg.map a")].map(one => {
        const box = one.querySelector(".reach").getBoundingClientRect()
        return [one.getAttribute("href"), box.width, box.height]})""")
    assert [one[0] for one in places] == ["/blob/1", "/blob/2", "/blob/3"]
    assert all(width > 15 and height > 15 for _, width, height in places)


def test_style_sheet_applies_and_page_is_not_blank(page, site):
    page.goto(site[0])
    assert page.evaluate('getComputedStyle(document.querySelector("svg.map .frame")).strokeWidth') == "2px"
    seen = screenshot(page)
    colours, counts = np.unique(seen.reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours) > 50
    assert counts.max() < 0.95 * counts.sum()
    assert seen.reshape(-1, 3).mean() > 200


def test_dark_scheme_is_dark(page, site):
    page.emulate_media(color_scheme="dark")
    page.goto(site[0])
    assert screenshot(page).mean() < 60


@pytest.mark.parametrize("path", PATHS)
def test_narrow_window_shows_everything_without_errors(page, errors, site, path):
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(site[0] + path)
    assert page.evaluate(WIDTH) <= 400
    assert page.evaluate(CUT_OFF) == []
    missing = "Failed to load resource: the server responded with a status of 404 (Not Found)"
    assert [one for one in errors if path != "/nowhere" or one != missing] == []


def test_blob_page_shows_cutouts(page, site):
    page.goto(f"{site[0]}/blob/1")
    boxes = page.evaluate("""[...document.querySelectorAll(".cutouts svg")].map(one => one.clientWidth)""")
    assert len(boxes) == 3
    assert min(boxes) >= 200
    x, y, side = page.evaluate("""(() => { const box = document.querySelector(".cutouts image")
        .getBoundingClientRect(); return [box.x, box.y, box.width].map(Math.floor) })()""")
    seen = screenshot(page)[y + 5 : y + side - 5, x + 5 : x + side - 5]
    assert len(np.unique(seen)) > 50


def test_tab_reaches_skip_link_navigation_and_each_blob_on_the_map(page, site):
    page.goto(site[0])
    assert press_tab(page) == ["a", "#main", "Skip to the content"]
    assert page.evaluate("document.activeElement.getBoundingClientRect().x") >= 0  # it is seen
    assert [press_tab(page)[1] for _ in range(5)] == ["/", "/", "/exposures", "/drift", "/model"]
    for number in (1, 2, 3):
        tab_to(page, f"/blob/{number}")
        assert page.evaluate("!!document.activeElement.closest('svg.map')")
    shade = """getComputedStyle(document.activeElement.querySelector(".reach")).fillOpacity"""
    assert float(page.evaluate(shade)) > 0.2  # one sees where one is


def test_skip_link_leads_behind_the_navigation(page, site):
    page.goto(site[0])
    press_tab(page)
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    press_tab(page)
    assert page.evaluate("!!document.activeElement.closest('main')")


def test_sign_in_and_review_by_keyboard_alone(page, errors, site):
    address, token = site
    page.goto(f"{address}/blob/{CANDIDATE}")
    tab_to(page, "Sign in to review it")
    press_enter(page)
    assert page.evaluate("document.activeElement.name") == "token"
    page.keyboard.insert_text(token)
    press_enter(page)
    assert page.evaluate("location.pathname") == f"/blob/{CANDIDATE}"
    assert page.evaluate("document.cookie") == ""
    tab_to(page, "verdict")
    page.keyboard.press("Space")
    tab_to(page, "reason")
    page.keyboard.insert_text("rund, dunkel, und es bleibt: ✓")
    tab_to(page, "Review as Ada Lovelace")
    press_enter(page)
    assert page.evaluate("location.pathname") == f"/blob/{CANDIDATE}"
    words = page.evaluate("document.querySelector('main').innerText")
    assert "confirmed by Ada Lovelace" in words
    assert "rund, dunkel, und es bleibt: ✓" in words
    assert errors == []
    tab_to(page, "Sign out")
    press_enter(page)
    assert "Sign in to review" in page.evaluate("document.querySelector('header').innerText")
