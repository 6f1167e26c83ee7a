"""The parts of scripts/check_gpu.py, a module each, and what they share: driver, worker, checks."""
