"""Networks as users of frameworks write them, one per file; `examples/train_framework.py` trains them.

A file is found by its name and holds

    make_net()      the module, without arguments
    scores(net, x)  its readout (samples, classes) on a tensor (samples, steps, channels), to train and to classify with
    DATA            the samples: "spikes", "grey" or "sequence" (`examples/train_framework.py`)
    EPOCHS, RATE    of training

and, if the source cannot say it, ``OPTIONS``, the fields of `nmdeploy.network.read_options.ReadOptions` by name. A
network without a framework has ``to_network(net)``, which builds its `nmdeploy.Network`. Its ``recurrence(net, x)``
returns the spikes of each population by its name, step by step in float64, and the readout. Its ``convolution(net, x)``
returns the spikes in float32, and the error of the outputs.
"""
