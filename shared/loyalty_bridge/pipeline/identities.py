"""Members under another id: records that name only the person are sent on to each account of theirs.

Each of them then travels under its member, so that one invocation at a time works on a member. The other way round, a
member's aliases tell under which id its loyalty platform knows it, and who owns the account now.

What the table holds may be out of date on one side only: an alias names each member that it has ever meant, and the
member itself says which alias owns it. So what a former owner does later is not sent on, and no member is looked for
twice.
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
"""An alias that more members share (a guest, a kiosk) identifies none of them; its item would grow without end."""

MOST_PERIODS = 20
"""Owners of an account, the last ones, of whom it is known until when they owned it."""


def key(program: str, alias: str) -> str:
    """Name an alias of a program, by its `generation`, in the table of the members."""
    return dynamodb.item_key(program, "alias", alias)


def key_of_aliases(program: str, member: str) -> str:
    """Name what a member is known by, in the same table."""
    return dynamodb.item_key(program, "aliases", member)


Name = tuple[str, str]
"""Generation of a program, and alias."""


@dataclass(frozen=True, slots=True)
class AliasAssertion:
    """That a member is known by an alias.

    Attributes
    ----------
    program
        By its generation.
    at
        When the platform said so (UTC). Of two statements of one time, the one that came later holds.
    one
        What there is one of at a time: of an alias its ``member``, of a member its ``owner``. Empty: neither.
    ended
        That the member is no longer known by it.
    """

    program: str
    alias: str
    member: str
    at: datetime
    one: Literal["member", "owner", ""] = ""
    ended: bool = False

    @property
    def item(self) -> str:
        """Name the item that says whether this is known already."""
        return key_of_aliases(self.program, self.member) if self.one == "owner" else key(self.program, self.alias)


class Period(NamedTuple):
    """The time in which an alias owned a member, by what was said of it (epoch seconds).

    Attributes
    ----------
    first, last
        The statements that name it as the owner; 0: there is none yet.
    ended
        When it was said to own the member no longer.
    """

    first: float = 0.0
    last: float = 0.0
    ended: float = inf


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a member's account: an alias, or nobody any more, and since which statement (epoch seconds).

    Attributes
    ----------
    periods
        When it was owned by this and earlier owners.
    """

    alias: str
    at: float
    periods: Mapping[str, Period]

    def until(self, alias: str) -> float:
        """Tell until when an alias owned the account (epoch seconds): 0 for one that never did, as far as is known."""
        if alias == self.alias:
            return inf
        period = self.periods.get(alias, Period())
        if not period.last:
            return 0.0
        others = [one for name, one in self.periods.items() if name != alias and one.last >= period.last]
        return min([period.ended, *(one.first if one.first >= period.last else one.last for one in others)])


def from_item(item: Mapping[str, Any]) -> set[str]:
    """Read an item: the members that are known by the alias, or the aliases of the member; none if they are too many.

    What `is_crowded` has none, since it identifies nobody.
    """
    return set() if is_crowded(item) else set(item.get("members", {}).get("SS", ()))


def is_crowded(item: Mapping[str, Any]) -> bool:
    """Tell whether an alias is shared by more than `MOST_MEMBERS` (or a member has more aliases)."""
    return "crowded" in item or len(item.get("members", {}).get("SS", ())) > MOST_MEMBERS


def owner(item: Mapping[str, Any], taught: Iterable[AliasAssertion] = ()) -> Owner | None:
    """Read who owns a member, by its item and what was told just now; None where nothing was ever told."""
    found = Owner(item["owner"]["S"], float(item["owner_at"]["N"]), _periods(item)) if "owner_at" in item else None
    for one in sorted((one for one in taught if one.one == "owner"), key=_when):
        found = _after(found or Owner("", 0.0, {}), one)
    return found


def _after(before: Owner, told: AliasAssertion) -> Owner:
    """Take in a statement about the owner; statements may come in any order."""
    at, period = _when(told), before.periods.get(told.alias, Period())
    if told.ended:
        if at < period.last:
            return before  # it was the owner once more after this
        period = period._replace(ended=min(at, period.ended))
        # The time stays that of the beginning, so that a successor's earlier statement holds.
        alias, since = ("" if told.alias == before.alias else before.alias), before.at
    else:
        others = [one.last for name, one in before.periods.items() if name != told.alias]
        is_new = not period.last or any(period.last < other <= at for other in others)
        last = max(period.last, at)
        ended = period.ended if period.ended >= last else inf
        period = Period(at if is_new else min(period.first, at), last, ended)
        alias, since = ("" if ended < inf else told.alias, at) if at >= before.at else (before.alias, before.at)
    periods = {**before.periods, told.alias: period}
    newest = sorted(periods, key=lambda name: (periods[name].last, name == told.alias), reverse=True)[:MOST_PERIODS]
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
    taught: Sequence[AliasAssertion] = (),
    *,
    owned: Collection[Name] = (),
) -> dict[Name, dict[str, float] | None]:
    """Tell the members that each of several aliases means, and until when (epoch seconds; infinite: it still does).

    None for one that too many members share.

    Parameters
    ----------
    taught
        What was told just now, and may not be stored yet.
    owned
        The names that mean a member only while they own it; the other ones still mean all of theirs.

    Raises
    ------
    Unavailable
        The map cannot be read.
    """
    keys = {name: key(*name) for name in names}
    items = _read(settings, keys.values(), deadline)
    found = {
        name: None if there is None else dict.fromkeys(there, inf)
        for name, stored in keys.items()
        for there in [_members(name, items.get(stored, {}), taught)]
    }
    asked = {(name[0], member) for name in owned for member in found.get(name) or ()}
    items = _read(settings, (key_of_aliases(*one) for one in asked), deadline) if asked else {}
    for program, alias in owned:
        for member in list(there := found.get((program, alias)) or {}):
            told = [one for one in taught if (one.program, one.member) == (program, member)]
            there[member] = owned_until(alias, owner(items.get(key_of_aliases(program, member), {}), told))
    return found


def owned_until(alias: str, owner: Owner | None) -> float:
    """Tell until when an alias owned a member (epoch seconds); where no owner was ever told, any still does."""
    return owner.until(alias) if owner else inf


def meant_until(item: Mapping[str, Any], member: str) -> float:
    """Tell until when the alias of an item meant a member (epoch seconds)."""
    there = from_item(item)
    return inf if not there or member in there else float(item.get("told_at", {}).get("N", 0))


def _members(name: Name, item: Mapping[str, Any], taught: Iterable[AliasAssertion]) -> set[str] | None:
    told = [one for one in taught if (one.program, one.alias) == name and not one.ended]
    latest = max((one for one in told if one.one == "member"), key=_when, default=None)
    if latest:
        return {latest.member} if is_news(item, latest) else from_item(item)
    found = from_item(item) | {one.member for one in told}
    return None if is_crowded(item) or len(found) > MOST_MEMBERS else found


def is_news(item: Mapping[str, Any], taught: AliasAssertion) -> bool:
    """Tell whether the item of what was told (`AliasAssertion.item`) does not have it yet, nor anything newer."""
    if taught.one == "owner":
        return owner(item, [taught]) != owner(item)
    if taught.one == "member":
        return from_item(item) != {taught.member} and float(item.get("told_at", {}).get("N", 0)) <= _when(taught)
    return not is_crowded(item) and taught.member not in from_item(item)


def _when(taught: AliasAssertion) -> float:
    return round(taught.at.timestamp(), 3)


def learn(settings: MemberSettings, taught: Iterable[AliasAssertion], deadline: float) -> None:
    """Remember that members are known by aliases, too (several invocations may teach one alias at once).

    Of an alias that is one member's, the member's aliases can be looked up, too.

    Raises
    ------
    Unavailable
        DynamoDB does not take it.
    """
    several: defaultdict[str, set[str]] = defaultdict(set)
    latest: dict[str, AliasAssertion] = {}
    owners: defaultdict[str, list[AliasAssertion]] = defaultdict(list)
    for one in sorted(taught, key=_when):
        if one.one == "owner":
            owners[one.item].append(one)
        if one.one == "member":
            several[key_of_aliases(one.program, one.member)].add(one.alias)
            latest[one.item] = one
        elif not one.ended:
            several[key(one.program, one.alias)].add(one.member)
    items = _read(settings, [*several, *owners], deadline)
    # Before the owners: where an owner is known, its alias has the member.
    adds = [_add(settings, name, ids, items.get(name, {})) for name, ids in several.items()]
    dynamodb.update_each([one for one in adds if one], deadline)
    set_members = "SET members = :members, told_at = :at"
    changes = [_set(settings, name, set_members, {":members": {"SS": [one.member]}}, "told_at", _when(one))
               for name, one in latest.items()]  # fmt: skip
    for name, told in owners.items():
        if holds := owner(items.get(name, {}), told):
            values = {":owner": {"S": holds.alias}, ":periods": _stored(holds.periods)}
            set_owner = "SET #owner = :owner, owner_at = :at, periods = :periods"
            changes.append(_set(settings, name, set_owner, values, "owner_at", holds.at))
    dynamodb.update_each(changes, deadline)


def _read(settings: MemberSettings, names: Iterable[str], deadline: float) -> dict[str, Mapping[str, Any]]:
    asked = [(settings.members_table, {"member": {"S": one}}) for one in sorted(set(names))]
    return {item["member"]["S"]: item for item in dynamodb.batch_get(asked, deadline).get(settings.members_table, ())}


def _add(settings: MemberSettings, name: str, ids: set[str], item: Mapping[str, Any]) -> dict[str, Any] | None:
    """Make the update that adds ids to an item; None where it has them, or is crowded already."""
    if "crowded" in item or ids <= from_item(item):
        return None
    if is_crowded(item) or len(from_item(item) | ids) > MOST_MEMBERS:
        values: dict[str, Any] = {":yes": {"BOOL": True}}
        return _update(settings, name, "SET crowded = :yes REMOVE members", values)
    return _update(settings, name, "ADD members :members", {":members": {"SS": sorted(ids)}})


def _set(
    settings: MemberSettings, name: str, expression: str, values: Mapping[str, Any], time: str, at: float
) -> dict[str, Any]:
    """Make an update that leaves alone what was told later by somebody else meanwhile."""
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
