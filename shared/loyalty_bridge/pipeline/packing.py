"""Few requests for many objects, whatever the destination: bin packing, one dimension for each limit of a request."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import add, le, sub, truediv
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Weight: TypeAlias = tuple[int, ...]
_Piece: TypeAlias = tuple[Sequence[T], Weight]
_Request: TypeAlias = tuple[list[T], Weight]

_LEVELS = 16
"""How finely the last limit counts when pieces are put in order of size."""


def pack(groups: Iterable[Sequence[T]], weigh: Callable[[T], Weight], capacity: Weight) -> list[list[list[T]]]:
    """Spread groups of objects over as few requests as first-fit-decreasing finds.

    A group that fits into one request lies in one. A larger one is cut into consecutive pieces, each as full as a
    request allows, which lie in consecutive waves; the small groups fill the space that is left, in any wave.

    Parameters
    ----------
    groups
        One member's objects each, in the order in which they have to arrive.
    weigh
        How much of each limit an object uses.
    capacity
        The limits of a request, each at least 1; last the one in which weights vary most, such as bytes (this keeps
        packing fast). An object beyond a limit uses all of it.

    Returns
    -------
    list of list of list
        Waves, of requests, of objects. A wave may be sent when the replies to the one before are in; the requests of
        one wave may be sent side by side.

    Notes
    -----
    The least possible number of requests is not always found (that is NP-hard). Of groups that fit into one:

    - no two requests could be one;
    - when no group has more than `s` objects and their number is what limits a request, there are at most
      ``ceil(objects / (limit - s + 1))`` requests; ``ceil(objects / limit)``, the least possible, when enough groups
      have a single object to fill the gaps that the larger ones leave;
    - with a single limit there are at most 11/9 of the least possible number plus 6/9
      (https://doi.org/10.1007/978-3-540-74450-4_1).
    """
    cut = [_cut(group, weigh, capacity) for group in groups if group]
    waves = [
        _fill([], [pieces[wave] for pieces in cut if len(pieces) > max(wave, 1)], capacity)
        for wave in range(max(map(len, cut), default=0))
    ]
    begun = [request for wave in waves for request in wave]
    added = _fill(begun, [pieces[0] for pieces in cut if len(pieces) == 1], capacity)[len(begun) :]
    if added:
        waves[0] += added
    return [[items for items, _ in wave] for wave in waves]


def _cut(group: Sequence[T], weigh: Callable[[T], Weight], capacity: Weight) -> Sequence[_Piece[T]]:
    """Cut a group into consecutive pieces, each as full as a request allows; most groups are one piece."""
    weights = list(map(weigh, group))
    total = tuple(map(sum, zip(*weights, strict=True)))
    if _fits(total, capacity):
        return [(group, total)]
    pieces: list[_Request[T]] = []
    total = capacity
    for item, exact in zip(group, weights, strict=True):
        weight = tuple(map(min, exact, capacity))
        total = tuple(map(add, total, weight))
        if pieces and _fits(total, capacity):
            pieces[-1][0].append(item)
            pieces[-1] = (pieces[-1][0], total)
        else:
            pieces.append(([item], total := weight))
    return pieces


def _fits(weight: Weight, free: Weight) -> bool:
    return all(map(le, weight, free))


def _fill(begun: Sequence[_Request[T]], pieces: Sequence[_Piece[T]], capacity: Weight) -> list[_Request[T]]:
    """Fill the begun requests, then new ones, each with the largest pieces that still fit (first-fit-decreasing).

    Pieces of equal weight but for the last limit lie in one list, ordered by the last limit: a piece that fits is found
    by bisection.
    """
    by_size: defaultdict[Weight, list[tuple[int, int]]] = defaultdict(list)
    for number, (_, weight) in enumerate(pieces):
        by_size[(*weight[:-1], weight[-1] * _LEVELS // capacity[-1])].append((weight[-1], -number))
    scale = (*capacity[:-1], _LEVELS)
    largest_first = sorted(by_size, key=lambda key: max(map(truediv, key, scale)), reverse=True)
    waiting = [(key[:-1], sorted(by_size[key])) for key in largest_first]

    requests = list(begun)
    at = 0
    while waiting:
        if at == len(requests):
            requests.append(([], (0,) * len(capacity)))
        items, weight = requests[at]
        free = tuple(map(sub, capacity, weight))
        for others, pieces_of_size in waiting:
            while _fits(others, free) and (fitting := bisect_right(pieces_of_size, (free[-1], 0))):
                added, weight = pieces[-pieces_of_size.pop(fitting - 1)[1]]
                items += added
                free = tuple(map(sub, free, weight))
        requests[at] = (items, tuple(map(sub, capacity, free)))
        waiting = [entry for entry in waiting if entry[1]]
        at += 1
    return requests
