"""lilawbench: a Hydra-configured experiment runner for learning with noisy labels."""

__version__ = "0.6.0"
