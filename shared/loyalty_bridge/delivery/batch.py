"""One batch of the transport under way, and how its entries end: done, kept, or given back."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loyalty_bridge.delivery import kept
from loyalty_bridge.delivery.kept import Entry
from loyalty_bridge.delivery.records import Arrival, SourceRecord
from loyalty_bridge.errors import Refused, Unavailable
from loyalty_bridge.model import Json, Refusal
from loyalty_bridge.programs import gate

if TYPE_CHECKING:
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

PARTS = ("attributes", "event", "purchase")


@dataclass(slots=True, eq=False)
class Batch:
    """A batch under way.

    Attributes
    ----------
    until
        When to stop sending and start writing down (of `time.monotonic`).
    again
        The entries that are given back, by receipt.
    retry_after
        Seconds after which it makes sense to deliver them again.
    """

    settings: DeliverySettings
    until: float
    now: float = field(default_factory=time.time)
    again: dict[str, Arrival] = field(default_factory=dict)
    retry_after: float = 1.0
    counts: Counter[str] = field(default_factory=Counter)
    _blocked: set[str] = field(default_factory=set)
    _refused: defaultdict[str, list[tuple[Arrival, Entry]]] = field(default_factory=lambda: defaultdict(list))

    def give_back(self, arrival: Arrival) -> None:
        """Let the transport deliver an entry again; what comes later in its group must not overtake it."""
        self.again[arrival.receipt] = arrival
        self._blocked.add(arrival.group)

    def overtakes(self, arrival: Arrival) -> bool:
        """Tell whether an earlier entry of the group is given back."""
        return arrival.group in self._blocked

    def refuse(self, arrival: Arrival, entry: Entry) -> None:
        """Note a record that can never be delivered as it is."""
        self._refused[entry.record.program].append((arrival, entry))

    def refuse_whole(self, arrival: Arrival, record: SourceRecord, refusal: Refused, event_id: str = "") -> None:
        """Note a record of which nothing can be used."""
        self.refuse(arrival, Entry(record, event_id, (Refusal("event", refusal.field, refusal.reason),), PARTS))

    def keep_refused(self) -> None:
        """Store what was refused, but not of entries that are given back: those are judged again."""
        for program, noted in self._refused.items():
            final = [(arrival, entry) for arrival, entry in noted if arrival.receipt not in self.again]
            try:
                if final:
                    kept.keep(self.settings, "refused", program, [entry for _, entry in final], self.now)
                    self.counts["refused"] += len(final)
            except Unavailable:
                self.counts["keep_failed"] += len(final)
                for arrival, _ in final:
                    self.give_back(arrival)

    def hold(self, program: Program, behind: list[tuple[Arrival, SourceRecord]], reason: str, *, close: bool) -> None:
        """Keep a program's records in order until its connection works; where that fails, give them back.

        Parameters
        ----------
        close
            Whether the destination failed just now; else the records only wait behind others.
        """
        by_position: defaultdict[str, list[Entry]] = defaultdict(list)
        for _, record in behind:
            by_position[record.drained].append(Entry(record))
        try:
            for position, entries in by_position.items():
                kept.keep(self.settings, "held", program.id, entries, self.now, position)
            (gate.hold if close else gate.touch)(self.settings, program.id, reason, self.now)
            self.counts["held"] += len(behind)
        except Unavailable:
            self.counts["keep_failed"] += len(behind)
            for arrival, _ in behind:
                self.give_back(arrival)


def alone(record: SourceRecord, event: Mapping[str, Json] | Json) -> SourceRecord:
    """Make a record of one event of a record that holds several."""
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    return SourceRecord(record.program, body, record.received, record.member, record.drained)
