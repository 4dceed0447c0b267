"""Which aliases mean which member: a record that names only a person is republished for each of its accounts.

Each copy travels in its member's group, so that one invocation at a time works on a member.

The members' table has an item for each alias, with every member that it has ever meant, and one for each member, with
the alias that owns it now. So an alias item may be out of date, and the member's item decides: a later record of a
former owner is not republished for the account.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loyalty_bridge.infra import dynamodb

if TYPE_CHECKING:
    from loyalty_bridge.settings import MemberSettings

MOST_MEMBERS = 100
"""An alias that more members share (a guest, a kiosk) identifies none of them, and its item would grow forever."""

MOST_PERIODS = 20
"""The last owners of an account whose periods are stored."""


def key(program: str, alias: str) -> str:
    """Return the key of an alias item; `program` is the program's `generation`."""
    return dynamodb.item_key(program, "alias", alias)


def key_of_aliases(program: str, member: str) -> str:
    """Return the key of the item with a member's aliases and owner."""
    return dynamodb.item_key(program, "aliases", member)


Name = tuple[str, str]
"""Generation of a program, and alias."""


@dataclass(frozen=True, slots=True)
class AliasAssertion:
    """A platform's statement that a member is known by an alias.

    Attributes
    ----------
    program
        By its generation.
    at
        When the platform said so (UTC). Of two statements of one time, the one that came later holds.
    unique
        ``member``: the alias means one member at a time; ``owner``: the member has one such alias at a time.
    ended
        Whether the member is no longer known by the alias.
    """

    program: str
    alias: str
    member: str
    at: datetime
    unique: Literal["member", "owner", ""] = ""
    ended: bool = False

    @property
    def item(self) -> str:
        """The key of the item that shows whether the assertion is known already."""
        return key_of_aliases(self.program, self.member) if self.unique == "owner" else key(self.program, self.alias)


class Period(NamedTuple):
    """The time in which an alias owned a member, according to the statements so far (epoch seconds).

    Attributes
    ----------
    first, last
        The first and last statement that it is the owner; 0 if there is none yet.
    ended
        The statement that it is the owner no longer.
    """

    first: float = 0.0
    last: float = 0.0
    ended: float = inf


@dataclass(frozen=True, slots=True)
class Owner:
    """The alias that owns a member's account (empty: none any more), and since which statement (epoch seconds).

    Attributes
    ----------
    periods
        The periods of this owner and earlier ones, by alias.
    """

    alias: str
    at: float
    periods: Mapping[str, Period]

    def until(self, alias: str) -> float:
        """Return until when an alias owned the account (epoch seconds); 0 if it is not known to have owned it."""
        if alias == self.alias:
            return inf
        period = self.periods.get(alias, Period())
        if not period.last:
            return 0.0
        others = [one for name, one in self.periods.items() if name != alias and one.last >= period.last]
        return min([period.ended, *(one.first if one.first >= period.last else one.last for one in others)])


def from_item(item: Mapping[str, Any]) -> set[str]:
    """Return the members of an alias item, or the aliases of a member's item; none if they are too many."""
    return set() if is_crowded(item) else set(item.get("members", {}).get("SS", ()))


def is_crowded(item: Mapping[str, Any]) -> bool:
    """Return whether an alias has more than `MOST_MEMBERS` members, or a member that many aliases."""
    return "crowded" in item or len(item.get("members", {}).get("SS", ())) > MOST_MEMBERS


def owner(item: Mapping[str, Any], assertions: Iterable[AliasAssertion] = ()) -> Owner | None:
    """Return the owner of a member, from its item and newer assertions; None if no owner was ever stated."""
    found = Owner(item["owner"]["S"], float(item["owner_at"]["N"]), _periods(item)) if "owner_at" in item else None
    for one in sorted((one for one in assertions if one.unique == "owner"), key=_when):
        found = _after(found or Owner("", 0.0, {}), one)
    return found


def _after(before: Owner, assertion: AliasAssertion) -> Owner:
    """Return the owner after one more assertion; assertions may come in any order."""
    at, period = _when(assertion), before.periods.get(assertion.alias, Period())
    if assertion.ended:
        if at < period.last:
            return before  # it became the owner again after this
        period = period._replace(ended=min(at, period.ended))
        # The time stays that of the beginning, so that an earlier statement of a successor holds.
        alias, since = ("" if assertion.alias == before.alias else before.alias), before.at
    else:
        others = [one.last for name, one in before.periods.items() if name != assertion.alias]
        is_new = not period.last or any(period.last < other <= at for other in others)
        last = max(period.last, at)
        ended = period.ended if period.ended >= last else inf
        period = Period(at if is_new else min(period.first, at), last, ended)
        alias, since = ("" if ended < inf else assertion.alias, at) if at >= before.at else (before.alias, before.at)
    periods = {**before.periods, assertion.alias: period}
    newest = sorted(periods, key=lambda name: (periods[name].last, name == assertion.alias), reverse=True)[
        :MOST_PERIODS
    ]
    return Owner(alias, since, {name: periods[name] for name in newest})


def _periods(item: Mapping[str, Any]) -> dict[str, Period]:
    stored = item.get("periods", {}).get("M", {})
    return {alias: Period(*(float(time["N"]) for time in times["L"])) for alias, times in stored.items()}


def _stored(periods: Mapping[str, Period]) -> dict[str, Any]:
    return {
        "M": {
            alias: {"L": [{"N": f"{time:.3f}"} for time in period if time < inf]} for alias, period in periods.items()
        }
    }


def members(
    settings: MemberSettings,
    names: Iterable[Name],
    deadline: float,
    assertions: Sequence[AliasAssertion] = (),
    *,
    owned: Collection[Name] = (),
) -> dict[Name, dict[str, float] | None]:
    """Return the members of each alias, and until when it means them (epoch seconds; infinite: it still does).

    The value is None for an alias that too many members share.

    Parameters
    ----------
    assertions
        Assertions that may not be stored yet.
    owned
        The names that mean a member only while they own it; the others mean all of their members.
    """
    keys = {name: key(*name) for name in names}
    items = _read(settings, keys.values(), deadline)
    found = {
        name: None if there is None else dict.fromkeys(there, inf)
        for name, stored in keys.items()
        for there in [_members(name, items.get(stored, {}), assertions)]
    }
    asked = {(name[0], member) for name in owned for member in found.get(name) or ()}
    items = _read(settings, (key_of_aliases(*one) for one in asked), deadline) if asked else {}
    for program, alias in owned:
        for member in list(there := found.get((program, alias)) or {}):
            relevant = [one for one in assertions if (one.program, one.member) == (program, member)]
            there[member] = owned_until(alias, owner(items.get(key_of_aliases(program, member), {}), relevant))
    return found


def owned_until(alias: str, owner: Owner | None) -> float:
    """Return until when an alias owned a member (epoch seconds); infinite if no owner was ever stated."""
    return owner.until(alias) if owner else inf


def meant_until(item: Mapping[str, Any], member: str) -> float:
    """Return until when the alias of an item meant a member (epoch seconds)."""
    there = from_item(item)
    return inf if not there or member in there else float(item.get("asserted_at", {}).get("N", 0))


def _members(name: Name, item: Mapping[str, Any], assertions: Iterable[AliasAssertion]) -> set[str] | None:
    relevant = [one for one in assertions if (one.program, one.alias) == name and not one.ended]
    latest = max((one for one in relevant if one.unique == "member"), key=_when, default=None)
    if latest:
        return {latest.member} if is_news(item, latest) else from_item(item)
    found = from_item(item) | {one.member for one in relevant}
    return None if is_crowded(item) or len(found) > MOST_MEMBERS else found


def is_news(item: Mapping[str, Any], assertion: AliasAssertion) -> bool:
    """Return whether the item of an assertion (`AliasAssertion.item`) has neither it nor anything newer."""
    if assertion.unique == "owner":
        return owner(item, [assertion]) != owner(item)
    if assertion.unique == "member":
        return from_item(item) != {assertion.member} and float(item.get("asserted_at", {}).get("N", 0)) <= _when(
            assertion
        )
    return not is_crowded(item) and assertion.member not in from_item(item)


def _when(assertion: AliasAssertion) -> float:
    return round(assertion.at.timestamp(), 3)


def learn(settings: MemberSettings, assertions: Iterable[AliasAssertion], deadline: float) -> None:
    """Store assertions; several invocations may do so for one alias at once.

    A ``member`` alias is also stored in the member's item, so that the member's aliases can be read.
    """
    several: defaultdict[str, set[str]] = defaultdict(set)
    latest: dict[str, AliasAssertion] = {}
    owners: defaultdict[str, list[AliasAssertion]] = defaultdict(list)
    for one in sorted(assertions, key=_when):
        if one.unique == "owner":
            owners[one.item].append(one)
        if one.unique == "member":
            several[key_of_aliases(one.program, one.member)].add(one.alias)
            latest[one.item] = one
        elif not one.ended:
            several[key(one.program, one.alias)].add(one.member)
    items = _read(settings, [*several, *owners], deadline)
    # Before the owners: the alias item of a stored owner must have the member.
    adds = [_add(settings, name, ids, items.get(name, {})) for name, ids in several.items()]
    dynamodb.update_each([one for one in adds if one], deadline)
    set_members = "SET members = :members, asserted_at = :at"
    changes = [_set(settings, name, set_members, {":members": {"SS": [one.member]}}, "asserted_at", _when(one))
               for name, one in latest.items()]  # fmt: skip
    for name, relevant in owners.items():
        if holds := owner(items.get(name, {}), relevant):
            values = {":owner": {"S": holds.alias}, ":periods": _stored(holds.periods)}
            set_owner = "SET #owner = :owner, owner_at = :at, periods = :periods"
            changes.append(_set(settings, name, set_owner, values, "owner_at", holds.at))
    dynamodb.update_each(changes, deadline)


def _read(settings: MemberSettings, names: Iterable[str], deadline: float) -> dict[str, Mapping[str, Any]]:
    asked = [(settings.members_table, {"member": {"S": one}}) for one in sorted(set(names))]
    return {item["member"]["S"]: item for item in dynamodb.batch_get(asked, deadline).get(settings.members_table, ())}


def _add(settings: MemberSettings, name: str, ids: set[str], item: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the update that adds ids to an item; None if it has them, or is crowded already."""
    if "crowded" in item or ids <= from_item(item):
        return None
    if is_crowded(item) or len(from_item(item) | ids) > MOST_MEMBERS:
        values: dict[str, Any] = {":yes": {"BOOL": True}}
        return _update(settings, name, "SET crowded = :yes REMOVE members", values)
    return _update(settings, name, "ADD members :members", {":members": {"SS": sorted(ids)}})


def _set(
    settings: MemberSettings, name: str, expression: str, values: Mapping[str, Any], time: str, at: float
) -> dict[str, Any]:
    """Return an update that does nothing if another invocation has stored a later assertion."""
    values = {**values, ":at": {"N": f"{at:.3f}"}}
    update = _update(settings, name, expression, values)
    if "#owner" in expression:
        update["ExpressionAttributeNames"] = {"#owner": "owner"}
    return update | {"ConditionExpression": f"attribute_not_exists({time}) OR {time} <= :at"}


def _update(settings: MemberSettings, name: str, expression: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "TableName": settings.members_table,
        "Key": {"member": {"S": name}},
        "UpdateExpression": expression,
        "ExpressionAttributeValues": values,
    }
