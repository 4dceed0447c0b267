"""Which hosts get a program's key and its members' data."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.programs.endpoint_policy import validate_endpoint

US_01 = "https://rest.iad-01.braze.com"


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        (US_01, US_01),
        (f"{US_01}/", US_01),
        (f"  {US_01}\n", US_01),
        ("HTTPS://REST.IAD-01.BRAZE.COM", US_01),
        (f"{US_01}:443", US_01),
        (f"{US_01}:443/", US_01),
        ("https://rest.us-10.braze.com", "https://rest.us-10.braze.com"),
        ("https://rest.fra-02.braze.eu", "https://rest.fra-02.braze.eu"),
        ("https://rest.kr-01.braze.com", "https://rest.kr-01.braze.com"),
    ],
)
def test_a_host_of_braze_is_taken_in_its_plain_form(url: str, checked: str) -> None:
    assert validate_endpoint(url, "braze", "") == checked


@pytest.mark.parametrize(
    "url",
    [
        # Hosts that only look like one of Braze's.
        f"{US_01}.evil.test",
        "https://evil.test",
        "https://evil-rest.iad-01.braze.com",
        "https://rest.iad-01.braze.com.",
        "https://rest.iad-01.braze.co",
        "https://rest.iad-01.braze.community",
        "https://rest.iad-01.braze.de",
        "https://rest.iad-01-braze.com",
        "https://rest.iad-01.brazeXcom",
        "https://restXiad-01.braze.com",
        "https://rest.evil.test.iad-01.braze.com",
        "https://rest.iad-1.braze.com",
        "https://rest.iad-012.braze.com",
        "https://dashboard-01.braze.com",
        "https://iad-01.braze.com",
        "https://braze.com",
        "https://rest%2eiad-01.braze.com",
        "https://rest.iad-01.braze.com%00.evil.test",
        "https://rest.iad-01.braze.com;evil.test",
        "https://rest.iad-01.braze.com,evil.test",
        "https://rest.iad-01.braze.com\n.evil.test",
        "https://rest.iad-01.braze.com .evil.test",
        "https://rest.іad-01.braze.com",  # a Cyrillic letter
        "https://rest.iad-0１.braze.com",
        "https://rest。iad-01。braze。com",
        # User info.
        f"{US_01}@evil.test",
        "https://rest.iad-01.braze.com:443@evil.test",
        "https://user@rest.iad-01.braze.com",
        "https://user:password@rest.iad-01.braze.com",
        "https://:@rest.iad-01.braze.com",
        "https://@rest.iad-01.braze.com",
        "https://evil.test\\@rest.iad-01.braze.com",
        # Paths and what may redirect.
        f"{US_01}/users/track",
        f"{US_01}//",
        f"{US_01}/..",
        f"{US_01}/;x",
        f"{US_01}\\.evil.test",
        f"{US_01}?next=https://evil.test",
        f"{US_01}/?next=//evil.test",
        f"{US_01}#@evil.test",
        f"https://evil.test/?{US_01}",
        f"https://evil.test#{US_01}",
        f"https://evil.test/{US_01}",
        # Ports and schemes.
        f"{US_01}:8443",
        f"{US_01}:80",
        f"{US_01}:0",
        f"{US_01}:99999",
        f"{US_01}:x",
        "http://rest.iad-01.braze.com",
        "http://rest.iad-01.braze.com:443",
        "ftp://rest.iad-01.braze.com",
        "file://rest.iad-01.braze.com",
        "rest.iad-01.braze.com",
        "//rest.iad-01.braze.com",
        "https:rest.iad-01.braze.com",
        "https:/rest.iad-01.braze.com",
        "javascript:alert(1)",
        "",
        "https://",
        # Addresses.
        "https://10.0.0.1",
        "https://127.0.0.1",
        "http://127.0.0.1",
        "https://localhost",
        "https://169.254.169.254",
        "https://2130706433",
        "https://0x7f.1",
        "https://[::1]",
        "https://[::ffff:169.254.169.254]",
        "https://[::1",
        "https://[rest.iad-01.braze.com]",
    ],
)
def test_any_other_address_is_refused_under_the_name_of_its_field(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        validate_endpoint(url, "braze", "", "engagement.api_endpoint")

    assert refused.value.field == "engagement.api_endpoint"
    assert "evil" not in refused.value.reason
    assert "password@" not in refused.value.reason


PIECES = [
    *(
        "rest.iad-01.braze.com",
        "evil.test",
        "127.0.0.1",
        "rest",
        "iad-01",
        "braze.com",
        "https://",
        "http://",
        "https:",
    ),
    *(
        ".",
        "@",
        "/",
        "//",
        "\\",
        ":",
        ":443",
        "443",
        "#",
        "?",
        ";",
        "%2e",
        "%40",
        "[",
        "]",
        "\t",
        "\n",
        " ",
        "\x00",
        "。",
    ),
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=6))
def test_whatever_is_put_together_is_refused_or_one_of_brazes_hosts(pieces: list[str]) -> None:
    checked = ""

    with suppress(Invalid):
        checked = validate_endpoint("https://" + "".join(pieces), "braze", "")

    assert checked in {"", US_01}


@pytest.mark.parametrize(
    ("platform", "url", "fits"),
    [
        ("moengage", "https://api-01.moengage.com", True),
        ("moengage", "https://api-101.moengage.com", True),
        ("moengage", "https://api-07.moengage.com", False),
        ("moengage", US_01, False),
        ("braze", "https://api-01.moengage.com", False),
        ("convercus", "https://api.convercus.io", True),
        ("convercus", "https://convercus.io.evil.test", False),
        ("punchh", "https://sandbox.punchh.com", True),
        ("punchh", "https://punchh.com.evil.test", False),
        ("punchh", "https://evilpunchh.com", False),
    ],
)
def test_each_platform_has_hosts_of_its_own(platform: str, url: str, fits: bool) -> None:
    if fits:
        assert validate_endpoint(url, platform, "") == url
    else:
        with pytest.raises(Invalid):
            validate_endpoint(url, platform, "")


@pytest.mark.parametrize(
    ("url", "allowed", "checked"),
    [
        ("https://braze.proxy.test", "braze.proxy.test", "https://braze.proxy.test"),
        ("https://BRAZE.proxy.test/", " other.test , Braze.Proxy.Test ,", "https://braze.proxy.test"),
        ("https://braze.proxy.test:8443", "braze.proxy.test", "https://braze.proxy.test:8443"),
        ("https://braze.proxy.test:8443", "braze.proxy.test:8443", "https://braze.proxy.test:8443"),
        ("http://127.0.0.1:4000", "127.0.0.1", "http://127.0.0.1:4000"),
        ("http://127.0.0.1:4000", "127.0.0.1:4000", "http://127.0.0.1:4000"),
        ("http://localhost:4000", "localhost", "http://localhost:4000"),
        (US_01, "braze.proxy.test", US_01),
        pytest.param("http://[::1]:4000", "::1", "http://[::1]:4000"),
    ],
)
def test_a_host_that_the_operator_has_allowed_is_taken(url: str, allowed: str, checked: str) -> None:
    assert validate_endpoint(url, "braze", allowed) == checked


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://braze.proxy.test", "braze.proxy.test"),  # in the clear, over a network
        ("https://braze.proxy.test:8444", "braze.proxy.test:8443"),
        ("https://braze.proxy.test", "braze.proxy.test:8443"),
        ("https://sub.braze.proxy.test", "braze.proxy.test"),
        ("https://braze.proxy.test.evil.test", "braze.proxy.test"),
        ("https://braze.proxy.test/path", "braze.proxy.test"),
        ("https://user@braze.proxy.test", "braze.proxy.test"),
        ("http://128.0.0.1", "128.0.0.1"),
        ("https://evil.test", "*"),
        ("https://evil.test", ".test"),
        ("https://", ",,"),
    ],
)
def test_an_allowance_is_for_exactly_that_host(url: str, allowed: str) -> None:
    with pytest.raises(Invalid):
        validate_endpoint(url, "braze", allowed)
