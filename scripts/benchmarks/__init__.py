"""The rows of scripts/bench.py, a module each, and shared code: scenes, timing, memory."""
