"""The page on costs: AWS list prices times measured units.

The units are those of `make bench`; where AWS decides (how long an exchange over the internet takes), the assumption is
named on the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from local.stack import ROOT


class Price(NamedTuple):
    """A list price of AWS in us-east-1, without free tiers.

    Attributes
    ----------
    dollars
        Of one unit.
    unit
        What it is a price of.
    source
        Page of the price list.
    """

    dollars: float
    unit: str
    source: str


MILLION = 1e6
PRICES: Mapping[str, Price] = {
    "lambda_gb_seconds": Price(1.33334e-05, "GB-second of Lambda (arm64)", "lambda/pricing/"),
    "lambda_requests": Price(0.20 / MILLION, "invocation", "lambda/pricing/"),
    "reads": Price(0.125 / MILLION, "read unit of DynamoDB on demand", "dynamodb/pricing/on-demand/"),
    "writes": Price(0.625 / MILLION, "write unit of DynamoDB on demand", "dynamodb/pricing/on-demand/"),
    "sqs_requests": Price(0.50 / MILLION, "request to an SQS FIFO queue", "sqs/pricing/"),
    "kinesis_gb_in": Price(0.08, "GB put on an on-demand stream", "kinesis/data-streams/pricing/"),
    "kinesis_gb_out": Price(0.04, "GB read from it", "kinesis/data-streams/pricing/"),
    "kinesis_hours": Price(0.04, "hour of an on-demand stream", "kinesis/data-streams/pricing/"),
    "http_api": Price(1.00 / MILLION, "call of an HTTP API", "api-gateway/pricing/"),
    "rest_api": Price(3.50 / MILLION, "call of a REST API (webhooks)", "api-gateway/pricing/"),
    "log_gb": Price(0.50, "GB of logs", "cloudwatch/pricing/"),
    "gb_out": Price(0.09, "GB sent to the internet", "ec2/pricing/on-demand/"),
    "alarm_metrics": Price(0.10, "metric of an alarm, a month", "cloudwatch/pricing/"),
    "metrics": Price(0.30, "custom metric, a month in which it is published", "cloudwatch/pricing/"),
    "kms_keys": Price(1.00, "KMS key, a month", "kms/pricing/"),
}

# Per event, call or month. Memory in GB times seconds; a batch of the queue has ten events, of the stream a thousand.
EVENT_BYTES, LOG_BYTES, BODY_BYTES = 1_000, 500, 700
GB = 1e9
USES: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "queue": (
        "events by the queue, in batches of ten that take 0.5 s at 1 GB",
        {
            "lambda_gb_seconds": 0.5 / 10,
            "lambda_requests": 1 / 10,
            "reads": 2.0,
            "writes": 2.0,
            "sqs_requests": 1 + 2 / 10,
            "log_gb": LOG_BYTES / 10 / GB,
            "gb_out": BODY_BYTES / GB,
        },
    ),
    "stream": (
        "events by the stream, in batches of a thousand that take 5 s at 1 GB",
        {
            "lambda_gb_seconds": 5 / 1000,
            "lambda_requests": 1 / 1000,
            "reads": 1.8,
            "writes": 1.8,
            "kinesis_gb_in": EVENT_BYTES / GB,
            "kinesis_gb_out": EVENT_BYTES / GB,
            "log_gb": LOG_BYTES / 1000 / GB,
            "gb_out": BODY_BYTES / GB,
        },
    ),
    "lookups": (
        "lookups that take 0.2 s at 1 GB, most of it the loyalty platform's answer",
        {
            "lambda_gb_seconds": 0.2,
            "lambda_requests": 1,
            "reads": 1.2,
            "http_api": 1,
            "log_gb": LOG_BYTES / GB,
            "gb_out": BODY_BYTES / GB,
        },
    ),
    "actions": (
        "actions that take 0.6 s at 0.5 GB",
        {
            "lambda_gb_seconds": 0.3,
            "lambda_requests": 1,
            "reads": 3.0,
            "writes": 6.0,
            "http_api": 1,
            "log_gb": LOG_BYTES / GB,
            "gb_out": BODY_BYTES / GB,
        },
    ),
    "webhooks": (
        "webhook deliveries that take 0.1 s at 0.5 GB, beside their event on the queue",
        {
            "lambda_gb_seconds": 0.05,
            "lambda_requests": 1,
            "reads": 2.0,
            "writes": 1.0,
            "rest_api": 1,
            "log_gb": LOG_BYTES / GB,
        },
    ),
}
"""What a million of each uses, with its assumption."""

SIZES: Mapping[str, Mapping[str, float]] = {
    "20,000 members": {"queue": 0.1, "lookups": 0.1, "actions": 0.02},
    "500,000 members": {"queue": 3, "lookups": 2, "actions": 0.3},
    "5,000,000 members": {"stream": 40, "lookups": 20, "actions": 3},
}
"""Millions a month of each use."""
POLLS_PER_MONTH = 5 * 3 * 60 * 730
"""Receive requests of Lambda on an idle queue: five pollers that wait for twenty seconds each."""


METRICS = 40
"""Custom metrics that a stack in use publishes, besides those of AWS."""


def idle(transport: str) -> dict[str, float]:
    """List what a stack uses in a month without an event: alarms, the key, the schedule, and polling or the stream."""
    template = (ROOT / "template.yaml").read_text()
    minutes = 60 * 730
    used: dict[str, float] = {
        "alarm_metrics": template.count("MetricName:"),
        "kms_keys": template.count("Type: AWS::KMS::Key\n"),
        "lambda_requests": minutes,
        "lambda_gb_seconds": minutes * 0.5 * 0.3,
        "reads": minutes * 2,
    }
    return used | ({"sqs_requests": POLLS_PER_MONTH} if transport == "queue" else {"kinesis_hours": 730})


def dollars(used: Mapping[str, float]) -> float:
    """Price what is used."""
    return sum(PRICES[name].dollars * amount for name, amount in used.items())


def page() -> str:
    """Write docs/costs.md."""
    return "\n".join([_BEGIN, *_prices(), _PER_MILLION, *_uses(), _IDLE, *_idle(), _SIZES, *_sizes(), _end()]) + "\n"


def _prices() -> Iterator[str]:
    for name, (each, unit, source) in PRICES.items():
        link = f"[{source.rstrip('/')}](https://aws.amazon.com/{source})"
        yield f"| `{name}` | {unit} | ${f'{each:.10f}'.rstrip('0').rstrip('.')} | {link} |"


def _uses() -> Iterator[str]:
    for name, (assumption, used) in USES.items():
        yield f"\n### {name.capitalize()}: ${MILLION * dollars(used):.2f} per million\n\nA million {assumption}.\n"
        yield from _arithmetic({unit: MILLION * amount for unit, amount in used.items()})


def _idle() -> Iterator[str]:
    for transport in ("queue", "stream"):
        used = idle(transport)
        yield f"\n### With the {transport}: ${dollars(used):.2f} a month\n"
        yield from _arithmetic(used)


def _arithmetic(used: Mapping[str, float]) -> Iterator[str]:
    yield "| Price | Amount | Dollars |"
    yield "|---|---|---|"
    for name, amount in used.items():
        yield f"| `{name}` | {amount:,.10g} | {PRICES[name].dollars * amount:.2f} |"


def _sizes() -> Iterator[str]:
    for size, millions in SIZES.items():
        parts = {name: amount * MILLION * dollars(USES[name][1]) for name, amount in millions.items()}
        fixed = dollars(idle("stream" if "stream" in millions else "queue")) + METRICS * PRICES["metrics"].dollars
        sums = ", ".join(f"{millions[name]:g} M {name} ${one:,.2f}" for name, one in parts.items())
        yield f"| {size} | {sums} | ${fixed:.2f} | **${sum(parts.values()) + fixed:,.0f}** |"


def _end() -> str:
    saved = MILLION * (dollars(USES["queue"][1]) - dollars(USES["stream"][1]))
    return _END.format(millions=(dollars(idle("stream")) - dollars(idle("queue"))) / saved)


_BEGIN = """# Costs

What a deployment costs at AWS, from list prices and measured units. `make docs` writes this page from
`scripts/costs.py`: change a price or an assumption there for your region and traffic.

Prices are those of us-east-1, without free tiers, discounts or taxes. What your engagement platform charges is another
matter: see `attribute_writes` for Braze's data points.

## Prices

| Name | Unit | Dollars | Source |
|---|---|---|---|"""
_PER_MILLION = """
## Per million

Read and write units of events are those that `make bench` measured with version 0.1.0. Durations depend on how fast the
platforms answer; Lambda bills the wait, so a platform that takes twice as long doubles `lambda_gb_seconds`."""
_IDLE = """
## Idle

What a stack costs without a single event. `Alarms=false` saves the alarms."""
_SIZES = f"""
## Three sizes

Fixed: what an idle stack costs, and {METRICS} custom metrics.

| Members | A month | Fixed | Together |
|---|---|---|---|"""
_END = """
## What costs more than it has to

- **A queue at volume.** Batches of ten share little. From some {millions:.0f} million events a month,
  the stream is cheaper, although it costs by the hour. It also needs fewer requests to the engagement platform.
- **`attribute_writes: all`** sends unchanged attributes: more bytes, and a data point of Braze for each.
- **`LogLevel=DEBUG`** and long `LogRetentionDays`.
- **A NAT gateway**, if you put the functions into a VPC: about $33 a month for each, and $0.045 for each GB.
- **Provisioned concurrency** is billed while it is idle."""
