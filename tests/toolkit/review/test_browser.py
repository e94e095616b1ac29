"""The review page in a real browser, driven by the keyboard as a person would."""

from __future__ import annotations

import re
import runpy
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rs_toolkit.review.journal import JOURNAL, read_decisions, read_journal
from rs_toolkit.review.server import ReviewServer
from rs_toolkit.review.session import Session

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
# A busy machine is no failure.
expect.set_options(timeout=30_000)

_SAMPLE = runpy.run_path(str(Path(__file__).with_name("review_folder.py")))
BROKEN, GROUP, MARKUP = _SAMPLE["BROKEN"], _SAMPLE["GROUP"], _SAMPLE["MARKUP"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def folder(tmp_path) -> Path:
    return _SAMPLE["clean_folder"](tmp_path, side=240)


@pytest.fixture
def server(folder) -> Iterator[ReviewServer]:
    with ReviewServer(Session(folder, pytest.fail)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser, server) -> Iterator[object]:
    """The page, opened by its address; anything that the browser complains of fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(server.url)
    expect(page.locator("#count")).to_have_text("1 of 5, 0 decided")
    yield page
    page.close()
    assert complaints == []


def said(page, text: str) -> None:
    expect(page.locator("#status")).to_contain_text(text)


def go_to(page, place: int) -> None:
    """Go forward to an item by its number, from 1."""
    for number in range(2, place + 1):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#count")).to_contain_text(f"{number} of 5")


def test_keep_relabel_drop_and_undo_by_keyboard(page, folder) -> None:
    assert page.url.endswith("/")
    expect(page.locator("h2").first).to_have_text("This photo cannot be read.")
    page.keyboard.press("k")
    said(page, f"{BROKEN}: kept.")
    expect(page.locator("#count")).to_have_text("2 of 5, 1 decided")
    page.keyboard.press("ArrowRight")
    expect(page.locator("h2").first).to_have_text("Is this discidae?")
    page.keyboard.press("r")
    page.keyboard.type("trig")
    page.keyboard.press("Enter")
    said(page, "discidae/0.jpg: relabelled trigonidae.")
    page.keyboard.press("d")
    said(page, "quadridae/0.jpg: dropped.")
    expect(page.locator("#count")).to_have_text("5 of 5, 3 decided")
    page.keyboard.press("u")
    said(page, "quadridae/0.jpg: no longer dropped.")
    expect(page.locator("#count")).to_have_text("4 of 5, 2 decided")
    expect(page.locator(".verdict")).to_have_count(0)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".verdict")).to_have_text("relabelled trigonidae")
    found = read_decisions(folder / JOURNAL, report=pytest.fail).values()
    assert [(item.path, item.action, item.label) for item in found] == [
        (BROKEN, "keep", None),
        ("discidae/0.jpg", "relabel", "trigonidae"),
    ]
    assert len((folder / JOURNAL).read_text().splitlines()) == 4


def test_the_suggested_class_is_one_key_away(page, folder) -> None:
    go_to(page, 3)
    expect(page.locator("section h3")).to_contain_text(["labelled", "suggested"])
    expect(page.locator("section img")).to_have_count(8)
    page.keyboard.press("r")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    said(page, "discidae/0.jpg: relabelled quadridae.")
    assert len(read_journal(folder / JOURNAL)) == 1


def test_a_duplicate_group_by_keys_and_by_buttons(page, folder) -> None:
    go_to(page, 2)
    expect(page.locator("figure")).to_have_count(3)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".frame").nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("n")
    said(page, f"{GROUP[1]}: set apart.")
    expect(page.locator("figure").nth(1).locator(".verdict")).to_have_text("set apart")
    page.locator(".frame").nth(2).click()
    page.get_by_role("button", name="Drop").click()
    said(page, f"{GROUP[2]}: dropped.")
    expect(page.locator("#count")).to_have_text("2 of 5, 0 decided")
    page.get_by_role("button", name="Same animal").click()
    said(page, f"{GROUP[2]}: put together.")
    expect(page.locator("#count")).to_have_text("3 of 5, 1 decided")
    found = [(item.path, item.action, set(item.group)) for item in read_journal(folder / JOURNAL)]
    assert found == [
        (GROUP[1], "different", {GROUP[0], GROUP[2]}),
        (GROUP[2], "drop", set()),
        (GROUP[2], "same", {GROUP[0]}),
    ]


def test_filters_and_the_end(page) -> None:
    page.get_by_label("Flag").select_option("label_noise")
    expect(page.locator("#count")).to_have_text("1 of 2, 0 decided")
    page.locator("#class").select_option("quadridae")
    expect(page.locator("#count")).to_have_text("1 of 1, 0 decided")
    page.get_by_role("button", name="Keep").click()
    said(page, "quadridae/0.jpg: kept. All decided.")
    page.get_by_label("Flag").select_option("outlier")
    expect(page.locator("h2").first).to_have_text("Nothing to review here")
    page.get_by_role("button", name="Undo").click()
    said(page, "no longer kept")
    expect(page.locator("#count")).to_have_text("4 of 5, 0 decided")


def test_names_are_text_and_never_markup(page) -> None:
    go_to(page, 5)
    expect(page.locator("figcaption")).to_contain_text(MARKUP)
    expect(page.locator("figcaption")).to_contain_text("<b>far</b> from its class")
    assert page.locator("figcaption img, figcaption b").count() == 0


def test_typing_a_note_decides_nothing(page, folder) -> None:
    page.get_by_label("Note").click()
    page.keyboard.type("dusk, k and d")
    page.keyboard.press("Enter")
    assert not (folder / JOURNAL).exists()
    page.keyboard.press("k")
    said(page, "kept")
    assert read_journal(folder / JOURNAL)[0].note == "dusk, k and d"
    expect(page.get_by_label("Note")).to_have_value("")


def test_every_control_has_a_name_and_every_photo_a_text(page) -> None:
    go_to(page, 2)
    # What a screen reader is told: one line an element, its role and its name.
    tree = page.locator("body").aria_snapshot()
    controls = re.findall(r"- (?:button|combobox|textbox|progressbar|img)\b.*", tree)
    assert len(controls) == 18 and [line for line in controls if '"' not in line] == []


def test_a_reloaded_page_goes_on(page, folder) -> None:
    page.reload()
    expect(page.locator("#count")).to_have_text("1 of 5, 0 decided")
    page.keyboard.press("k")
    said(page, f"{BROKEN}: kept.")
    assert len(read_journal(folder / JOURNAL)) == 1


def test_a_second_opening_is_explained_and_decides_nothing(browser, server, folder) -> None:
    context = browser.new_context()
    first, second = context.new_page(), context.new_page()
    first.goto(server.url)
    expect(first.locator("#count")).to_have_text("1 of 5, 0 decided")
    assert second.goto(server.url).status == 403
    expect(second.locator("body")).to_contain_text("start it again and open the new address")
    # The browser's cookie lets another tab look.
    second.goto(server.url.split("?")[0])
    expect(second.locator("#count")).to_have_text("1 of 5, 0 decided")
    second.keyboard.press("k")
    said(second, "this tab may look, but not decide")
    assert not (folder / JOURNAL).exists()
    context.close()


def test_a_wrong_ticket_gets_nothing(browser, server) -> None:
    for address in (f"{server.url}x", server.url.split("?")[0]):
        page = browser.new_page()
        assert page.goto(address).status == 403
        expect(page.locator("body")).to_contain_text("Open the address that rs-toolkit review")
        page.close()


def test_a_decision_that_was_not_saved_is_not_shown_as_one(browser, server, folder) -> None:
    page = browser.new_page()
    page.goto(server.url)
    expect(page.locator("#count")).to_have_text("1 of 5, 0 decided")
    (folder / JOURNAL).mkdir()
    page.keyboard.press("k")
    said(page, "not saved: Is a directory")
    expect(page.locator("#count")).to_have_text("1 of 5, 0 decided")
    page.route("**/api/*", lambda route: route.abort())
    page.keyboard.press("k")
    said(page, "no longer runs")
    page.close()


def test_it_fits_a_phone_and_follows_its_colours(browser, server) -> None:
    # The page's own policy would keep the test's script out, too.
    page = browser.new_page(viewport={"width": 360, "height": 740}, bypass_csp=True)
    page.goto(server.url)
    expect(page.locator("#count")).to_have_text("1 of 5, 0 decided")
    for place in (2, 3):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#count")).to_contain_text(f"{place} of 5")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(map(int, re.findall(r"\d+", colour)))
        assert brightness < 200 if scheme == "dark" else brightness > 600
    page.close()
