"""Runs the bundle in a local AWS beside simulated platforms, with connected demo programs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local import stack
from local.page import PASSWORD, USER, page
from local.routes import create_routes
from simulators.braze import Braze
from simulators.braze import simulate as simulate_braze
from simulators.brevo import simulate as simulate_brevo
from simulators.convercus import Convercus
from simulators.convercus import simulate as simulate_convercus
from simulators.moengage import MoEngage
from simulators.moengage import simulate as simulate_moengage
from simulators.punchh import Punchh
from simulators.punchh import simulate as simulate_punchh
from simulators.punchh_business import Campaign

PROGRAMS = {"demo-queue": "sqs", "demo-stream": "kinesis"}
REVENUE = {"demo-queue": "purchases", "demo-stream": "both"}
"""How each demo program reports transactions to Braze."""
SECRET = "demo-client-secret"
EVENTS_KEY = "cvc_for-the-events-of-this-folder-and-the-local"
"""The API key in the events of the HTTP API below `events/`: it is public, so only the local run accepts it."""
CHANNELS = ("Newsletter", "Post")
CAMPAIGN = "58293"
PUNCHH_SECRETS = {
    "punchh_client_secret": "secret",
    "punchh_admin_key": "admin-key",
    f"punchh_coupon_token_{CAMPAIGN}": "token-of-the-campaign",
}
WEBHOOKS = {
    "demo-punchh": ({"platform": "punchh", "webhook_auth": "basic"}, "bridge:webhook-password"),
    "demo-punchh-bearer": ({"platform": "punchh", "webhook_auth": "bearer"}, "webhook-token"),
    "demo-punchh-hmac": ({"platform": "punchh", "webhook_auth": "hmac"}, "webhook-key"),
    "demo-loyalty": ({"platform": "brevo", "webhook_auth": "basic"}, "bridge:webhook-password"),
    "demo-loyalty-bearer": ({"platform": "brevo", "webhook_auth": "bearer"}, "webhook-token"),
    "demo-loyalty-header": ({"platform": "brevo", "webhook_auth": "header"}, "webhook-key"),
}
"""The programs of the events below `events/punchh_webhook` and `events/loyalty_webhook`, with their credentials."""
MOENGAGE = {"brevo": "brevo-to-moengage", "punchh": "punchh-to-moengage"}
"""The programs that forward webhooks to MoEngage, by loyalty platform."""
CREDENTIAL = "loyalty:demo-password"
LOOKUPS = {
    "demo-queue": ("members/none/profile", "members/none/coupons"),
    MOENGAGE["punchh"]: ("members/none/coupon-code",),
}
_TRIES = 5


def say(text: str = "") -> None:
    """Print a line without buffering."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Deployed:
    """The running bundle.

    Attributes
    ----------
    api
        Where the engagement platforms call.
    webhooks
        The webhook of each program of `MOENGAGE`, by its loyalty platform.
    page
        Address of the operator's page.
    keys
        An API key of each demo program.
    """

    outputs: dict[str, str]
    braze: Braze
    convercus: Convercus
    punchh: Punchh
    moengage: MoEngage
    api: str
    page: str
    webhooks: dict[str, str]
    keys: dict[str, str]

    def put(self, program: str, records: list[tuple[str, str]]) -> None:
        """Put records, each with its ordered group, on the program's queue or stream, as a loyalty platform does.

        A program of a person's own has the queue.
        """
        import boto3

        if PROGRAMS.get(program, "sqs") == "sqs":
            for start in range(0, len(records), 10):
                boto3.client("sqs").send_message_batch(
                    QueueUrl=self.outputs["EventsQueueUrl"],
                    Entries=[
                        {"Id": str(number), "MessageBody": body, "MessageGroupId": group}
                        for number, (body, group) in enumerate(records[start : start + 10])
                    ],
                )
            return
        for start in range(0, len(records), 200):
            boto3.client("kinesis").put_records(
                StreamName=self.outputs["EventsStream"],
                Records=[
                    {"Data": body.encode(), "PartitionKey": group} for body, group in records[start : start + 200]
                ],
            )

    def workspace(self, program: str) -> Any:
        """Return the Braze workspace of a program."""
        return self.braze.workspace(f"demo-key-of-{program}")


@contextmanager
def deployed(containers: str = "") -> Iterator[Deployed]:
    """Build, start the local AWS and the simulators, deploy, connect the programs; stop everything at the end.

    Parameters
    ----------
    containers
        Where containers reach this machine, when functions are to run in some: an address to listen on, or a name.
    """
    from loyalty_bridge.event_queue.envelope import group_of

    began = time.monotonic()
    running: list[Deployed] = []

    def on_event(event: Mapping[str, Any]) -> None:
        """Put an event of the simulated Convercus on the queue or stream, as its feed does."""
        group = group_of(event["programId"], event["accountId"])
        running[0].put(event["programId"], [(json.dumps(event), group)])

    with (
        ExitStack() as held,
        stack.alone(),
        stack.local_aws() as endpoint,
        simulate_braze() as braze,
        simulate_convercus(programs=PROGRAMS, client_secret=SECRET, on_event=on_event) as convercus,
        simulate_punchh() as punchh,
        simulate_moengage() as moengage,
        simulate_brevo() as brevo,
    ):
        say("building the bundle …")
        stack.build()
        if containers:
            stack.build_for_containers()
        os.environ |= stack.credentials(endpoint)
        say(f"deploying template.yaml into the local AWS at {endpoint} …")
        parameters = {
            "AllowedHosts": "127.0.0.1",
            "ForwarderConcurrency": "4",
            "Alarms": "false",
        }  # no metric math there
        outputs = stack.deploy(endpoint, Transport="both", **parameters)
        create_routes(stack.STACK, "Api")
        punchh.business.campaigns["token-of-the-campaign"] = Campaign(campaign_id=CAMPAIGN, repeat="new")
        address = held.enter_context(page(endpoint, outputs))
        bundle = Deployed(outputs, braze, convercus, punchh, moengage, outputs["ApiUrl"], address, {}, {})
        running.append(bundle)
        platform_urls = {
            "braze": braze.url,
            "moengage": moengage.url,
            "convercus": convercus.url,
            "punchh": punchh.url,
            "brevo": brevo.url,
        }
        stack.write_endpoints(
            {
                "aws": endpoint,
                "region": stack.REGION,
                "stack": stack.STACK,
                "api": bundle.api,
                "webhooks": {
                    "punchh": outputs["PunchhWebhookBaseUrl"],
                    "loyalty": outputs["LoyaltyWebhookBaseUrl"],
                },
                "page": address,
                "queue": outputs.get("EventsQueueUrl"),
                "stream": outputs.get("EventsStream"),
                "tables": {name: outputs[name] for name in outputs if name.endswith("Table")},
                "bucket": outputs["ParkedBucket"],
                **platform_urls,
                "programs": [*PROGRAMS, *MOENGAGE.values(), *WEBHOOKS],
            }
        )
        stack.write_env_vars([endpoint, *platform_urls.values()], containers)
        for program in PROGRAMS:
            _connect(bundle, program)
        _connect_webhooks(bundle)
        for platform in MOENGAGE:
            _connect_moengage(bundle, platform)
        brevo.target = {"url": bundle.webhooks["brevo"], "secret": CREDENTIAL}
        say("starting the functions …")
        _warm_up(bundle)
        say(f"operator's page: {address} (user {USER}, password {PASSWORD})")
        say(f"ready after {time.monotonic() - began:.0f} s")
        try:
            yield bundle
        finally:
            stack.ENDPOINTS.unlink(missing_ok=True)
            stack.ENV_VARS.unlink(missing_ok=True)


def _warm_up(bundle: Deployed) -> None:
    """Start the functions whose callers wait only seconds: a cold start here takes longer than that."""
    import requests

    for program, paths in LOOKUPS.items():
        headers = {"X-Bridge-Key": bundle.keys[program]}
        for path in paths:
            for _ in range(_TRIES):
                reply = requests.get(f"{bundle.api}/v1/programs/{program}/{path}", headers=headers, timeout=60)
                if reply.json().get("error") != "internal_error":
                    break
    punchh = MOENGAGE["punchh"]
    signup = f"{bundle.api}/v1/programs/{punchh}/members"
    requests.post(signup, json={}, headers={"X-Bridge-Key": bundle.keys[punchh]}, timeout=60)  # there is no user in it
    for url in bundle.webhooks.values():
        requests.post(url, timeout=60)  # without a credential it changes nothing


def _connect(bundle: Deployed, program: str) -> None:
    """Connect a program to its own workspace, as an operator does."""
    from loyalty_bridge.cli import stack as bridge_stack
    from loyalty_bridge.programs import api_keys, repository
    from loyalty_bridge.programs.connection import Connection, merge

    key = f"demo-key-of-{program}"
    bundle.braze.workspace(key)
    bridge_stack.use_local()
    bridge_stack.settings.cache_clear()
    settings = bridge_stack.settings()
    url = bundle.convercus.url
    api = {"base_url": url, "auth_url": url, "realm": program, "interaction_id": "demo"}
    connection = merge(
        Connection(),
        {
            "loyalty": {
                "membership_optins": CHANNELS,
                "default_optins": CHANNELS[:1],
                "rules": {"default_currency": "EUR"},
                "api": api,
            },
            "engagement": {"api_endpoint": bundle.braze.url, "rules": {"revenue": REVENUE[program]}},
        },
    )
    repository.save(settings, None, program, connection, {"braze_api_key": key, "convercus_client_secret": SECRET})
    bundle.keys[program], _ = api_keys.create(settings, program, "demo")
    _let_in(program)
    upstream = bundle.convercus.program(program)
    for account in ("C00001", "C00002", "C00003"):
        upstream.account(account, points=100)
    upstream.coupon("WELCOME")


def _let_in(program: str) -> None:
    """Accept the API key of the events below `events/`."""
    from loyalty_bridge.cli.stack import settings
    from loyalty_bridge.infra import aws
    from loyalty_bridge.programs import api_keys

    item = {"program": {"S": program}, "item": {"S": str(api_keys.item_of(EVENTS_KEY))}}
    about = {"name": {"S": "events"}, "created": {"N": str(int(time.time()))}}
    aws.dynamodb().put_item(TableName=settings().programs_table, Item={**item, **about})


def _connect_moengage(bundle: Deployed, platform: str) -> None:
    """Connect a program whose loyalty platform delivers by webhook to its own MoEngage workspace."""
    from loyalty_bridge.cli.stack import settings
    from loyalty_bridge.programs import api_keys, repository
    from loyalty_bridge.programs.connection import Connection, merge

    program, workspace = MOENGAGE[platform], platform.upper()
    bundle.moengage.workspace(workspace, key=f"key-of-{platform}")
    is_punchh = platform == "punchh"
    api = {"api": {"base_url": bundle.punchh.url, "client": "client"}} if is_punchh else {}
    engagement = {"platform": "moengage", "api_endpoint": bundle.moengage.url, "workspace_id": workspace}
    connection = merge(Connection(), {"loyalty": {"platform": platform, **api}, "engagement": engagement})
    secrets = {"moengage_data_key": f"key-of-{platform}", "webhook_credential": CREDENTIAL}
    repository.save(settings(), None, program, connection, secrets | (PUNCHH_SECRETS if is_punchh else {}))
    bundle.keys[program], _ = api_keys.create(settings(), program, "moengage")
    name = "punchh" if is_punchh else "loyalty"
    base = bundle.outputs["PunchhWebhookBaseUrl" if is_punchh else "LoyaltyWebhookBaseUrl"]
    bundle.webhooks[platform] = f"{base}/v1/programs/{program}/webhooks/{name}"


def _connect_webhooks(bundle: Deployed) -> None:
    """Connect programs whose loyalty platform delivers by webhook."""
    from loyalty_bridge.cli.stack import settings
    from loyalty_bridge.pipeline import identities
    from loyalty_bridge.pipeline.identities import AliasAssertion
    from loyalty_bridge.programs import repository
    from loyalty_bridge.programs.connection import Connection, merge

    bundle.braze.workspace("demo-key-of-webhooks")
    own: dict[str, dict[str, Any]] = {
        "brevo": {"rules": {"identify_by": ("ext_id", "loyalty_subscription_id", "card_id")}},
        "punchh": {"api": {"base_url": bundle.punchh.url, "client": "client"}},
    }
    for program, (side, credential) in WEBHOOKS.items():
        loyalty = side | own[side["platform"]]
        connection = merge(Connection(), {"loyalty": loyalty, "engagement": {"api_endpoint": bundle.braze.url}})
        secrets = {"braze_api_key": "demo-key-of-webhooks", "webhook_credential": credential}
        secrets |= PUNCHH_SECRETS if side["platform"] == "punchh" else {}
        repository.save(settings(), None, program, connection, secrets)
    _let_in("demo-punchh")
    guest = bundle.punchh.business.sign_up(email="ann.ash@example.com", first_name="Ann", last_name="Ash")
    taught = AliasAssertion("demo-punchh", f"user:{guest.user_id}", "c-0001", datetime.now(UTC), "member")
    identities.learn(settings(), [taught], time.monotonic() + 10)
