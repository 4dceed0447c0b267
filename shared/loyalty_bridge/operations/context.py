"""Who asks, and where the stores are: what every use case of an operator needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loyalty_bridge.operations.operators import Operator
    from loyalty_bridge.settings import OperatorSettings


@dataclass(frozen=True, slots=True)
class OperatorContext:
    """An operator at work.

    Attributes
    ----------
    settings
        The tables, buckets and queues of the deployment.
    operator
        The person who is signed in, with the programs that this person may administer.
    """

    settings: OperatorSettings
    operator: Operator
