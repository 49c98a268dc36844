"""A queue in which everyone gets a turn, however much one of them asks for."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """First in, first out for each owner; owners take turns.

    An owner has several names, the most trustworthy first: turns are taken between the first names, then among the
    owners of one first name between the second, and so on. Whoever makes up second names gains nothing against
    others with another first name.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._owners: OrderedDict[str, FairQueue[Item]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items) + sum(map(len, self._owners.values()))

    def put(self, owner: Sequence[str], item: Item) -> None:
        """Add an item; all owners have the same number of names."""
        if not owner:
            self._items.append(item)
        else:
            self._owners.setdefault(owner[0], FairQueue()).put(owner[1:], item)

    def take(self) -> Item:
        """The item whose turn it is.

        Raises:
            IndexError: there is none.
        """
        if not self._owners:
            return self._items.popleft()
        name, queue = self._owners.popitem(last=False)
        item = queue.take()
        if len(queue):
            self._owners[name] = queue  # to the end
        return item

    def remove(self, item: Item) -> bool:
        """Take an item out of turn; whether it was there."""
        if item in self._items:
            self._items.remove(item)
            return True
        for name, queue in self._owners.items():
            if queue.remove(item):
                if not len(queue):
                    del self._owners[name]
                return True
        return False
