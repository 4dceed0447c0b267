"""The idempotency table for tests, and calls of it that run one step at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto import mock_aws

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.errors import BridgeError
from loyalty_bridge.infra import aws
from loyalty_bridge.settings import ActionSettings
from tests.support.template import resources

SETTINGS = ActionSettings(programs_table="", secrets_key="", idempotency_table="IdempotencyTable")


def create_table(settings: ActionSettings) -> None:
    """Create the idempotency table where the environment says."""
    declared = resources("AWS::DynamoDB::Table")["IdempotencyTable"]["Properties"]
    wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    properties: Any = {name: declared[name] for name in wanted}
    boto3.client("dynamodb", region_name="us-east-1").create_table(
        TableName=settings.idempotency_table, BillingMode="PAY_PER_REQUEST", **properties
    )


@contextmanager
def empty_table() -> Iterator[ActionSettings]:
    """Create an empty idempotency table in this process."""
    aws._made.cache_clear()
    with mock_aws():
        create_table(SETTINGS)
        yield SETTINGS
    aws._made.cache_clear()


class Crash(BaseException):
    """The process ends here, without a word."""


class Stepped:
    """A call in a thread of its own that runs from one pause to the next, on demand.

    Attributes
    ----------
    at
        Where it pauses: ``PutItem`` before a request to the store, ``PutItem done`` after it, or what its functions
        call their pauses.
    end
        How it ended: an answer, an error, or a crash; None while it runs.
    """

    def __init__(self, call: Callable[[Stepped], Answer]) -> None:
        self.at = "begin"
        self.end: Answer | BridgeError | Crash | None = None
        self._defect: BaseException | None = None
        self._order: BaseException | None = None
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=[call], daemon=True)
        _stepped[self._thread] = self
        self._thread.start()

    def _run(self, call: Callable[[Stepped], Answer]) -> None:
        self._turn.acquire()
        try:
            self._obey()
            self.end = call(self)
        except (BridgeError, Crash) as error:
            self.end = error
        except BaseException as error:  # noqa: BLE001 - it is raised by `step`
            self.end = Crash()
            self._defect = error
        finally:
            del _stepped[self._thread]
            self._back.release()

    def step(self, order: BaseException | None = None) -> None:
        """Let it run to its next pause; an order is raised where it pauses now."""
        self._order = order
        self._turn.release()
        self._back.acquire()
        if self._defect:
            raise self._defect

    def pause(self, at: str) -> None:
        """Pause, from within the call."""
        self.at = at
        self._back.release()
        self._turn.acquire()
        self._obey()

    def _obey(self) -> None:
        order, self._order = self._order, None
        if order:
            raise order


_stepped: dict[threading.Thread, Stepped] = {}


def step_the_store() -> None:
    """Make every stepped call pause before and after each request that it sends to DynamoDB."""

    def before(model: Any, **_: Any) -> None:
        if call := _stepped.get(threading.current_thread()):
            call.pause(model.name)

    def after(model: Any, **_: Any) -> None:
        if call := _stepped.get(threading.current_thread()):
            call.pause(f"{model.name} done")

    events = aws.dynamodb().meta.events
    events.register("before-call.dynamodb", before)
    events.register("after-call.dynamodb", after)
