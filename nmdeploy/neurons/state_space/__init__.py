"""General spiking state-space neuron."""
