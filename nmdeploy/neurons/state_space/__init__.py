"""The general spiking state-space neuron."""
