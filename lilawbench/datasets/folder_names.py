"""What the names in a folder of images mean: images, parts of a split, and what nobody means as data."""

import re

from lilawbench.loading.image_files import shown
from lilawbench.loading.pixels import ENDINGS

IMAGES = frozenset(ending[1:].encode() for ending in ENDINGS)
# endings of files that are not worth a look inside: notes beside the images, arrays, what a program left unfinished
OTHERS = frozenset(b"txt csv tsv xml json md html yaml yml npy npz log bak tmp part crdownload swp".split())
HIDDEN = frozenset(
    [b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b"__macosx", b"@eadir", b"#recycle", b"@recycle", b"$recycle.bin",
     b"system volume information", b"lost+found", b"__pycache__"]
)  # fmt: skip
PARTS = ("train", "val", "test")
PART = re.compile(
    r"(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ation)?)?)|(?P<test>test(?:ing)?))[ _-]?(?:set|data|images)?", re.I
)
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def is_hidden(name: bytes) -> bool:
    """Whether a name is one that systems and tools leave behind."""
    return name[:1] == b"." or name.lower() in HIDDEN


def ending_of(name: bytes) -> bytes:
    """What follows the last dot, in small letters; b"" if there is none."""
    return name.rpartition(b".")[2].lower() if b"." in name else b""


def part_of(folder: bytes) -> str | None:
    """train, val or test, of a folder so named in any case: `Training`, `valid`, `test_set`."""
    found = PART.fullmatch(shown(folder))
    return None if found is None else found.lastgroup


def like_a_part(folder: bytes) -> bool:
    """Whether a word in a name is that of a part: `images_train`, `test2017`, `trainA`."""
    return any(PART.fullmatch(word) for word in WORD.findall(shown(folder)))
