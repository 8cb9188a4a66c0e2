"""The compiled engine of the ``compiled`` backend (docs/engine.md).

`trace` runs a neuron's own integer step once on symbols, which leaves a graph. `bounds` bounds every value of the graph
by interval analysis. `lower` chooses lanes and memory, `llvm` writes vector code and compiles it, `run` runs it. The
engine knows no family by name.
"""
