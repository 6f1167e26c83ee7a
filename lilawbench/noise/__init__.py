"""Label noise: clean labels in, observed labels out, once per run. Each name is a YAML of the `noise` group."""

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
    "none",
    "symmetric",
    "symmetric_inclusive",
    "transition",
]
