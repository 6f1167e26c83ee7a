"""Label noise: clean labels in, observed labels out, once per run. Each name is a YAML of the `noise` group."""

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
