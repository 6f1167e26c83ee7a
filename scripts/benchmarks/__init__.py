"""The rows of scripts/bench.py, a module each, and what they share: scenes, timing, memory."""
