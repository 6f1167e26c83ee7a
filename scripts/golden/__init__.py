"""The runs of scripts/same_runs.py: their list, files and comparison, and the process that does them."""
