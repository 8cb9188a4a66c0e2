"""Live torch modules of other frameworks, one file per framework.

A framework's file has these constants:

- ``TITLE``, ``PACKAGE``: its name, and the package that it is imported from;
- ``DT``: seconds per step of a module that has no time step of its own;
- ``STEPS_AXIS``: the axis of the steps in a call that runs all of them;
- ``STATELESS``: its own layers without states, by class name; each value returns the layer's `Affine`, or None if the
  layer changes nothing. Layers that derive from torch's need no entry.

It has four functions of a layer's module:

- ``is_neuron(leaf) -> bool``: True for its neurons, supported or not;
- ``takes_sequence(leaf) -> bool``: True if one call runs all steps;
- ``forget(leaf)``: sets the states to their start;
- ``read(name, leaf, size, dtype_of) -> Layer``: what the layer computes, or `UnsupportedParameter`.
"""
