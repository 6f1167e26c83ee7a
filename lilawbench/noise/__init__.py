"""Label noise: clean labels in, observed labels out, once per run. Each name is a YAML of the `noise` group."""

from lilawbench.noise.transition import asymmetric, dirichlet, none, symmetric, symmetric_inclusive, transition

__all__ = ["asymmetric", "dirichlet", "none", "symmetric", "symmetric_inclusive", "transition"]
