from __future__ import annotations

import math
import random
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty_bridge.pipeline.packing import pack

# An object is (its group, its place in the group, its weight).
Item = tuple[int, int, tuple[int, ...]]
Weights = list[list[tuple[int, ...]]]

TWO_LIMITS = (7, 40)


def weight(item: Item) -> tuple[int, ...]:
    return item[2]


def items(weights: Weights) -> list[list[Item]]:
    return [[(group, place, each) for place, each in enumerate(inside)] for group, inside in enumerate(weights)]


def of_sizes(*sizes: int) -> Weights:
    """Groups of so many objects, each of which weighs one."""
    return [[(1,)] * size for size in sizes]


def load(request: list[Item]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*map(weight, request), strict=True)))


def fits(used: tuple[int, ...], capacity: tuple[int, ...]) -> bool:
    return all(part <= whole for part, whole in zip(used, capacity, strict=True))


def fewest_requests(sizes: list[int], capacity: int) -> int:
    """Find the least number of requests by trying every distribution."""
    best = len(sizes)

    def place(rest: list[int], used: list[int]) -> None:
        nonlocal best
        if len(used) >= best:
            return
        if not rest:
            best = len(used)
            return
        for at in range(len(used)):
            if used[at] + rest[0] <= capacity and used[at] not in used[:at]:
                place(rest[1:], [*used[:at], used[at] + rest[0], *used[at + 1 :]])
        place(rest[1:], [*used, rest[0]])

    place(sorted(sizes, reverse=True), [])
    return best


two_limits = st.lists(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 40)), max_size=12), max_size=25)


@given(two_limits)
def test_every_object_is_sent_once_and_a_members_objects_stay_in_order(weights: Weights) -> None:
    groups = items(weights)

    waves = pack(groups, weight, TWO_LIMITS)

    sent = [item for wave in waves for request in wave for item in request]
    assert sorted(sent) == sorted(item for group in groups for item in group)
    for number, group in enumerate(groups):
        assert [item for item in sent if item[0] == number] == group


@given(two_limits)
def test_no_request_holds_more_than_its_limits(weights: Weights) -> None:
    waves = pack(items(weights), weight, TWO_LIMITS)

    assert all(fits(load(request), TWO_LIMITS) for wave in waves for request in wave)


@given(two_limits)
def test_a_group_that_fits_shares_one_request(weights: Weights) -> None:
    groups = items(weights)

    waves = pack(groups, weight, TWO_LIMITS)

    requests = [{item[0] for item in request} for wave in waves for request in wave]
    spread = Counter(number for request in requests for number in request)
    assert all(spread[at] == 1 for at, group in enumerate(groups) if group and fits(load(group), TWO_LIMITS))


@given(two_limits)
def test_a_larger_group_lies_in_consecutive_waves_each_piece_as_full_as_a_request_allows(weights: Weights) -> None:
    groups = items(weights)

    waves = pack(groups, weight, TWO_LIMITS)

    for number, group in enumerate(groups):
        if not group or fits(load(group), TWO_LIMITS):
            continue
        pieces = [
            [item for item in request if item[0] == number]
            for wave in waves
            for request in wave
            if any(item[0] == number for item in request)
        ]
        in_waves = [at for at, wave in enumerate(waves) if any(item[0] == number for sent in wave for item in sent)]
        assert in_waves == list(range(len(pieces)))
        for piece, following in pairwise(pieces):
            assert not fits(load([*piece, following[0]]), TWO_LIMITS)


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10)), min_size=1, max_size=2), max_size=25))
def test_no_two_requests_could_be_one(weights: Weights) -> None:
    waves = pack(items(weights), weight, TWO_LIMITS)

    requests = [request for wave in waves for request in wave]
    for at, one in enumerate(requests):
        assert not any(fits(load([*one, *other]), TWO_LIMITS) for other in requests[at + 1 :])


@given(st.lists(st.integers(1, 3), min_size=1, max_size=300), st.integers(3, 75))
def test_small_groups_waste_no_more_than_the_gaps_that_cannot_be_avoided(sizes: list[int], limit: int) -> None:
    largest, total = max(sizes), sum(sizes)

    [requests] = pack(items(of_sizes(*sizes)), weight, (limit,))

    assert len(requests) <= math.ceil(total / (limit - largest + 1))


@given(st.lists(st.integers(2, 3), max_size=300), st.integers(3, 75))
def test_small_groups_take_the_least_possible_number_of_requests_when_single_objects_fill_the_gaps(
    sizes: list[int], limit: int
) -> None:
    singles = [1] * (2 * len(sizes) + 1)

    [requests] = pack(items(of_sizes(*sizes, *singles)), weight, (limit,))

    assert len(requests) == math.ceil((sum(sizes) + len(singles)) / limit)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9))
def test_one_limit_takes_at_most_eleven_ninths_of_the_least_possible_number_of_requests(sizes: list[int]) -> None:
    waves = pack([[size] for size in sizes], lambda size: (size,), (12,))

    assert len(waves[0]) <= (11 * fewest_requests(sizes, 12) + 6) // 9


@pytest.mark.parametrize("seed", range(20))
def test_mixed_groups_of_up_to_three_reach_the_optimum(seed: int) -> None:
    sizes = random.Random(seed).choices([1, 2, 3], k=11)

    [requests] = pack(items(of_sizes(*sizes)), weight, (8,))

    assert len(requests) == fewest_requests(sizes, 8)


@pytest.mark.parametrize(
    ("weights", "capacity", "expected"),
    [
        pytest.param([], (75,), [], id="nothing to send"),
        pytest.param([[], []], (75,), [], id="only empty groups"),
        pytest.param(of_sizes(75), (75,), [[75]], id="exactly full"),
        pytest.param(of_sizes(74, 2, 1, 73), (75,), [[75, 75]], id="pairs that fill each other"),
        pytest.param(of_sizes(151), (75,), [[75], [75], [1]], id="a large member takes three waves"),
        pytest.param(of_sizes(151, 40, 30), (75,), [[75], [75], [71]], id="small groups fill the last wave"),
        pytest.param(of_sizes(80, 80), (75,), [[75, 75], [10]], id="the ends of large members share a request"),
        pytest.param(of_sizes(80, 75, 75), (75,), [[75, 75, 75], [5]], id="full groups go in the first wave"),
        pytest.param([[(1, 0)]] * 2 + [[(0, 1)]] * 2, (2, 2), [[4]], id="limits that do not touch share"),
        pytest.param([[(1, 3)]] * 2 + [[(1, 1)]] * 2, (9, 4), [[2, 2]], id="heavy objects are spread"),
        pytest.param([[(1, 9)], [(1, 1)]], (9, 4), [[1, 1]], id="an object beyond a limit is alone"),
        pytest.param([[(1, 1), (1, 9), (1, 1)]], (9, 4), [[1], [1], [1]], id="also inside a group"),
    ],
)
def test_requests_of_each_wave_hold_so_many_objects(
    weights: Weights, capacity: tuple[int, ...], expected: list[list[int]]
) -> None:
    waves = pack(items(weights), weight, capacity)

    assert [sorted(map(len, wave), reverse=True) for wave in waves] == expected


def test_twenty_thousand_members_are_packed_in_a_blink() -> None:
    chosen = random.Random(7)
    weights: Weights = [[(1, chosen.randint(100, 2000))] * chosen.randint(1, 3) for _ in range(20_000)]
    groups = items(weights)

    started = time.process_time()
    [requests] = pack(groups, weight, (75, 4_000_000))
    seconds = time.process_time() - started

    assert len(requests) == math.ceil(sum(map(len, groups)) / 75)
    assert seconds < 5.0  # about 0.1 s, on a busy machine ten times that; what is quadratic takes minutes
