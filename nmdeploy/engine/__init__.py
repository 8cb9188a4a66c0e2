"""The compiled engine, which runs the ``compiled`` backend (docs/engine.md).

A neuron's own integer step runs once on symbols and leaves a graph of its operations (`trace`). An interval analysis
bounds every value of the graph (`bounds`). The operations get an order, lanes and memory slots (`lower`). They are
written as vector code and compiled by LLVM (`llvm`), and run on the samples (`run`). No family is known here by name.
"""
