"""Whatever a user's profile or an event holds, a template makes the request that it says, or one that is refused."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jinja2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.operations.setup_guide import setup_guide
from loyalty_bridge.platforms import parsing
from loyalty_bridge.programs.connection import Connection, Program, merge
from loyalty_bridge.settings import OperatorSettings
from tests.support.braze_liquid import Braze
from tests.support.template import ROOT

PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("braze", "moengage")}
FILTERS = ("json_escape", "url_param_escape", "escape", "tojson", "e", 'replace("\\n", " ")')
"""With one of them each value ends."""
HOSTILE = (
    'Ann","email":"victim@example.com',
    '","points":"100000000',
    '"}',
    "\\",
    '\\","account_id":"A2',
    "{{custom_attribute.${x}}}",
    "A1/bookings",
    "../A2",
    "A1?lang=en",
    "A1&account_id=A2",
    "A1#",
    "A1%2F..%2FA2",
    "A 1+",
    "\r\nX-Bridge-Key: x",
    "\u2028\u0000",
    "ä\U0001f600",
)
values = st.sampled_from(HOSTILE) | st.text(max_size=300) | st.sampled_from(HOSTILE).map(lambda text: f"{text}{text}")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def rendered(source: str, user: str, title: str, points: str, order: str, *, weak: bool = False) -> str:
    """Render as Braze does; `weak`: its ``json_escape`` escapes quotation marks and backslashes only."""
    braze = Braze(lambda *_: None)
    if weak:
        braze.add_filter("json_escape", lambda value: str(value).replace("\\", "\\\\").replace('"', '\\"'))
    personal = {
        "profile": {"user_id": user, "language": title},
        "campaign": {"api_id": order, "dispatch_id": title},
        "event_properties": {"title": title, "points": points, "order_id": order},
    }
    return braze.message(source, personal)


def raw(source: str) -> str:
    """Take the escapes away: what is left says which values the request has to have."""
    return re.sub(r" \| (json_escape|url_param_escape)", "", source)


BODIES = [block for block in blocks("braze", "json") if "{{" in block]
URLS = re.findall(r"https://<SERVICE_HOST>\S*?(?: \| url_param_escape\}\}\S*)+", PAGES["braze"])


@pytest.mark.parametrize("weak", [False, True], ids=["escapes all", "escapes quotation marks"])
@pytest.mark.parametrize("body", BODIES)
@given(user=values, title=values, points=values, order=values)
def test_a_body_for_braze_has_exactly_these_values_or_is_refused(
    weak: bool, body: str, user: str, title: str, points: str, order: str
) -> None:
    expected = {
        name: rendered(raw(text), user, title, points, order) if isinstance(text, str) else text
        for name, text in json.loads(body).items()
    }

    try:
        made = parsing.parse_json(rendered(body, user, title, points, order, weak=weak).encode(), unique_keys=True)
    except Invalid:
        return

    assert made == expected


@pytest.mark.parametrize("url", sorted(set(URLS)))
@given(user=values, title=values)
def test_a_url_for_braze_has_exactly_these_values(url: str, user: str, title: str) -> None:
    path, _, query = raw(url).partition("?")

    made = urlsplit(rendered(url, user, title, "1", "O-1"))

    segments = [rendered(part, user, title, "1", "O-1") for part in path.split("/")[3:]]
    assert [unquote(part) for part in made.path.split("/")[1:]] == segments
    pairs = [part.partition("=") for part in query.split("&") if part]
    expected = [(name, rendered(value, user, title, "1", "O-1")) for name, _, value in pairs]
    assert parse_qsl(made.query, keep_blank_values=True) == expected
    assert not made.fragment


def test_there_are_bodies_and_urls_to_render() -> None:
    assert (len(BODIES), len(set(URLS))) == (4, 3)


(SIGN_UP,) = [block for block in blocks("moengage", "jinja") if '"user"' in block]
(SIGN_UP_HEADERS,) = blocks("moengage", "http")
FIELDS = dict(re.findall(r"\"(\w+)\": \{\{UserAttribute\['(.*?)'\]", SIGN_UP))
whatever = values | st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.lists(st.text(), max_size=2)


@given(user=st.fixed_dictionaries(dict.fromkeys(FIELDS.values(), whatever)))
@example(user=dict.fromkeys(FIELDS.values(), HOSTILE[0]))
def test_a_signup_for_moengage_has_exactly_these_values_or_is_refused(user: dict[str, Any]) -> None:
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)

    try:
        made: Any = parsing.parse_json(
            environment.from_string(SIGN_UP).render(UserAttribute=user).encode(), unique_keys=True
        )
    except Invalid:
        return

    values = {name: user[attribute] for name, attribute in FIELDS.items()}
    assert made == {"user": values | {"terms_and_conditions": "true", "external_source": "customer_id"}}


@given(agent=values, device=values)
def test_the_headers_for_moengage_stay_the_same_lines(agent: str, device: str) -> None:
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)

    made = environment.from_string(SIGN_UP_HEADERS).render(UserAttribute={"User Agent": agent, "GAID": device})

    names = [line.partition(":")[0] for line in re.split("[\r\n]+", made.strip("\r\n"))]
    assert names == ["X-Bridge-Key", "Content-Type", "User-Agent", "punchh-app-device-id"]


(COUPON,) = [block for block in blocks("moengage", "jinja") if "ContentApi" in block]


@given(user=values)
@example(user="A1&campaign=other")
@example(user="ann+1@example.com")
def test_a_coupon_lookup_for_moengage_asks_for_exactly_this_member_and_campaign(user: str) -> None:
    asked: list[dict[str, str]] = []

    class ContentApi:
        def punchh_coupon(self, response: dict[str, dict[str, str]]) -> None:
            asked.append(response["params"])

    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)
    environment.from_string(COUPON).render(UserAttribute={"ID": user}, ContentApi=ContentApi())

    [parameters] = asked
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    assert parse_qsl(query, keep_blank_values=True) == [("member", user), ("campaign", "<CAMPAIGN_ID>")]


@pytest.mark.parametrize("page", PAGES)
def test_every_value_of_a_template_is_escaped(page: str) -> None:
    code = "\n".join(
        re.findall(r"^```(?:text|json|liquid|jinja|http)\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)
    )
    found = re.findall(r"\{\{(.*?)\}\}(?!\})", code)

    assert len(found) > 5
    assert [value for value in found if re.split(r"\|(?![^(]*\))", value)[-1].strip() not in FILTERS] == []


@pytest.mark.parametrize(
    ("identifier", "member"),
    [("external_id", "{{${user_id} | "), ("user_alias", "{{custom_attribute.${convercus_account_id} | ")],
)
def test_the_page_names_the_member_by_what_a_device_cannot_write_where_it_can(identifier: str, member: str) -> None:
    connection = merge(Connection(), {"engagement": {"rules": {"identifier_type": identifier}}})
    names: dict[str, Any] = dict.fromkeys(OperatorSettings.__dataclass_fields__, "")
    settings = OperatorSettings(**names)

    texts = "\n".join(text for one in setup_guide(settings, Program("demo", connection)) for _, text in one.texts)

    assert texts.count(member) == 5
    assert texts.count("user_id") + texts.count("convercus_account_id") == 5
