"""Live torch modules of other frameworks, one file per framework.

A framework's file has ``TITLE``, ``PACKAGE``, ``DT`` (of modules without their own), ``STEPS_AXIS`` (of the steps, where
one call runs all), ``STATELESS`` (its own layers without states: class name to a function that returns the layer's
`Affine`, or None if it changes nothing) and four functions of a layer's module:

- ``is_neuron(leaf) -> bool``: True for its neurons, supported or not;
- ``takes_sequence(leaf) -> bool``: True if one call runs all steps;
- ``forget(leaf)``: sets the states to their start;
- ``read(name, leaf, size, dtype_of) -> Layer``: what the layer computes, or `UnsupportedParameter`.
"""
