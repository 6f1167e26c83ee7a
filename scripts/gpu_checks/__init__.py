"""The parts of scripts/check_gpu.py, a module each, and shared code: driver, worker, checks."""
