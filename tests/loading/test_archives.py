"""Files that come as members of a zip or tar, which is downloaded once for all of them."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from lilawbench.loading.download import CHUNK_BYTES, fetch
from lilawbench.support.errors import DataError

CONTENT = bytes(i * i % 251 for i in range(5 * CHUNK_BYTES + 17))
CUT = 2 * CHUNK_BYTES


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        for name, member in members.items():
            content.writestr(f"folder/{name}.txt", member)
    return file.getvalue()


@pytest.fixture
def zip_url(server):
    server.files["/all.zip"] = zipped(a=CONTENT, b=b"second")
    return server.url.replace("file.bin", "all.zip")


def test_members_of_a_zip_share_its_download(data_dir, server, zip_url, left_in):
    server.cuts = [CUT]
    path = fetch("set/a.txt", [zip_url], md5(CONTENT), data_dir, member="a.txt")
    assert path == data_dir / "set" / "a.txt" and path.read_bytes() == CONTENT
    assert fetch("set/b.txt", [zip_url], md5(b"second"), data_dir, member="b.txt").read_bytes() == b"second"
    assert server.asked == [("/all.zip", None), ("/all.zip", f"bytes={CUT}-")]
    assert left_in(data_dir) == ["a.txt", "all.zip", "b.txt"]


@pytest.mark.parametrize(
    "content, reason",
    [
        (zipped(b=CONTENT), r"there is no a\.txt in the zip"),
        (zipped(a=b"other"), f"the md5 {md5(b'other')}, expected {md5(CONTENT)}"),
        (zipped(a=CONTENT).replace(CONTENT[:8], b"#" * 8), "Bad CRC-32"),
        (b"<html>", "not a zip file"),
    ],
    ids=["no member", "other member", "damaged", "no zip"],
)
def test_zip_that_does_not_hold_the_member(content, reason, data_dir, server, zip_url, left_in):
    server.files["/all.zip"] = content
    with pytest.raises(DataError, match=reason):
        fetch("set/a.txt", [zip_url], md5(CONTENT), data_dir, member="a.txt")
    assert left_in(data_dir) == []


def test_zip_on_disk_is_used_and_a_bad_one_replaced(data_dir, server, zip_url):
    (data_dir / "set").mkdir()
    (data_dir / "set/all.zip").write_bytes(server.files["/all.zip"])
    assert fetch("set/b.txt", [zip_url], md5(b"second"), data_dir, member="b.txt").read_bytes() == b"second"
    assert server.asked == []
    (data_dir / "set/all.zip").write_bytes(b"<html>")
    assert fetch("set/a.txt", [zip_url], md5(CONTENT), data_dir, member="a.txt").read_bytes() == CONTENT
    assert (data_dir / "set/all.zip").read_bytes() == server.files["/all.zip"]


def tarred(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as content:
        folder = tarfile.TarInfo("a")  # not the file of that name
        folder.type = tarfile.DIRTYPE
        content.addfile(folder)
        for name, member in members.items():
            entry = tarfile.TarInfo(f"folder/{name}")
            entry.size = len(member)
            content.addfile(entry, io.BytesIO(member))
    return file.getvalue()


def test_members_of_a_packed_tar_share_its_download(data_dir, server, left_in):
    server.files["/all.tar.gz"] = tarred(b=b"second", a=CONTENT)
    url = server.url.replace("file.bin", "all.tar.gz")
    assert fetch("set/a", [url], md5(CONTENT), data_dir, member="a").read_bytes() == CONTENT
    assert fetch("set/b", [url], md5(b"second"), data_dir, member="b").read_bytes() == b"second"
    assert server.asked == [("/all.tar.gz", None)]
    assert left_in(data_dir) == ["a", "all.tar.gz", "b"]


@pytest.mark.parametrize(
    "content, reason",
    [
        (tarred(b=CONTENT), "there is no a in the tar"),
        (tarred(a=b"other"), f"the md5 {md5(b'other')}, expected {md5(CONTENT)}"),
        (tarred(a=CONTENT)[: len(tarred(a=CONTENT)) // 2], "EOFError|unexpected end of data"),
    ],
    ids=["no member", "other member", "cut short"],
)
def test_tar_that_does_not_hold_the_member(content, reason, data_dir, server, left_in):
    server.files["/all.tar.gz"] = content
    with pytest.raises(DataError, match=reason):
        fetch("set/a", [server.url.replace("file.bin", "all.tar.gz")], md5(CONTENT), data_dir, member="a")
    assert left_in(data_dir) == []
