"""The compiled engine behind the ``compiled`` backend: docs/engine.md.

A neuron's own integer step is run once on symbols (`trace`), what it did is a graph; an interval analysis bounds every
value of it (`intervals`), `population` writes it as vector code, and LLVM compiles that. No family is known here by
name.
"""
