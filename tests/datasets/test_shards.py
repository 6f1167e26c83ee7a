"""Images in tar files: parts, labels and names, in memory or not; what is refused, and by which words."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from lilawbench.datasets import tar_index
from lilawbench.datasets.shards import Shards
from lilawbench.loading.image_files import ImageFiles, loaded
from lilawbench.support.errors import DataError


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 5), (grey, grey, grey)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def pack(tmp_path):
    """pack("train-0.tar", {"a.png": bytes, ...}) -> the folder that has this file."""

    def make(name: str, members: dict[str, bytes]) -> str:
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return str(tmp_path / "mine")

    return make


def samples(first: int, count: int, classes=("ant", "bee")) -> dict[str, bytes]:
    """Samples of one grey each, classes in turn."""
    members = {}
    for i in range(first, first + count):
        members |= {f"{i:03d}.png": png(i), f"{i:03d}.cls": str(classes[i % len(classes)]).encode()}
    return members


def greys(inputs) -> list[int]:
    return loaded(inputs)[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("gb", [1, 0])
def test_parts_by_name_in_memory_and_in_their_files(pack, check_types, gb):
    pack("train-10.tar", samples(20, 3))
    pack("train-2.tar", samples(10, 4))
    pack("my-validation-0.tar", samples(40, 2))
    source = Shards(pack("test-0.tar", samples(50, 2)), size=4, resident_gb=gb).load(None)
    assert isinstance(source.train_input, torch.Tensor if gb else ImageFiles)
    assert greys(source.train_input) == [10, 11, 12, 13, 20, 21, 22] and source.train_clean.tolist() == [0, 1] * 3 + [0]
    assert greys(source.val_input) == [40, 41] and greys(source.test_input) == [50, 51]
    assert source.train_ids[:5].tolist() == [f"train-{name}" for name in ("2.tar:010", "2.tar:011", "2.tar:012",
                                                                         "2.tar:013", "10.tar:020")]  # fmt: skip
    assert source.class_names == ("ant", "bee") and source.val_clean.tolist() == [0, 1] and not source.clean_known
    assert greys(source.train_input[np.array([5, 0])]) == [21, 10]
    if gb:
        check_types(source, 2)


def test_folders_and_patterns_say_parts_too_and_without_a_test_part_one_is_drawn(pack):
    pack("train/0.tar", samples(10, 8))
    root = pack("test/0.tar", samples(30, 2))
    assert greys(Shards(root, size=4).load(None).test_input) == [30, 31]
    source = Shards(root, size=4, train="{train,test}/{0..0}.tar", test_fraction=0.2).load(None)
    assert len(source.train_clean) == 8 and np.bincount(source.test_clean).tolist() == [1, 1]
    every = greys(source.train_input) + greys(source.test_input)
    assert sorted(every) == [*range(10, 18), 30, 31]
    assert {f"{name.split('/')[0]}" for name in (*source.train_ids, *source.test_ids)} == {"train", "test"}
    one = Shards(f"{root}/train/0.tar", size=4, test_fraction=0.25).load(None)
    assert len(one.train_clean) == 6 and one.train_ids[0].startswith("0.tar:")


def test_labels_of_json_and_names_of_a_file(pack, tmp_path):
    members = {}
    for i in range(6):
        about = json.dumps({"class": i % 3, "site": "nord"}).encode()
        members |= {f"a/{i}.seen.png": png(i), f"a/{i}.left.png": png(i + 100), f"a/{i}.json": about}
    root = pack("train-0.tar", members | {"a/._0.png": b"?", "__notes__.txt": b"?"})
    pack("test-0.tar", members)
    (tmp_path / "mine" / "classnames.txt").write_text("zebra\nant\nbee\n")
    source = Shards(root, size=4, image="left.png", label="json.class").load(None)
    assert source.class_names == ("zebra", "ant", "bee") and source.train_clean.tolist() == [0, 1, 2] * 2
    assert greys(source.train_input) == [100, 101, 102, 103, 104, 105] and source.train_ids[0] == "train-0.tar:a/0"
    (tmp_path / "names").write_text("x\ny\n")
    with pytest.raises(DataError, match="train is 2 in row 2 .*none of the 2 classes"):
        Shards(root, size=4, image="left.png", label="json.class", class_names=f"{tmp_path}/names").load(None)


@pytest.mark.parametrize(
    "members, message",
    [
        ({}, "train-0.tar has no sample; remove it"),
        ({"a.png": b"?"}, "sample a has the member.s. png and no label 'cls'; name its ending as dataset.label"),
        ({"a.cls": b"1"}, "sample a has the member.s. cls and no image; dataset.image names"),
        ({"a.png": b"?", "a.jpg": b"?", "a.cls": b"1"}, "sample a has several images, png, jpg; name the ending"),
        ({"a.png": b"?", "a.cls": b""}, "train-0.tar: a.cls is empty; a label is a class number or name"),
        ({"a.png": b"?", "a.cls": b"\xff"}, "train-0.tar: a.cls is no UTF-8 text"),
        ({"a.png": b"?", "a.cls": b"1", "b.png": b"?", "b.cls": b"dog"},
         r"labels are numbers and text, such as 1 \(train-0.tar:a\) and dog \(train-0.tar:b\)"),
        ({"a.png": b"?", "a.cls": b"1"}, "the labels have one class only, 1; a classifier needs two"),
        (samples(0, 9) | {"9.png": b"no image", "9.cls": b"bee"},
         r"1 of 10 images cannot be read: .*train-0.tar:9 \(UnidentifiedImageError: cannot identify image file\)"),
    ],
)  # fmt: skip
def test_samples_that_are_refused(pack, members, message):
    with pytest.raises(DataError, match=message):
        Shards(pack("train-0.tar", members), size=4).load(None)


def test_files_that_are_refused(pack, tmp_path):
    root = pack("train-0.tar", samples(0, 8))
    file = tmp_path / "mine" / "train-0.tar"
    whole = file.read_bytes()
    members = [start for start in range(0, len(whole), 512) if whole[start + 257 : start + 262] == b"ustar"]
    damaged = bytearray(whole)
    damaged[members[5] + 150] ^= 255  # its header's checksum
    for content, message in [
        (whole[:700], "is no whole tar file"),
        (whole[: members[5] + 512], "is no whole tar file .*cut off or damaged"),
        (whole[: members[5]], "has no end mark: it was cut off"),
        (bytes(damaged), "goes on after its end, or is damaged near byte"),
        (whole + whole, "if tar files were joined, keep them apart"),
        (b"no tar", "is no whole tar file"),
        (b"\x1f\x8bzip", "is compressed"),
        (b"", "is no whole tar file"),
    ]:
        file.write_bytes(content)
        with pytest.raises(DataError, match=message):
            Shards(root, size=4).load(None)
    with tarfile.open(file, "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match="a.png is a link or no plain file"):
        Shards(root, size=4).load(None)


def test_parts_that_are_refused(pack, tmp_path):
    root = pack("train-0.tar", samples(0, 4))
    pack("more.tar", samples(0, 4))
    refused = [
        ({}, "train-0.tar says which part it is, more.tar does not"),
        ({"train": "x-{0..3}.tar"}, r"dataset.train=x-\{0..3\}.tar: .* has no file x-0.tar"),
        ({"train": "*.tar", "test": "more.tar"}, "more.tar is in two parts"),
    ]
    for options, message in refused:
        with pytest.raises(DataError, match=message):
            Shards(root, size=4, **options).load(None)
    pack("train-test.tar", samples(0, 4))
    with pytest.raises(DataError, match="may be test or train; rename it"):
        Shards(root, size=4).load(None)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="has no .tar file"):
        Shards(str(tmp_path / "none")).load(None)
    with pytest.raises(DataError, match="dataset.path=nowhere does not exist"):
        Shards("nowhere").load(tmp_path)
    with pytest.raises(ValueError, match="json.FIELD"):
        Shards(root, label="json")


def test_the_index_is_kept_and_made_anew_for_other_files(pack, monkeypatch):
    monkeypatch.setattr(tar_index, "WORTH_SECONDS", 0)
    root, read = pack("train-0.tar", samples(0, 10)), []
    read_file = tar_index._read
    monkeypatch.setattr(tar_index, "_read", lambda path, wanted: read.append(path.name) or read_file(path, wanted))
    first, again = (Shards(root, size=4).load(None) for _ in range(2))
    assert read == ["train-0.tar"] and torch.equal(first.train_input, again.train_input)
    assert first.train_ids.tolist() == again.train_ids.tolist()
    next((tar_index.cache_dir() / "shards").glob("*.npz")).write_bytes(b"damaged")
    Shards(root, size=4).load(None)
    pack("train-0.tar", samples(3, 10))
    assert sorted(greys(Shards(root, size=4).load(None).train_input))[-1] > 9 and len(read) == 3


def test_a_file_that_has_become_shorter_is_named(pack, tmp_path):
    source = Shards(pack("train-0.tar", samples(0, 10)), size=4, resident_gb=0).load(None)
    before = [tensor.tolist() for tensor in source.train_input.identity()]
    (tmp_path / "mine" / "train-0.tar").write_bytes(b"")
    with pytest.raises(DataError, match="train-0.tar is shorter than it was"):
        source.train_input.load()
    changed = Shards(pack("train-0.tar", samples(1, 10)), size=4, resident_gb=0).load(None)
    assert before != [tensor.tolist() for tensor in changed.train_input.identity()]
