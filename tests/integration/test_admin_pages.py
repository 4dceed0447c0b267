"""The operator's page: signing in and out, who made the browser ask, and what typed text may do."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from datetime import UTC, datetime
from http.cookiejar import Cookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from loyalty_bridge import settings
from loyalty_bridge.admin import forms
from loyalty_bridge.admin.pages import PAGES
from loyalty_bridge.event_queue.envelope import SourceRecord
from loyalty_bridge.model import FieldError
from loyalty_bridge.parking import parked_records
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.platforms.convercus.settings import ConvercusSettings
from loyalty_bridge.programs import api_keys, repository
from loyalty_bridge.programs.setting_reference import Setting
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from simulators.server import Answer, serving
from tests.conftest import KEY, connect
from tests.support.admin_site import Site
from tests.support.events import event, queued
from tests.support.functions import CONTEXT, loaded
from tests.support.template import ROOT


def session_cookie(browser: requests.Session) -> Cookie:
    return next(cookie for cookie in browser.cookies if cookie.name == "session")


# Signing in and out.


def test_signing_in_leads_to_the_page_that_was_asked_for(site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")

    answer = requests.Session().get(f"{site.url}/admin/programs/demo", timeout=20)

    assert (answer.status_code, urlsplit(answer.url).path) == (200, "/admin/programs/demo")
    assert "ops@example.com" in answer.text


def test_the_sign_in_proves_the_exchange_and_brings_no_token_to_the_browser(site: Site) -> None:
    browser = requests.Session()

    answer = browser.get(f"{site.url}/admin", timeout=20)

    asked = next(parse_qs(urlsplit(step.url).query) for step in answer.history if "/authorize" in step.url)
    assert (asked["response_type"], asked["code_challenge_method"]) == (["code"], ["S256"])
    assert {"state", "nonce", "code_challenge"} <= asked.keys()
    seen = answer.text + "".join(step.url + str(step.headers) for step in (*answer.history, answer))
    assert "eyJ" not in seen.replace(str(browser.cookies.get("sign-in")), "")
    assert all(cookie.has_nonstandard_attr("HttpOnly") for cookie in browser.cookies)


STRANGE_COOKIES = {
    "a number": b"7",
    "an object": b'{"state": 1}',
    "numbers": b"[1, 2, 3, 4]",
    "nested": b"[" * 3000,
    "lists": b'[["a"], ["b"], ["c"], ["d"]]',
    "too few": b'["a", "b", "c"]',
    "too many": b'["a", "b", "c", "d", "e"]',
    "nulls": b"[null, null, null, null]",
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("cookie", STRANGE_COOKIES)
def test_a_strangers_sign_in_cookie_is_no_defect(site: Site, capsys: pytest.CaptureFixture[str], cookie: str) -> None:
    text = base64.urlsafe_b64encode(STRANGE_COOKIES[cookie]).decode()
    place = f"{site.url}/admin/signed-in?state=a&code=b"

    answers = [
        requests.get(place, headers={"cookie": f"sign-in={one}"}, allow_redirects=False, timeout=20)
        for one in (text, text[:-1], "é".encode().decode("latin-1"), "")
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert "defects" not in capsys.readouterr().out


def test_signing_in_again_ends_the_session_before(site: Site) -> None:
    browser = site.browser()
    former = session_cookie(browser).value

    browser.get(f"{site.url}/admin/sign-in", timeout=20)

    assert session_cookie(browser).value != former
    with_former = requests.get(
        f"{site.url}/admin", headers={"cookie": f"session={former}"}, allow_redirects=False, timeout=20
    )
    assert with_former.headers["location"].startswith("/admin/sign-in")


def test_the_session_is_a_cookie_of_this_host_alone_that_no_script_reads(site: Site) -> None:
    browser = requests.Session()
    over_tls = {"x-forwarded-proto": "https"}

    started = browser.get(f"{site.url}/admin/sign-in", headers=over_tls, allow_redirects=False, timeout=20)

    value = started.headers["set-cookie"]
    assert value.startswith("__Host-sign-in=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(value.split("; "))
    assert "Domain" not in value


@pytest.mark.parametrize(
    "change",
    [{"state": "another"}, {"state": ""}, {"code": "another"}, {"code": ""}, {"nothing": "at all"}],
    ids=str,
)
def test_who_comes_back_with_something_else_is_not_signed_in(site: Site, change: dict[str, str]) -> None:
    browser = requests.Session()
    begun = browser.get(f"{site.url}/admin/sign-in", allow_redirects=False, timeout=20)
    back = browser.get(begun.headers["location"], allow_redirects=False, timeout=20)
    query = {name: one for name, (one,) in parse_qs(urlsplit(back.headers["location"]).query).items()}
    wrong = {"error": "access_denied"} if "nothing" in change else {**query, **change}

    answer = browser.get(f"{site.url}/admin/signed-in", params=wrong, timeout=20)

    assert answer.status_code == 401
    assert "session" not in browser.cookies


@pytest.mark.parametrize("delivery", ["nobody there", "reset", "silent"])
def test_an_issuer_that_does_not_answer_leaves_the_page_unavailable(
    site: Site, monkeypatch: pytest.MonkeyPatch, delivery: Any
) -> None:
    monkeypatch.setattr("loyalty_bridge.operations.operators._SECONDS", 0.3)
    with serving(lambda _: Answer(200, b"{}", delivery=delivery)) as url:
        monkeypatch.setenv("SIGN_IN_CONFIGURATION", "http://127.0.0.1:9" if delivery == "nobody there" else url)
        settings.load_settings.cache_clear()

        page = requests.get(f"{site.url}/admin/sign-in", allow_redirects=False, timeout=20)
        api = site.call("GET", "/programs")

    assert (page.status_code, "the issuer" in page.text) == (503, True)
    assert (api.status_code, api.json()["error"]) == (503, "unavailable")


def test_another_browser_cannot_be_signed_in_with_somebody_elses_code(site: Site) -> None:
    attacker, victim = requests.Session(), requests.Session()
    begun = attacker.get(f"{site.url}/admin/sign-in", allow_redirects=False, timeout=20)
    back = attacker.get(begun.headers["location"], allow_redirects=False, timeout=20)

    answer = victim.get(back.headers["location"], timeout=20)

    assert answer.status_code == 401
    assert "session" not in victim.cookies


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.test", "//evil.test", "/admin\\@evil.test", "/\\evil.test", "/adminevil", "", "/admin/\r\nx: y"],
)
def test_no_one_is_led_away_after_signing_in(site: Site, elsewhere: str) -> None:
    answer = requests.Session().get(f"{site.url}/admin/sign-in", params={"next": elsewhere}, timeout=20)

    assert answer.url == f"{site.url}/admin"


def test_a_session_that_was_signed_out_of_is_over_at_once(site: Site) -> None:
    browser = site.browser()
    kept = session_cookie(browser).value

    out = browser.post(f"{site.url}/admin/sign-out", allow_redirects=False, timeout=20)

    assert f"{site.issuer.url}/logout" in out.headers["refresh"]
    answer = requests.get(f"{site.url}/admin", cookies={"session": str(kept)}, allow_redirects=False, timeout=20)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/sign-in?next=%2Fadmin")


def test_a_session_that_is_over_changes_nothing_and_says_so(
    site: Site, stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(stores, "http://127.0.0.1:9")
    monkeypatch.setattr("loyalty_bridge.admin.sign_in.SESSION_SECONDS", 0)
    browser = requests.Session()
    browser.get(f"{site.url}/admin/sign-in", allow_redirects=False, timeout=20)
    begun = browser.get(f"{site.url}/admin/sign-in", allow_redirects=False, timeout=20)
    browser.get(begun.headers["location"], allow_redirects=False, timeout=20)

    answer = browser.post(f"{site.url}/admin/programs/demo/keys", headers={"origin": site.url}, timeout=20)

    assert (answer.status_code, "nothing was changed" in answer.text) == (401, True)
    assert api_keys.list_all(stores, "demo") == []


# Who made the browser ask.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "{site}"}, 201),
        ({"origin": None, "sec-fetch-site": "same-origin"}, 201),
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "{site}.evil.test"}, 403),
        ({"origin": "https://evil.test", "sec-fetch-site": "same-origin"}, 403),
        ({"origin": None, "sec-fetch-site": "same-site"}, 403),
        ({"origin": None, "sec-fetch-site": "cross-site"}, 403),
        ({"origin": None, "sec-fetch-site": "none"}, 403),
        ({"origin": None}, 403),
    ],
)
def test_a_change_is_taken_from_the_page_itself_only(
    site: Site, stores: DeliverySettings, headers: dict[str, str | None], status: int
) -> None:
    connect(stores, "http://127.0.0.1:9")
    browser = site.browser()
    values: Any = {name: text and text.replace("{site}", site.url) for name, text in headers.items()}

    by_page = browser.post(f"{site.url}/admin/programs/demo/keys", data={"name": "x"}, headers=values, timeout=20)
    by_api = browser.post(f"{site.url}/admin/api/v1/programs/demo/keys", json={}, headers=values, timeout=20)

    assert (by_page.status_code, by_api.status_code) == (status, status)
    assert len(api_keys.list_all(stores, "demo")) == (2 if status == 201 else 0)


@pytest.mark.parametrize("path", ["/admin", "/admin/nothing", "/admin/signed-out", "/admin/api/v1/me", "/elsewhere"])
def test_every_answer_has_the_headers(site: Site, path: str) -> None:
    answer = site.browser().get(site.url + path, timeout=20)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["strict-transport-security"].startswith("max-age=63072000")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_has_neither_script_nor_inline_style(site: Site, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    browser = site.browser()

    for method, path, _ in PAGES:
        if method == "GET" and path.count("{") <= 1 and not path.endswith(("/record", "/error")):
            place = path.replace("{programId}", "demo")
            answer = browser.get(f"{site.url}/admin{place}", params={"program": "demo"}, timeout=20)
            assert answer.status_code == 200, place
            assert not re.search(r"<script|\son\w+=|\sstyle=|<style|javascript:", answer.text), place


EXPLAINED = {
    "sent": event(payload={"points": 5}),
    "sent on": event("user_changed", accountId=None, userId="U1", payload={"firstName": "Ann"}),
    "rejected": {"eventType": "nonsense", "accountId": "A1"},
    "without a member": event(accountId=None),
    "several": [event(), {"eventType": "nonsense"}, 7],
    "no object": 7,
    "empty": {},
    "nothing": [],
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_every_outcome_of_an_explained_record_is_shown(
    site: Site, stores: DeliverySettings, braze: Braze, name: str
) -> None:
    connect(stores, braze.url)
    record = json.dumps(EXPLAINED[name])

    page = site.browser().post(f"{site.url}/admin/programs/demo/lookup", data={"record": record}, timeout=20)

    assert page.status_code in {200, 400}
    assert 'role="alert"' in page.text if page.status_code == 400 else "<pre" in page.text


def test_a_record_with_endless_reasons_leaves_the_pages_small(site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    record = SourceRecord("demo", b'"' * 2_500_000, datetime.now(UTC))
    reasons = tuple(FieldError("attributes", f"customProperties[{number}]", "x" * 100) for number in range(50_000))
    for _ in range(2):
        parked_records.park(
            stores, "rejected", "demo", [ParkedRecord(record, "endless", "demo#A1", reasons, ())], time.time()
        )
    browser = site.browser()

    pages = [
        browser.get(f"{site.url}/admin/programs/demo/records", timeout=20),
        browser.get(f"{site.url}/admin/programs/demo/record", params={"event_id": "endless"}, timeout=20),
        site.call("GET", "/programs/demo/rejected"),
        site.call("GET", "/programs/demo/rejected/record?event_id=endless"),
    ]

    assert [page.status_code for page in pages] == [200, 200, 200, 413]
    assert max(len(page.content) for page in pages) < 4_500_000
    assert "and 41 more" in pages[0].text  # fifty reasons of a record are kept, and the number of the others
    assert pages[3].json()["field"] == "answer"


# What typed text may do.

CHOSEN = {
    "identifier_type": "external_id",
    "alias_label": "convercus_account_id",
    "object_limit": "combined",
    "revenue": "purchases",
}
EVIL = "\"'><script>alert(1)</script>&lt;b&gt;{{7*7}}"


def test_typed_text_stays_text_in_every_field(site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    browser = site.browser()

    def post(path: str, **sent: Any) -> str:
        return browser.post(f"{site.url}/admin/programs/demo{path}", data=sent, timeout=20).text

    forward(queued(event("teleported" + EVIL, eventId=EVIL)), stores, 30)
    typed = {field.path: EVIL for field in forms.fields("convercus", "braze")}
    seen = [
        post("/connection", loyalty="convercus", engagement="braze", version="1", **typed),
        post("/keys", name=EVIL),
        post("/sample", member=EVIL),
        post("/lookup", record=EVIL),
        post("/lookup", record='{"eventType": "' + EVIL.replace('"', "") + '", "accountId": "A"}'),
        post("/members/resync", member=EVIL),
        post("/delete", confirm=EVIL),
        *(
            browser.get(
                f"{site.url}/admin{path}", params={"id": EVIL, "reason": EVIL, "event_id": EVIL}, timeout=20
            ).text
            for path in ("/programs/demo/lookup", "/programs/demo/records", "/programs/demo/record")
        ),
        browser.get(f"{site.url}/admin/programs/demo/records", timeout=20).text,
        browser.get(f"{site.url}/admin/programs/demo/audit", timeout=20).text,
        browser.get(f"{site.url}/admin/programs/{EVIL}/connection", timeout=20).text,
        browser.get(f"{site.url}/admin/new", params={"program": EVIL}, timeout=20).text,
    ]

    for page in seen:
        assert "<script" not in page
        assert "49" not in re.sub(r"\d{3,}|\d+-\d+|:\d+", "", page) or "{{7*7}}" in html.unescape(page)
    assert any(EVIL in html.unescape(page) for page in seen)


def test_a_wrong_field_is_reported_beside_it_and_what_was_typed_stays(site: Site, stores: DeliverySettings) -> None:
    browser = site.browser()
    sent = {
        "loyalty": "convercus",
        "engagement": "braze",
        "version": "0",
        "engagement.api_endpoint": "https://rest.iad-01.braze.com.evil.test",
        "secrets.braze_api_key": KEY,
        "repeat_window": "120",
        "engagement.rules.max_objects": "75",
        "engagement.rules.identifier_type": "external_id",
        "engagement.rules.alias_label": "convercus_account_id",
        "engagement.rules.object_limit": "combined",
        "engagement.rules.revenue": "purchases",
        "loyalty.api.auth": "oauth",
        "loyalty.rules.opt_in_without_record": "subscribed",
        "attribute_writes": "changed",
    }

    answer = browser.post(f"{site.url}/admin/programs/demo/connection", data=sent, timeout=20)

    assert answer.status_code == 400
    beside = re.search(r'id="engagement.api_endpoint-wrong">([^<]+)', answer.text)
    assert beside
    assert "is not a host of braze" in beside[1]
    assert 'value="https://rest.iad-01.braze.com.evil.test"' in answer.text
    assert KEY not in answer.text
    assert repository.load(stores, ["demo"]) == {}


@pytest.mark.parametrize("typed", ["9" * 5000, "٣", "1e9", "-1", "²", "0x1"], ids=lambda typed: typed[:4])
@pytest.mark.parametrize("name", ["repeat_window", "engagement.rules.max_objects", "version"])
def test_a_number_that_is_none_is_a_wrong_field(site: Site, name: str, typed: str) -> None:
    sent = {"loyalty": "convercus", "engagement": "braze", "version": "0", name: typed}

    answer = site.browser().post(f"{site.url}/admin/programs/demo/connection", data=sent, timeout=20)

    assert answer.status_code == 400


def test_opt_in_channels_are_lines_and_the_default_ones_are_ticked(site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    browser, place = site.browser(), f"{site.url}/admin/programs/demo/connection"
    fields = {"loyalty": "convercus", "engagement": "braze", "repeat_window": "120", "attribute_writes": "changed"}
    rules = {"engagement.api_endpoint": "http://127.0.0.1:9", "engagement.rules.max_objects": "75"}
    chosen = {f"engagement.rules.{name}": text for name, text in CHOSEN.items()}
    typed = fields | rules | chosen | {"loyalty.api.auth": "oauth", "loyalty.rules.opt_in_without_record": "subscribed"}
    channels = {"loyalty.membership_optins": "News, weekly\r\n\r\n Post \r\n"}

    browser.post(place, data=typed | channels | {"version": "1", "loyalty.default_optins": []}, timeout=20)
    form = browser.get(place, timeout=20).text
    ticked = {"version": "2", "loyalty.default_optins": ["News, weekly"]}
    browser.post(place, data=typed | channels | ticked, timeout=20)

    loyalty = repository.load(stores, ["demo"])["demo"].connection.loyalty
    assert re.findall(r'type="checkbox" name="loyalty.default_optins" value="([^"]*)"', form) == [
        "News, weekly",
        "Post",
    ]
    assert isinstance(loyalty, ConvercusSettings)
    assert (loyalty.membership_optins, loyalty.default_optins) == (("News, weekly", "Post"), ("News, weekly",))


def test_the_later_of_two_savers_sees_a_conflict(site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    first, second = site.browser(), site.browser()
    form = first.get(f"{site.url}/admin/programs/demo/connection", timeout=20).text
    fields = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*?value="([^"]*)"', form))
    chosen = dict(re.findall(r'name="([^"]+)"[^>]*>\s*(?:<option>\w+</option>)*<option selected>(\w+)', form))
    lines = dict(re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>([^<]*)', form))
    sent = {name: html.unescape(text) for name, text in {**fields, **chosen, **lines}.items()}

    answers = [
        browser.post(f"{site.url}/admin/programs/demo/connection", data=sent | {"repeat_window": window}, timeout=20)
        for browser, window in ((first, "7"), (second, "9"))
    ]

    assert [answer.status_code for answer in answers] == [200, 409]
    assert 'value="9"' in answers[1].text
    assert repository.load(stores, ["demo"])["demo"].connection.repeat_window == 7


def test_a_form_that_is_saved_as_it_is_changes_nothing_but_the_version(site: Site, stores: DeliverySettings) -> None:
    browser = site.browser()
    for loyalty in forms.LOYALTY:
        for engagement in forms.ENGAGEMENT:
            name = f"{loyalty}-{engagement}"
            side = {"loyalty": {"platform": loyalty}, "engagement": {"platform": engagement}}
            made = site.call("PUT", f"/programs/{name}", {"version": 0, "connection": side}).json()
            form = browser.get(f"{site.url}/admin/programs/{name}/connection", timeout=20).text

            sent = {field.path: _shown(form, field) for field in forms.fields(loyalty, engagement)}
            hidden = {"loyalty": loyalty, "engagement": engagement, "version": "1"}
            answer = browser.post(f"{site.url}/admin/programs/{name}/connection", data=sent | hidden, timeout=20)

            assert answer.status_code == 200, name
            assert site.call("GET", f"/programs/{name}").json() == made | {"version": 2}


def _shown(form: str, field: Setting) -> str | list[str] | None:
    """Read what a field of a form shows."""
    if field.kind == "several":
        return re.findall(rf'name="{field.path}" value="([^"]*)" checked', form)
    place = form[form.index(f'id="{field.path}" name=') :]
    if field.kind == "choice":
        found = re.search(r"<option selected>([^<]*)", place[: place.index("</select>")])
    elif field.kind == "list":
        found = re.search(r">([^<]*)</textarea>", place)
    else:
        found = re.search(r'value="([^"]*)"', place[: place.index(">")])
    if field.kind == "flag":
        return "on" if "checked" in place[: place.index(">")] else None
    return html.unescape(found[1]) if found else ""


def test_records_of_unknown_programs_are_shown_to_an_operator_of_all(site: Site, stores: DeliverySettings) -> None:
    forward(queued(event(programId="stranger", eventId="lost")), stores, 30)
    place = f"{site.url}/admin/programs/-/records"

    shown = site.browser().get(place, timeout=20)
    site.issuer.person["cognito:groups"] = ["loyalty-bridge:demo"]
    hidden = site.browser().get(place, timeout=20)

    assert (shown.status_code, "programId" in shown.text) == (200, True)
    assert hidden.status_code == 404


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("activity", "Unattributed activity"),
        ("errors", "Unattributed errors"),
        ("audit", "Audit across programs"),
    ],
)
def test_what_belongs_to_no_program_is_shown_to_an_operator_of_all(site: Site, page: str, expected: str) -> None:
    place = f"{site.url}/admin/programs/-/{page}"

    shown = site.browser().get(place, timeout=20)
    site.issuer.person["cognito:groups"] = ["loyalty-bridge:demo"]
    hidden = site.browser().get(place, timeout=20)

    assert (shown.status_code, expected in shown.text) == (200, True)
    assert hidden.status_code == 404


def test_an_error_of_no_program_leads_to_its_details(site: Site, stores: DeliverySettings) -> None:
    loaded("forward_events")(queued(event(programId="stranger")), CONTEXT)
    browser = site.browser()
    listed = browser.get(f"{site.url}/admin/programs/-/errors", timeout=20)
    link = html.unescape(re.findall(r'href="([^"]+/error\?line=[^"]+)"', listed.text)[0])

    assert "forward_events" in browser.get(site.url + link, timeout=20).text


def test_who_deleted_a_program_is_shown_when_it_is_gone(site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    browser = site.browser()
    browser.post(f"{site.url}/admin/programs/demo/delete", {"confirm": "demo"}, timeout=20)

    of_deleted = browser.get(f"{site.url}/admin/programs/demo/audit", timeout=20)
    of_none = browser.get(f"{site.url}/admin/programs/demoo/audit", timeout=20)

    assert of_deleted.status_code == 200
    assert re.search(r"person-1.*delete_program", of_deleted.text, re.DOTALL)
    assert of_none.status_code == 404


@pytest.mark.parametrize(
    ("chosen", "status", "scopes"),
    [
        pytest.param({"scopes": ["", "lookups"]}, 201, ["lookups"], id="one"),
        pytest.param({"scopes": ["", "lookups", "actions", "events"]}, 201, ["lookups", "actions", "events"], id="all"),
        pytest.param({}, 201, ["lookups", "actions", "events"], id="a script that knows no scopes"),
        pytest.param({"scopes": [""]}, 400, None, id="none"),
        pytest.param({"scopes": ["", "everything"]}, 400, None, id="no scope"),
    ],
)
def test_a_key_is_made_for_the_calls_that_are_chosen(
    site: Site, stores: DeliverySettings, braze: Braze, chosen: dict[str, Any], status: int, scopes: Any
) -> None:
    connect(stores, braze.url)

    answer = site.browser().post(f"{site.url}/admin/programs/demo/keys", data={"name": "new", **chosen}, timeout=20)

    assert answer.status_code == status
    made = site.call("GET", "/programs/demo/keys").json()["keys"]
    assert [key["scopes"] for key in made] == ([scopes] if scopes else [])


# Templates.


def test_the_templates_for_braze_are_those_of_the_docs_with_this_programs_addresses(
    site: Site, stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)

    page = site.browser().get(f"{site.url}/admin/programs/demo/setup", timeout=20).text

    documented = (ROOT / "docs" / "braze.md").read_text()
    documented = documented.replace("<SERVICE_HOST>", "api.example.com").replace("<PROGRAM_ID>", "demo")
    of_braze = page.partition("Braze: webhooks")[2]
    headers, *blocks = [html.unescape(block) for block in re.findall(r"<pre[^>]*>(.*?)</pre>", of_braze, re.DOTALL)]
    assert headers == "X-Convercus-Key: <KEY>\nContent-Type: application/json"
    assert len(blocks) == 8
    for block in blocks:
        assert block in documented, block


def test_the_templates_for_moengage_are_those_of_the_docs_with_this_programs_addresses(
    site: Site, stores: DeliverySettings
) -> None:
    side = {"loyalty": {"platform": "punchh"}, "engagement": {"platform": "moengage"}}
    site.call("PUT", "/programs/diner", {"version": 0, "connection": side})

    page = site.browser().get(f"{site.url}/admin/programs/diner/setup", timeout=20).text

    documented = (ROOT / "docs" / "moengage.md").read_text()
    documented = documented.replace("<SERVICE_HOST>", "api.example.com").replace("<PROGRAM_ID>", "diner")
    of_moengage = page.partition("MoEngage: sign")[2]
    blocks = [html.unescape(block) for block in re.findall(r"<pre[^>]*>(.*?)</pre>", of_moengage, re.DOTALL)]
    blocks = [block for block in blocks if "X-Bridge-Key" not in block]
    assert len(blocks) == 4
    for block in blocks:
        assert block in documented, block


def test_a_campaigns_token_is_kept_by_the_campaigns_id(site: Site, stores: DeliverySettings) -> None:
    site.call("PUT", "/programs/diner", {"version": 0, "connection": {"loyalty": {"platform": "punchh"}}})
    browser = site.browser()
    place = f"{site.url}/admin/programs/diner/connection"
    form = browser.get(place, timeout=20).text
    sent = {field.path: _shown(form, field) for field in forms.fields("punchh", "braze")}
    sent |= {"loyalty": "punchh", "engagement": "braze", "version": "1", "coupon_campaign": "58293"}

    saved = browser.post(place, data=sent | {"coupon_token": "token-of-the-campaign"}, timeout=20)

    assert saved.status_code == 200
    assert "punchh_coupon_token_58293" in repository.load(stores, ["diner"])["diner"].secrets
    assert "58293" in browser.get(place, timeout=20).text
