"""What a launcher's options may be."""

import pytest
from omegaconf import OmegaConf

from lilawbench.config import CONF, Plain
from lilawbench.launch.options import KINDS, check_launcher
from lilawbench.support.errors import ConfigError


def given(launcher: str, **changed: object) -> Plain:
    node = OmegaConf.to_container(OmegaConf.load(CONF / "launcher" / f"{launcher}.yaml"), resolve=False)
    return Plain(node.get("launcher", {"name": launcher}) | changed)


@pytest.mark.parametrize("name", KINDS)
def test_the_options_of_each_yaml_have_kinds_and_pass(name):
    check_launcher(given(name))
    assert given(name).keys() - {"name"} == KINDS[name].keys()


@pytest.mark.parametrize(
    "name, key, value, said",
    [
        ("joblib", "processes", 0, "launcher.processes is 0; it must be > 0"),
        ("joblib", "processes", 5000, "launcher.processes is 5000; it must be from 1 to 1024"),
        ("joblib", "processes", "all", "launcher.processes is all (text); it must be a whole number or null"),
        ("joblib", "memory_gb_per_run", float("nan"), "launcher.memory_gb_per_run is nan"),
        ("slurm", "setup", "module load x", "launcher.setup=[module load x]"),
        ("slurm", "grace_s", -1, "launcher.grace_s is -1; it must be >= 0"),
        ("slurm", "time_mins", 1, "launcher.time_mins is not an option of slurm; did you mean time_min?"),
        ("local", "name", "cloud", "launcher.name is cloud; it must be local or joblib or slurm"),
    ],
)
def test_what_they_cannot_be_is_said(name, key, value, said):
    with pytest.raises(ConfigError) as refused:
        check_launcher(given(name, **{key: value}))
    assert said in str(refused.value)
