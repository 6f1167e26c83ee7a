"""What the READMEs hold: blocks, commands, code within a line; and the folder `mine` that their examples make."""

import io
import json
import re
import shlex
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from lilawbench import train
from lilawbench.record import code
from lilawbench.record.writer import write_config
from lilawbench.support import searchpath

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", ROOT / "outputs" / "README.md"]
READMES += sorted(
    path for top in ("conf", "lilawbench", "scripts", "tests") for path in (ROOT / top).rglob("README.md")
)
FENCED = re.compile(r"^```(\S*)\n(.*?)^```$", re.M | re.S)
WITHIN = re.compile(r"`([^`\n]+)`")
PROGRAMS = ("python", "make", "torchrun", "pip", "lilawbench")


class Block(NamedTuple):
    """What stands between two fences."""

    readme: Path
    language: str
    text: str


class Command(NamedTuple):
    """One command of a README."""

    readme: Path
    words: list[str]
    text: str

    def __str__(self) -> str:
        return f"{self.readme.relative_to(ROOT)}: {self.text}"


def blocks_of(readme: Path) -> list[Block]:
    return [Block(readme, *found) for found in FENCED.findall(readme.read_text(encoding="utf-8"))]


def prose_of(readme: Path) -> str:
    """The rest, with its tables."""
    return FENCED.sub("", readme.read_text(encoding="utf-8"))


def commands_of(readme: Path) -> list[Command]:
    """Lines of `sh` blocks, and code within a line that begins with a program's name and goes on."""
    lines = [line for block in blocks_of(readme) if block.language == "sh"
             for line in block.text.replace("\\\n", " ").splitlines()]  # fmt: skip
    lines += [code for code in WITHIN.findall(prose_of(readme)) if " " in code and code.split()[0] in PROGRAMS]
    split = [(shlex.split(line, comments=True), line) for line in lines]
    return [Command(readme, words, " ".join(line.split())) for words, line in split if words]


def kind_of(command: Command) -> tuple[Path, ...] | tuple[str, ...]:
    """Commands that train are of one kind within a README, which has several; those of pip are of one kind, and those
    of a script."""
    if "lilawbench.train" in command.words:
        return (command.readme,)
    if command.words[0] == "python" and command.words[1].startswith("scripts/"):
        return (command.words[1],)
    return ("pip",) if command.words[0] == "pip" else (command.text,)


def pytest_generate_tests(metafunc):
    if "command" in metafunc.fixturenames:
        once = {command.text: command for readme in READMES for command in commands_of(readme)}
        first = {kind_of(command): command for command in reversed(once.values())}
        metafunc.parametrize(
            "command",
            [
                pytest.param(command, marks=[] if first[kind_of(command)] is command else pytest.mark.slow)
                for command in once.values()
            ],
            ids=str,
        )
    if "readme" in metafunc.fixturenames:
        metafunc.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))


@pytest.fixture(scope="session")
def readmes():
    return {readme: (blocks_of(readme), prose_of(readme)) for readme in READMES}


@pytest.fixture(scope="session")
def examples(readmes):
    """Blocks that begin with the path of a file below `mine`, by that path."""
    blocks = [block for found, _ in readmes.values() for block in found]
    named = [(re.match(r"(?:# @package \S+\n)?# mine/(\S+)\n", block.text), block.text) for block in blocks]
    return {match[1]: text for match, text in named if match}


@pytest.fixture
def mine(examples, tmp_path, monkeypatch):
    """The folder of a stranger's parts, as the READMEs show them; the tests' current folder is the one above it."""
    for name, text in examples.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # what a command adds is gone after it
    monkeypatch.setattr(searchpath, "_used", [])
    monkeypatch.setattr(code, "_places", {})
    for name in examples:  # as in a process of its own: the module is read anew
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    return tmp_path / "mine"


def write_packed(draw: np.random.Generator) -> None:
    """24 images as a tar file and as a folder of `datasets`."""
    Path("my_shards").mkdir()
    rows = []
    with tarfile.open("my_shards/train-0.tar", "w") as tar:
        for i in range(24):
            file = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(file, "png")
            rows.append({"image": file.getvalue(), "label": i % 2})
            for ending, content in (("png", file.getvalue()), ("cls", str(i % 2).encode())):
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    Path("my_dataset").mkdir()
    told = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    table = pyarrow.Table.from_pylist(rows).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": told}})}
    )
    parquet.write_table(table, "my_dataset/train.parquet")


@pytest.fixture
def small_files(mine, composing):
    """What the commands name, in the current folder, small: tables, images, arrays, a kernel."""
    draw = np.random.default_rng(0)
    rows = [f"{i},{draw.normal():.3f},{'mf'[i % 2]},{'abc'[i % 3]},{draw.normal():.3f}" for i in range(90)]
    Path("patients.csv").write_text("\n".join(["id,age,sex,diagnosis,dose", *rows]) + "\n")
    reviews = "".join(f'"{word} film, {word}",{stars}\n' for word, stars in [("good", 5), ("bad", 1)] * 45)
    Path("reviews.csv").write_text(f"review,stars\n{reviews}")
    for name in ("cat", "dog"):
        Path("my_images", name).mkdir(parents=True)
        for i in range(12):
            pixels = draw.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(f"my_images/{name}/{i}.png")
    run = Path("outputs", "default", "RUN")
    run.mkdir(parents=True)
    write_config(run, composing("debug=fast"))
    labels = np.arange(60) % 3
    np.savez("my.npz", train_images=draw.integers(0, 256, (60, 8, 8)), train_labels=labels, train_aggre=labels)
    write_packed(draw)
    names = "".join(f"line {i + 2},{'abc'[i % 3]}\n" for i in range(90))
    Path("corrected.csv").write_text(f"id,corrected\n{names}")
    np.savetxt("kernel.csv", (1 - np.eye(10)) / 9, delimiter=",", header="mistakes")


@pytest.fixture
def command_line(monkeypatch, capsys):
    """command_line(*arguments) -> what `python -m lilawbench.train` prints; it must end well."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["lilawbench", *arguments])
        with pytest.raises(SystemExit) as ended:
            train.main()
        said = capsys.readouterr()
        assert not ended.value.code, said.out + said.err
        return said.out

    return call
