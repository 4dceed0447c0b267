"""The templates of docs/moengage.md, rendered by Jinja as MoEngage does it, against the functions."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import jinja2
import pytest

from simulators.punchh import Punchh
from tests.support.http_events import Answer, Api
from tests.support.template import ROOT

PAGE = (ROOT / "docs" / "moengage.md").read_text()
ANN: dict[str, Any] = {
    "ID": "moe-1001",
    "Email (Standard)": "ann@example.com",
    "First Name": "Ånn",
    "Last Name": "O'Ash",
    "Last Known Pincode": 30201,
    "Birthday": "1999-01-31T00:00:00Z",
    "User Agent": "Mozilla/5.0 (Linux; Android 15)",
    "GAID": "38400000-8cf0-11bd-b23e-10b96e40000d",
}


def section(heading: str) -> str:
    found = PAGE.partition(f"\n### {heading}\n")[2]
    assert found, heading
    return re.split(r"\n##", found)[0]


def block(heading: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", section(heading), re.DOTALL)
    return str(found)


def filled(text: str, diner: Api) -> str:
    values = {"SERVICE_HOST": "bridge.example.com", "PROGRAM_ID": "diner", "KEY": diner.key, "CAMPAIGN_ID": "58293"}
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    assert not re.search(r"<[A-Z_]+>", text), text
    return text


def rendered(text: str, user: dict[str, Any], **names: Any) -> str:
    """Render as MoEngage does: what is missing and has no default keeps the message from being sent."""
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)
    return environment.from_string(text).render(UserAttribute=user, **names)


def sign_up(diner: Api, user: dict[str, Any]) -> Answer:
    """Make the connector campaign's request."""
    heading = "Sign members up"
    lines = rendered(filled(block(heading, "http"), diner), user).splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    assert {"X-Bridge-Key", "Content-Type"} < headers.keys()
    url = urlsplit(filled(block(heading, "text"), diner).strip())
    body = rendered(filled(block(heading, "jinja"), diner), user)
    return diner.send("POST", url.path, body.encode(), {name.lower(): value for name, value in headers.items()})


def shown(diner: Api, user: dict[str, Any]) -> str:
    """Render a message with the coupon block."""
    heading = "Show a coupon code"
    url = urlsplit(filled(block(heading, "text"), diner).strip())

    class ContentApi:
        def punchh_coupon(self, response: dict[str, dict[str, Any]]) -> Any:
            query = "&".join(f"{name}={value}" for name, value in response["params"].items())
            answer = diner.send("GET", url.path, headers={"x-bridge-key": diner.key}, query=query)
            return answer.body if answer.status == 200 else None

    return rendered(filled(block(heading, "jinja"), diner), user, ContentApi=ContentApi()).strip()


def test_the_connector_campaigns_request_signs_a_member_up(diner: Api, punchh: Punchh) -> None:
    answer = sign_up(diner, ANN)

    (created,) = punchh.business.users
    (request,) = punchh.requests
    assert (answer.status, answer.body) == (200, {"userId": str(created.user_id)})
    assert created.fields == {
        "email": "ann@example.com",
        "first_name": "Ånn",
        "last_name": "O'Ash",
        "terms_and_conditions": True,
        "zip_code": "30201",
        "birthday": "1999-01-31",
        "external_source": "customer_id",
        "external_source_id": "moe-1001",
    }
    assert request.headers["user-agent"] == ANN["User Agent"]
    assert created.device_id == ANN["GAID"]


OPTIONAL = {"Last Known Pincode": "zip_code", "Birthday": "birthday", "User Agent": "", "GAID": ""}


@pytest.mark.parametrize("absent", [*([name] for name in OPTIONAL), list(OPTIONAL)], ids=", ".join)
def test_a_profile_without_it_is_signed_up_all_the_same(diner: Api, punchh: Punchh, absent: list[str]) -> None:
    answer = sign_up(diner, {name: value for name, value in ANN.items() if name not in absent})

    (created,) = punchh.business.users
    assert answer.status == 200
    assert created.fields.keys().isdisjoint(OPTIONAL[name] for name in absent)
    assert created.device_id


@pytest.mark.parametrize("absent", ["ID", "Email (Standard)", "First Name", "Last Name"])
def test_for_a_profile_that_lacks_what_is_needed_nothing_is_sent(diner: Api, punchh: Punchh, absent: str) -> None:
    with pytest.raises((jinja2.UndefinedError, TypeError)):
        sign_up(diner, {name: value for name, value in ANN.items() if name != absent})

    assert punchh.requests == []


@pytest.mark.parametrize(
    ("blank", "field"),
    [
        ("ID", "user.external_source_id"),
        ("Email (Standard)", "user.email"),
        ("First Name", "user.first_name"),
        ("Last Name", "user.last_name"),
    ],
)
def test_a_profile_that_cannot_be_signed_up_without_it_is_refused(
    diner: Api, punchh: Punchh, blank: str, field: str
) -> None:
    answer = sign_up(diner, ANN | {blank: ""})

    assert (answer.status, answer.body["field"]) == (400, field)
    assert punchh.requests == []


def test_a_quote_in_a_name_stays_in_the_name(diner: Api, punchh: Punchh) -> None:
    name = 'Ann","email":"victim@example.com'

    answer = sign_up(diner, ANN | {"First Name": name})

    (created,) = punchh.business.users
    assert answer.status == 200
    assert (created.email, created.fields["first_name"]) == ("ann@example.com", name)


def test_the_coupon_block_shows_the_members_code(diner: Api, punchh: Punchh) -> None:
    sign_up(diner, ANN)

    first, second = shown(diner, ANN), shown(diner, ANN)

    (coupon,) = punchh.business.coupons
    assert first == second == f"<p>Your code: <strong>{coupon.code}</strong></p>"


@pytest.mark.parametrize("user", [ANN, {"ID": ""}, {"ID": "None"}, {}], ids=["unknown", "blank", "None", "no id"])
def test_the_coupon_block_is_left_out_without_a_code(diner: Api, user: dict[str, Any]) -> None:
    assert shown(diner, user) == ""


def test_the_coupon_block_is_left_out_without_an_answer(diner: Api, punchh: Punchh) -> None:
    sign_up(diner, ANN)
    diner.key = "cvc_no"

    assert shown(diner, ANN) == ""


def test_the_documented_connection_is_one(diner: Api) -> None:
    page = (ROOT / "docs" / "punchh.md").read_text()
    documents = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]

    (document,) = [it for it in documents if "punchh_client_secret" in it.get("secrets", {})]
    diner.change(loyalty=document["loyalty"])
