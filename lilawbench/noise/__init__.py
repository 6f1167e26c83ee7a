"""Label noise: clean labels in, observed labels out, once per run. Each name is a YAML of the `noise` group.

A noise is a function of (clean, num_classes, generator), its options bound, or a class that checks its options when it
is built and is called with the same. An argument named `inputs` asks for a function that gives the inputs of rows by
their numbers, one named `class_names` for the data set's, one named `ids` for the rows' names, one named `drawn_test`
for how many of the user's rows were drawn as test rows, one named `fetch` for a function that finds official files
(loading/download.py).
"""

from lilawbench.noise.file import File
from lilawbench.noise.human import Human
from lilawbench.noise.instance import Instance
from lilawbench.noise.one_sided import OneSided
from lilawbench.noise.targets import label_flip, target_gaussian, target_uniform
from lilawbench.noise.transition import (
    asymmetric,
    class_frequency,
    dirichlet,
    kernel,
    none,
    symmetric,
    symmetric_inclusive,
    transition,
)

__all__ = [
    "File",
    "Human",
    "Instance",
    "OneSided",
    "asymmetric",
    "class_frequency",
    "dirichlet",
    "kernel",
    "label_flip",
    "none",
    "symmetric",
    "symmetric_inclusive",
    "target_gaussian",
    "target_uniform",
    "transition",
]
