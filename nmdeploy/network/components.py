"""Strongly connected components of a directed graph: groups of nodes each of which leads to all others of its group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def components(onward: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return the number of each node's component; `onward` holds the nodes that each node leads to.

    The time is linear in nodes and edges, and nothing recurs (Kosaraju's algorithm; Aho, Hopcroft and Ullman, Data
    Structures and Algorithms, 1983).

    >>> components({"a": ["b"], "b": ["c"], "c": ["b"]})
    {'a': 0, 'b': 1, 'c': 1}
    """
    back: dict[str, list[str]] = {name: [] for name in onward}
    for name, targets in onward.items():
        for target in targets:
            back[target].append(name)
    found: dict[str, int] = {}
    for number, start in enumerate(reversed(_left(onward))):
        front = [] if start in found else [start]
        while front:
            name = front.pop()
            found[name] = number
            front += [source for source in back[name] if source not in found]
    return found


def _left(onward: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes in the order in which a depth-first search leaves them."""
    order: list[str] = []
    seen: set[str] = set()
    for start in onward:
        path = [] if start in seen else [(start, iter(onward[start]))]
        seen.add(start)
        while path:
            name, targets = path[-1]
            following = next((target for target in targets if target not in seen), None)
            if following is None:
                order.append(name)
                path.pop()
            else:
                seen.add(following)
                path.append((following, iter(onward[following])))
    return order
