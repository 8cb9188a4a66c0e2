"""Order, loops and timing of random graphs are those of the first implementation, which was slow in deep networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmdeploy.engine.lower.order import components
from nmdeploy.errors import UnsupportedParameter
from nmdeploy.network.graph import Edge, Graph
from nmdeploy.network.timing import timing_of
from nmdeploy.nir_io.graph import _leads_back


@dataclass(frozen=True)
class Node:
    """Stand-in for a node, with all that the topology asks; a window of r steps makes its output r - 1 steps late."""

    role: str
    window: int = 1

    @property
    def output_latency(self) -> int:
        return self.window - 1

    def hold_steps(self, arriving: int) -> int:
        return self.window if self.window > 1 else arriving


@dataclass(frozen=True, eq=False, repr=False)
class Topology(Graph):
    """A graph whose nodes hold no numbers."""

    nodes: dict[str, Any]
    edges: tuple[Edge, ...]
    output: str
    dt: float = 1e-3
    readout: str = "sum"


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Up to six populations in any order, and up to ten synapses, each from one or two sources; delays of 0 to 4."""
    names = [f"p{index}" for index in range(draw(st.integers(1, 6)))]
    nodes = {"input": Node("input")} | {name: Node("population", draw(st.sampled_from([1, 1, 3]))) for name in names}
    edges: list[Edge] = []
    for index in range(draw(st.integers(1, 10))):
        sources = draw(st.lists(st.sampled_from(["input", *names]), min_size=1, max_size=2, unique=True))
        nodes[f"s{index}"] = Node("synapse")
        edges += [Edge(source, f"s{index}", draw(st.sampled_from([0, 0, 1, 4]))) for source in sources]
        edges.append(Edge(f"s{index}", draw(st.sampled_from(names))))
    shuffled = draw(st.permutations(list(nodes)))
    return Topology({name: nodes[name] for name in shuffled}, tuple(edges), names[-1])


def result(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the text of its refusal."""
    try:
        return call()
    except UnsupportedParameter as error:
        return str(error)


@given(topologies(), st.randoms(use_true_random=False))
def test_the_order_of_nodes_and_the_edges_of_loops_are_those_of_before(graph: Topology, random: Any) -> None:
    shuffled = replace(graph, edges=tuple(random.sample(graph.edges, len(graph.edges))))
    for each in (graph, shuffled):
        assert result(lambda: each.order) == result(lambda: old_order(each))  # noqa: B023 - called here
        assert [each.closes_loop(edge) for edge in each.edges] == [old_closes_loop(each, edge) for edge in each.edges]
        assert [_leads_back(each, e) for e in each.edges] == [e.source in old_step(each, e.target) for e in each.edges]


@given(topologies())
def test_the_groups_of_the_engine_are_those_of_before(graph: Topology) -> None:
    if not isinstance(result(lambda: graph.order), str):
        assert components(graph) == old_groups(graph)


@given(topologies(), st.randoms(use_true_random=False))
def test_the_timing_is_that_of_before_whatever_the_order_of_the_edges(graph: Topology, random: Any) -> None:
    """Before, the offsets were lost where an edge out of a synapse came before the edge into it."""
    found = result(lambda: timing_of(graph))
    if isinstance(found, str):
        return
    assert found.start_offset == old_start_offsets(graph)
    assert found.send_steps == {name: old_send_steps(graph, name, found.hold_steps) for name in graph.nodes}
    shuffled = replace(graph, edges=tuple(random.sample(graph.edges, len(graph.edges))))
    assert timing_of(shuffled).start_offset == found.start_offset
    assert timing_of(shuffled).arrival_step == found.arrival_step


def test_a_chain_of_any_depth_and_a_loop_of_any_length() -> None:
    """Nothing recurs: Python's limit is 1,000 calls."""
    names = [f"n{index}" for index in range(3_000)]
    nodes = {name: Node("population" if index % 2 else "synapse") for index, name in enumerate(reversed(names))}
    edges = [Edge(source, target) for source, target in pairwise(names)]
    assert Topology(nodes, tuple(edges), names[-1]).order == names
    loop = Topology(nodes, (*edges, Edge(names[-1], names[0], 1)), names[-1])
    assert loop.order == names
    assert set(loop.components.values()) == {0}
    with pytest.raises(UnsupportedParameter, match="form a loop without a delay"):
        _ = replace(loop, edges=(*edges, Edge(names[-1], names[0]))).order


def test_the_mappings_of_a_network_are_made_once_and_are_read_only() -> None:
    from networks import lif_case

    network = lif_case(1).network
    assert network.populations is network.populations and network.synapses is network.synapses
    with pytest.raises(TypeError):
        network.populations["another"] = None  # type: ignore[index]


# The first implementation.


def old_reachable(graph: Graph) -> dict[str, set[str]]:
    onward: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for edge in graph.edges:
        onward[edge.source].append(edge.target)
    return {name: old_reached(name, onward) for name in graph.nodes}


def old_reached(start: str, onward: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    front = [start]
    while front:
        new = [name for name in onward[front.pop()] if name not in found]
        found.update(new)
        front += new
    return found


def old_closes_loop(graph: Graph, edge: Edge) -> bool:
    return edge.delay > 0 and edge.source in old_reachable(graph)[edge.target]


def old_order(graph: Graph) -> list[str]:
    reachable = old_reachable(graph)
    done: dict[str, None] = {}
    left = dict.fromkeys(graph.nodes)

    def is_done(edge: Edge) -> bool:
        return edge.source in done or (edge.delay > 0 and edge.source in reachable[edge.target])

    while left:
        ready = [n for n in left if all(map(is_done, graph.incoming[n]))]
        if not ready:
            raise UnsupportedParameter(f"nodes {sorted(left)} form a loop without a delay: give its feedback edge one")
        for name in ready:
            done[name] = left.pop(name)
    return list(done)


def old_step(graph: Graph, start: str) -> set[str]:
    """Return the nodes that a spike in `start` reaches within its step."""
    found, front = {start}, [start]
    while front:
        name = front.pop()
        new = [e.target for e in graph.edges if e.source == name and e.delay == 0 and e.target not in found]
        found.update(new)
        front += new
    return found


def old_start_offsets(graph: Graph) -> dict[str, int]:
    offsets = dict.fromkeys(graph.nodes, 0)
    before: dict[str, int] = {}
    while offsets != before:
        before = dict(offsets)
        for edge in graph.edges:
            wait = offsets[edge.source] + graph.nodes[edge.source].output_latency + min(0, 1 - edge.delay)
            offsets[edge.target] = max(offsets[edge.target], wait)
        for synapse, target in graph.target.items():
            offsets[synapse] = offsets[target]
    return offsets


def old_send_steps(graph: Graph, name: str, hold_steps: Any) -> int:
    fed = [hold_steps[edge.target] for edge in graph.edges if edge.source == name]
    return int(hold_steps[name]) if all(steps == hold_steps[name] for steps in fed) else 1


def old_groups(graph: Graph) -> list[tuple[list[str], bool]]:
    follows = old_reachable(graph)
    group: dict[str, frozenset[str]] = {}
    for name in graph.order:
        group[name] = frozenset({name} | {other for other in follows[name] if name in follows[other]})
    for synapse, target in graph.target.items():
        if len(group[target]) > 1 and synapse not in group[target]:
            joined = group[target] | group[synapse]
            group |= dict.fromkeys(joined, joined)
    return list(old_sorted(graph, group))


def old_sorted(graph: Graph, group: dict[str, frozenset[str]]) -> Iterator[tuple[list[str], bool]]:
    left, done = list(dict.fromkeys(group[name] for name in graph.order)), set[str]()
    while left:
        ready = next(
            g for g in left if all(e.source in done or e.source in g for name in g for e in graph.incoming[name])
        )
        left.remove(ready)
        done |= ready
        yield [name for name in graph.order if name in ready], len(ready) > 1
