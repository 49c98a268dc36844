"""Everyone gets a turn."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.runtime.server.fair_queue import FairQueue

OWNERS = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))


def filled(owners: list[tuple[str, str]]) -> FairQueue[tuple[str, str, int]]:
    queue: FairQueue[tuple[str, str, int]] = FairQueue()
    for i, owner in enumerate(owners):
        queue.put(owner, (*owner, i))
    return queue


@given(st.lists(OWNERS, max_size=40))
def test_nothing_is_lost_and_each_owner_is_served_in_order(owners: list[tuple[str, str]]) -> None:
    queue = filled(owners)
    taken = [queue.take() for _ in range(len(queue))]
    assert sorted(taken, key=lambda item: item[2]) == [(*owner, i) for i, owner in enumerate(owners)]
    for owner in set(owners):
        mine = [i for *name, i in taken if tuple(name) == owner]
        assert mine == sorted(mine)
    with pytest.raises(IndexError):
        queue.take()


@given(st.lists(OWNERS, max_size=40))
def test_while_two_wait_neither_is_served_twice_in_a_row(owners: list[tuple[str, str]]) -> None:
    """Of those with different first names."""
    queue = filled(owners)
    left = Counter(first for first, _ in owners)
    before = ""
    while len(queue):
        first, *_ = queue.take()
        assert first != before or len(+left) == 1
        left[first] -= 1
        before = first


def test_second_names_gain_nothing_against_another_first_name() -> None:
    queue = filled([*(("greedy", f"program {i}") for i in range(9)), ("modest", "one")])
    assert [queue.take()[0] for _ in range(3)] == ["greedy", "modest", "greedy"]


@given(st.lists(OWNERS, min_size=1, max_size=20), st.data())
def test_taking_out_of_turn(owners: list[tuple[str, str]], data: st.DataObject) -> None:
    queue = filled(owners)
    i = data.draw(st.integers(0, len(owners) - 1))
    assert queue.remove((*owners[i], i))
    assert not queue.remove((*owners[i], i))
    assert {queue.take()[2] for _ in range(len(queue))} == set(range(len(owners))) - {i}
