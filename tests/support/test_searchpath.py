"""Which folders a command's search path names."""

import pytest

from lilawbench.support.errors import ConfigError
from lilawbench.support.searchpath import folders_of


def test_a_runs_folder_in_the_search_path_is_refused(tmp_path):
    """Its config.yaml would not be read, and the command would do another run without a word."""
    (tmp_path / "config.yaml").write_text("dataset: {}\nmethod: {}\nseed: 3\n")
    with pytest.raises(ConfigError, match=f"is a run's folder: use --config-dir {tmp_path}"):
        folders_of(None, [f"hydra.searchpath=[{tmp_path}]"])
    assert folders_of(tmp_path) == ([tmp_path], [])


@pytest.mark.parametrize("text", ["defaults: [config]\ndataset: {}\nmethod: {}\nseed: 3\n", "a: 1\n", "- a", "{"])
def test_another_config_is_none_of_a_run(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    assert folders_of(None, [f"hydra.searchpath=[{tmp_path}]", "seed=1"]) == ([tmp_path], ["seed=1"])
