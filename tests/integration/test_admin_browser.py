"""The operator's page in a browser: Chromium, as Debian's package has it. BRIDGE_CHROMIUM names it when not on PATH."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import api_keys, repository
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.admin_site import Site
from tests.support.events import event, queued
from tests.support.functions import CONTEXT, handler

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("BRIDGE_CHROMIUM") or shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        expect.set_options(timeout=10_000)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """Sign an operator in; whatever the page's policy forbids, or a script that runs, fails the test."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    opened.on("dialog", lambda dialog: said.append(dialog.message))
    opened.goto(f"{site.url}/admin")
    expect(opened.get_by_role("heading", name="Programs")).to_be_visible()
    yield opened
    context.close()
    assert [line for line in said if "the server responded with a status of 4" not in line] == []


def test_a_program_is_connected_in_the_form(page: Page, site: Site, stores: DeliverySettings, braze: Braze) -> None:
    page.get_by_label("Id", exact=True).fill("demo")
    page.get_by_role("button", name="Connect").click()
    page.get_by_label("REST endpoint").fill("https://rest.iad-01.braze.com.evil.test")
    page.get_by_role("button", name="Save").click()
    wrong = page.locator("[aria-invalid=true]").get_attribute("name")

    page.get_by_label("REST endpoint").fill(braze.url)
    page.get_by_label("REST API key").fill(KEY)
    page.get_by_label("Opt-in channels").fill("Newsletter\nPost")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("group", name="Default opt-ins").get_by_label("Newsletter").check()
    page.get_by_role("button", name="Save").click()

    assert wrong == "engagement.api_endpoint"
    expect(page.get_by_text("The connection is saved.")).to_be_visible()
    expect(page.get_by_text("streaming")).to_be_visible()
    assert KEY not in page.content()
    assert repository.load(stores, ["demo"])["demo"].missing() == []


def test_a_key_is_shown_once_and_revoked(page: Page, site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    page.goto(f"{site.url}/admin/programs/demo/keys")
    page.get_by_label("Name").fill("canvas")
    page.get_by_role("button", name="Create key").click()
    shown = page.locator("pre.key").inner_text()
    page.goto(f"{site.url}/admin/programs/demo/keys")
    afterwards = page.content()

    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke").click()

    assert api_keys.item_of(shown)
    assert "cvc_" not in afterwards
    assert "canvas" in afterwards
    expect(page.get_by_text("The key is revoked")).to_be_visible()
    assert api_keys.list_all(stores, "demo") == []


def test_a_sample_is_sent_and_its_answer_shown(page: Page, site: Site, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    page.goto(f"{site.url}/admin/programs/demo")

    page.get_by_label("Send the event").fill("tester")
    page.get_by_role("button", name="Send", exact=True).click()

    expect(page.get_by_text("accepted")).to_be_visible()
    assert braze.workspace(KEY).profile(external_id="tester")


def test_a_refused_record_is_looked_at_and_redriven(page: Page, site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    forward(queued(event("teleported<script>alert(1)</script>", eventId="odd")), stores, 30)
    page.goto(f"{site.url}/admin/programs/demo/records")
    page.get_by_role("link", name="odd").click()
    record = page.locator("pre").inner_text()
    page.go_back()

    page.get_by_role("link", name="Redrive").click()
    page.get_by_role("button", name="Redrive").click()

    assert "<script>alert(1)</script>" in record
    expect(page.get_by_text("back on the event queue")).to_be_visible()
    expect(page.get_by_text("No records.")).to_have_count(2)


def test_an_error_is_found_by_its_code_and_leads_to_its_record(
    page: Page, site: Site, stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    handler("forward_events")(queued(event(eventId="good"), event("teleported", eventId="odd")), CONTEXT)
    page.goto(f"{site.url}/admin/programs/demo/activity")
    drawn = page.locator("svg rect").count()

    page.get_by_role("link", name="Errors").click()
    page.get_by_label("Code").fill("rejected")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Details").click()
    page.get_by_role("link", name="odd").click()

    assert drawn >= 3
    expect(page.get_by_label("Id of an event or a member")).to_have_value("odd")
    expect(page.get_by_text("eventType").first).to_be_visible()


def test_signing_out_ends_at_the_issuer_and_back(page: Page, site: Site) -> None:
    page.get_by_role("button", name="Sign out").click()

    page.wait_for_url(f"{site.url}/admin/signed-out")
    expect(page.get_by_text("You are signed out")).to_be_visible()


def test_a_form_of_a_foreign_page_changes_nothing(page: Page, site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    foreign = f"""<form method="post" action="{site.url}/admin/programs/demo/keys"><button>Win</button></form>"""
    page.goto("about:blank")
    page.set_content(foreign)

    page.get_by_role("button", name="Win").click()

    page.get_by_role("heading").wait_for()
    assert api_keys.list_all(stores, "demo") == []


def test_the_page_works_with_the_keyboard_alone(page: Page, site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    page.goto(f"{site.url}/admin/programs/demo")

    page.keyboard.press("Tab")
    skip = page.evaluate("document.activeElement.textContent")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Keys":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("Enter")

    page.get_by_role("heading", name="New key").wait_for()
    assert (skip, outline) == ("Skip to the content", "solid")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_pages_fit_the_screen_and_their_text_is_legible(
    browser: Browser, site: Site, stores: DeliverySettings, scheme: str, width: int
) -> None:
    connect(stores, "http://127.0.0.1:9")
    forward(queued(event("teleported", eventId="an-id-that-is-long" * 8)), stores, 30)
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    for path in (
        "",
        "/programs/demo",
        "/programs/demo/connection",
        "/programs/demo/records",
        "/programs/demo/setup",
    ):
        page.goto(f"{site.url}/admin{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert _contrast(page) >= 4.5, path
    context.close()


def _contrast(page: Page) -> float:
    """Return the contrast of the text on a card.

    https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
    """
    style = "getComputedStyle(document.querySelector('.card, .card p'))"
    lightness = [_lightness(page.evaluate(f"{style}.{what}")) for what in ("color", "backgroundColor")]
    return (max(lightness) + 0.05) / (min(lightness) + 0.05)


def _lightness(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
