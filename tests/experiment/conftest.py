"""Shared by the tests of the experiments."""

import functools

import pytest

from lilawbench.experiment.composer import composer


@pytest.fixture(scope="session")
def table_of():
    """table_of("lilaw_table5") -> the experiment's table, expanded."""

    @functools.cache
    def make(name: str):
        with composer() as composed:
            return composed.plain([f"experiment={name}"]).table

    return make
