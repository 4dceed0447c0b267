"""What the gateway answers itself is what each sender repeats, and the routes are those that the setup guide names."""

from __future__ import annotations

import pytest

from tests.support.template import resources

APIS = resources("AWS::Serverless::Api")
FUNCTIONS = resources("AWS::Serverless::Function")

ANSWERED = (
    "API_CONFIGURATION_ERROR",
    "AUTHORIZER_CONFIGURATION_ERROR",
    "AUTHORIZER_FAILURE",
    "DEFAULT_5XX",
    "INTEGRATION_FAILURE",
    "INTEGRATION_TIMEOUT",
    "THROTTLED",
)


@pytest.mark.parametrize(
    ("api", "status"),
    [
        ("PunchhApi", 503),  # repeated for almost four hours, a 429 for four minutes
        ("LoyaltyWebhookApi", 429),  # the only failure after which an event is not discarded
    ],
)
def test_a_failing_function_and_a_throttled_call_are_answered_so_that_the_sender_repeats(api: str, status: int) -> None:
    answers = APIS[api]["Properties"]["GatewayResponses"]

    assert answers == {kind: {"StatusCode": status} for kind in ANSWERED}


@pytest.mark.parametrize(
    ("function", "api", "routes"),
    [
        (
            "PunchhWebhook",
            "PunchhApi",
            {("POST", "/v1/programs/{programId}/webhooks/punchh"), ("GET", "/v1/programs/{programId}/webhooks/punchh")},
        ),
        (
            "LoyaltyWebhook",
            "LoyaltyWebhookApi",
            {
                ("POST", "/v1/programs/{programId}/webhooks/loyalty"),
                ("POST", "/v1/programs/{programId}/webhooks/loyalty/{eventName}"),
            },
        ),
    ],
)
def test_a_webhook_has_its_routes_in_its_own_api(function: str, api: str, routes: set[tuple[str, str]]) -> None:
    events = [event["Properties"] for event in FUNCTIONS[function]["Properties"]["Events"].values()]

    assert {(event["Method"], event["Path"]) for event in events} == routes
    assert {event["RestApiId"]["Ref"] for event in events} == {api}


@pytest.mark.parametrize(
    ("function", "seconds"),
    [
        ("PunchhWebhook", 15),  # Punchh gives up then, and repeats that for four minutes only
        ("LoyaltyWebhook", 29),  # the gateway gives up then
    ],
)
def test_a_webhook_ends_before_its_caller_gives_up(function: str, seconds: int) -> None:
    assert FUNCTIONS[function]["Properties"]["Timeout"] < seconds
