"""Every download here is from a server on the loopback interface that can cut, ignore Range, or lie."""

import hashlib
import io
import logging
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lilawbench.loading.download import CHUNK_BYTES, cache_dir, fetch
from lilawbench.support.errors import DataError

NAME = "set/raw/file.bin"
CONTENT = bytes(i * i % 251 for i in range(5 * CHUNK_BYTES + 17))
CUT = 2 * CHUNK_BYTES


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = 0
        if server.knows_range and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        if server.encoding:
            self.send_header("Content-Encoding", server.encoding)
        self.end_headers()
        time.sleep(server.delay_seconds)
        end = len(content)
        if server.cuts:
            end = start + server.cuts.pop(0)
        self.wfile.write(content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files = {"/file.bin": CONTENT}
    server.asked = []  # (path, Range) of every request
    server.cuts = []  # bytes after which the next answers break off
    server.knows_range, server.encoding, server.delay_seconds = True, None, 0
    server.url = f"http://127.0.0.1:{server.server_port}/file.bin"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LILAWBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def closed_url(monkeypatch):
    """Nobody listens at this port."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/file.bin"


def put(folder, content: bytes, name: str = NAME):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def left_in(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".download.lock")


# where it looks


def test_data_dir_comes_before_cache_and_network(data_dir, cache, server):
    in_cache = put(cache, CONTENT)
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir) == in_cache
    in_data_dir = put(data_dir, CONTENT)
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir) == in_data_dir
    assert fetch(NAME, [server.url], md5(CONTENT), None) == in_cache
    assert server.asked == []


def test_downloads_to_data_dir_or_else_to_the_cache(data_dir, cache, server):
    assert fetch(NAME, [server.url], md5(CONTENT), None) == cache / NAME
    (cache / NAME).unlink()
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir) == data_dir / NAME
    assert (data_dir / NAME).read_bytes() == CONTENT
    assert left_in(data_dir) == ["file.bin"]


def test_data_dir_that_cannot_be_written_sends_the_download_to_the_cache(data_dir, cache, server):
    (data_dir / "set").write_text("a file where the folder would have to be")
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir) == cache / NAME


def test_no_folder_to_write_to(data_dir, cache, server):
    (data_dir / "set").write_text("")
    cache.write_text("")
    with pytest.raises(DataError, match=rf"{NAME} .*{md5(CONTENT)}.*LILAWBENCH_CACHE"):
        fetch(NAME, [server.url], md5(CONTENT), data_dir)
    assert server.asked == []


def test_cache_defaults_to_the_users_own(monkeypatch, cache):
    assert cache_dir() == cache
    monkeypatch.delenv("LILAWBENCH_CACHE")
    assert "lilawbench" in str(cache_dir())


# what it refuses


def test_data_dir_has_to_exist(tmp_path, server):
    with pytest.raises(DataError, match=r"nowhere does not exist.*paths\.data_dir.*LILAWBENCH_DATA"):
        fetch(NAME, [server.url], md5(CONTENT), tmp_path / "nowhere")


@pytest.mark.parametrize("place", ["data_dir", "cache"])
def test_damaged_file_is_named_and_left_alone(place, request, data_dir, server):
    path = put(request.getfixturevalue(place), CONTENT[:-1])
    with pytest.raises(DataError) as caught:
        fetch(NAME, [server.url], md5(CONTENT), data_dir)
    for part in (str(path), md5(CONTENT), md5(CONTENT[:-1]), "Delete it", "put a good copy there"):
        assert part in str(caught.value)
    assert path.read_bytes() == CONTENT[:-1]
    assert server.asked == []


def test_a_folder_in_the_files_place(data_dir, server):
    (data_dir / NAME).mkdir(parents=True)
    with pytest.raises(DataError, match="cannot read"):
        fetch(NAME, [server.url], md5(CONTENT), data_dir)


def test_missing_file_without_network_says_what_to_do(data_dir, closed_url, server):
    not_there = server.url.replace("file.bin", "other.bin")
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        fetch(NAME, [closed_url, not_there], md5(CONTENT), data_dir)
    assert time.monotonic() - started < 5
    message = str(caught.value)
    for part in (NAME, md5(CONTENT), str(data_dir / NAME), "paths.data_dir", "LILAWBENCH_DATA"):
        assert part in message
    refused, missing = [line for line in message.splitlines() if line.startswith("  http")]
    assert closed_url in refused and "Connection refused" in refused
    assert not_there in missing and "404" in missing
    assert left_in(data_dir) == []


def test_server_that_sends_something_else(data_dir, server):
    server.files["/file.bin"] = b"<html>moved</html>"
    with pytest.raises(DataError, match=f"has the md5 {md5(b'<html>moved</html>')}, expected {md5(CONTENT)}"):
        fetch(NAME, [server.url], md5(CONTENT), data_dir)
    assert len(server.asked) == 1
    assert left_in(data_dir) == []


# downloads


def test_second_mirror_when_the_first_fails(data_dir, server, closed_url, caplog):
    caplog.set_level(logging.INFO)
    path = fetch(NAME, [closed_url, server.url + "x", server.url], md5(CONTENT), data_dir)
    assert path.read_bytes() == CONTENT
    assert f"downloading {NAME} from {server.url}" in caplog.messages


def test_broken_connection_goes_on_where_it_broke(data_dir, server):
    server.cuts = [CUT, CHUNK_BYTES]
    path = fetch(NAME, [server.url], md5(CONTENT), data_dir)
    assert [asked for _, asked in server.asked] == [None, f"bytes={CUT}-", f"bytes={CUT + CHUNK_BYTES}-"]
    assert path.read_bytes() == CONTENT
    assert left_in(data_dir) == ["file.bin"]


def test_server_without_range_starts_again(data_dir, server):
    server.knows_range = False
    server.cuts = [CUT]
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, f"bytes={CUT}-"]


def test_gives_up_when_a_try_brings_nothing_and_goes_on_at_the_next_call(data_dir, server):
    server.cuts = [CUT, 0]
    with pytest.raises(DataError, match="IncompleteRead"):
        fetch(NAME, [server.url], md5(CONTENT), data_dir)
    assert left_in(data_dir) == ["file.bin.part"]
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, *[f"bytes={CUT}-"] * 2]


@pytest.mark.parametrize(
    "piece", [b"x" * CUT, CONTENT, CONTENT + b"x"], ids=["of another file", "whole already", "too long"]
)
def test_left_over_piece_that_does_not_fit_is_dropped(piece, data_dir, server):
    put(data_dir, piece, NAME + ".part")
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [f"bytes={len(piece)}-", None]
    assert left_in(data_dir) == ["file.bin"]


def test_a_gz_labelled_as_an_encoding_stays_packed(data_dir, server):
    server.encoding = "gzip"
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir).read_bytes() == CONTENT


def test_progress_bar_on_a_terminal(data_dir, server, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    server.cuts = [CUT]
    fetch(NAME, [server.url], md5(CONTENT), data_dir)
    assert "file.bin: 100%" in terminal.getvalue()


def test_two_processes_share_one_download(data_dir, server):
    server.delay_seconds = 1
    code = (
        "import sys; from pathlib import Path; from lilawbench.loading.download import fetch; "
        "print(fetch(sys.argv[1], [sys.argv[2]], sys.argv[3], Path(sys.argv[4])))"
    )
    command = [sys.executable, "-c", code, NAME, server.url, md5(CONTENT), str(data_dir)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert out.strip() == str(data_dir / NAME), err
        assert err == ""  # no progress bar where stderr is not a terminal
    assert (data_dir / NAME).read_bytes() == CONTENT
    assert len(server.asked) == 1


# members of a zip


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


def test_members_of_a_zip_share_its_download(data_dir, server, zip_url):
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
def test_zip_that_does_not_hold_the_member(content, reason, data_dir, server, zip_url):
    server.files["/all.zip"] = content
    with pytest.raises(DataError, match=reason):
        fetch("set/a.txt", [zip_url], md5(CONTENT), data_dir, member="a.txt")
    assert left_in(data_dir) == []


def test_zip_on_disk_is_used_and_a_bad_one_replaced(data_dir, server, zip_url):
    put(data_dir, server.files["/all.zip"], "set/all.zip")
    assert fetch("set/b.txt", [zip_url], md5(b"second"), data_dir, member="b.txt").read_bytes() == b"second"
    assert server.asked == []
    put(data_dir, b"<html>", "set/all.zip")
    assert fetch("set/a.txt", [zip_url], md5(CONTENT), data_dir, member="a.txt").read_bytes() == CONTENT
    assert (data_dir / "set/all.zip").read_bytes() == server.files["/all.zip"]


# members of a tar


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


def test_members_of_a_packed_tar_share_its_download(data_dir, server):
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
def test_tar_that_does_not_hold_the_member(content, reason, data_dir, server):
    server.files["/all.tar.gz"] = content
    with pytest.raises(DataError, match=reason):
        fetch("set/a", [server.url.replace("file.bin", "all.tar.gz")], md5(CONTENT), data_dir, member="a")
    assert left_in(data_dir) == []
