"""For scripts/same_runs.py: the list of runs, their files and comparison, and the process that does them."""
