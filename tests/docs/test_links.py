"""The READMEs' form: links lead somewhere, every block says what it is, every folder has one."""

import re

import lilawbench.config as config

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
LANGUAGES = {"sh", "python", "yaml", "text"}


def anchors(text: str) -> set[str]:
    """Of the headings, as hosting sites make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(readme, readmes):
    _, prose = readmes[readme]
    for link in LINK.findall(prose):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (readme.parent / name).resolve() if name else readme
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(readmes[target][1]), link


def test_every_block_says_what_it_is(readme, readmes):
    """Indented blocks cannot."""
    blocks, prose = readmes[readme]
    assert {block.language for block in blocks} <= LANGUAGES
    assert "```" not in prose
    assert re.findall(r"^\n {4}\S.*$", prose, re.M) == []


def test_every_folder_that_a_reader_opens_has_one(readmes):
    package = config.CONF.parent / "lilawbench"
    rooms = [path.parent for path in package.glob("*/__init__.py")]
    folders = [package, *rooms, config.CONF, config.CONF / "dataset", config.CONF / "experiment"]
    assert [folder for folder in folders if folder / "README.md" not in readmes] == []


def test_the_first_one_is_short_and_names_every_room(readmes):
    root = config.CONF.parent
    text = (root / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 8192
    for name in ("README.md", "lilawbench/README.md"):
        listing = (root / name).read_text(encoding="utf-8")
        rooms = {path.parent.name for path in (root / "lilawbench").glob("*/__init__.py")} - {"support"}
        assert [room for room in rooms if f"{room}/" not in listing] == []
