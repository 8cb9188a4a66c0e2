"""A neuron's integer step as a graph of symbols."""
