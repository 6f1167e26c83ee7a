"""`check`: every problem of a composed config at once, before anything is written."""

from lilawbench.check.whole import check

__all__ = ["check"]
