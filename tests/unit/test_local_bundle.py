"""What the local run does with what a person adds to it."""

from __future__ import annotations

import json
from unittest.mock import Mock

import boto3
import pytest
from moto import mock_aws

from local.bundle import Deployed


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Deployed:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return Deployed({}, Mock(), Mock(), Mock(), Mock(), "", "", {}, {})


@pytest.mark.parametrize("program", ["demo-queue", "mine"])
def test_events_of_a_program_of_a_persons_own_go_to_the_queue(deployed: Deployed, program: str) -> None:
    with mock_aws():
        sqs = boto3.client("sqs")
        queue = sqs.create_queue(
            QueueName="events.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        )["QueueUrl"]
        deployed.outputs["EventsQueueUrl"] = queue

        deployed.put(program, [(json.dumps({"programId": program}), f"{program}#A1")])

        messages = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert [json.loads(message["Body"]) for message in messages] == [{"programId": program}]
