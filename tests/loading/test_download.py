"""Finding a file on disk, or downloading it: mirrors, hashes, broken connections, and the messages."""

import hashlib
import io
import logging
import shutil
import socket
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from lilawbench.loading.download import CHUNK_BYTES, cache_dir, fetch
from lilawbench.support.errors import DataError

NAME = "set/raw/file.bin"
CONTENT = bytes(i * i % 251 for i in range(5 * CHUNK_BYTES + 17))
CUT = 2 * CHUNK_BYTES


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


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


# where it looks


def test_data_dir_comes_before_cache_and_network(data_dir, cache, server):
    in_cache = put(cache, CONTENT)
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir) == in_cache
    in_data_dir = put(data_dir, CONTENT)
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir) == in_data_dir
    assert fetch(NAME, [server.url], md5(CONTENT), None) == in_cache
    assert server.asked == []


def test_downloads_to_data_dir_or_else_to_the_cache(data_dir, cache, server, left_in):
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
    assert [*data_dir.iterdir()] == []


def test_server_that_sends_something_else(data_dir, server):
    server.files["/file.bin"] = b"<html>moved</html>"
    with pytest.raises(DataError, match=f"has the md5 {md5(b'<html>moved</html>')}, expected {md5(CONTENT)}"):
        fetch(NAME, [server.url], md5(CONTENT), data_dir)
    assert len(server.asked) == 1
    assert [*data_dir.iterdir()] == []


@pytest.mark.parametrize("member", [None, "file.bin"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_download_leaves_nothing_and_takes_nothing(error, member, cache, data_dir, server, monkeypatch):
    """Neither lock nor folder, but for those that were there; in the cache, which is made for it, too."""

    def broken(url, part):
        part.write_bytes(b"")
        part.unlink()
        raise error("broken")

    monkeypatch.setattr("lilawbench.loading.download._stream_whole", broken)
    (data_dir / "set").mkdir()
    for folder in (data_dir, None):
        with pytest.raises(DataError if error is OSError else error, match="broken"):
            fetch(NAME, [server.url], md5(CONTENT), folder, member)
    assert [*data_dir.rglob("*")] == [data_dir / "set"] and not cache.exists()


def test_a_folder_that_another_process_took_away_is_made_again(data_dir, server, monkeypatch):
    """It failed while this one waited for its lock."""
    acquire, gone = FileLock._acquire, []

    def first_gone(lock):
        if not gone:
            gone.append(shutil.rmtree(data_dir / "set"))
        acquire(lock)

    monkeypatch.setattr(FileLock, "_acquire", first_gone)
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir).read_bytes() == CONTENT and gone


# downloads


def test_second_mirror_when_the_first_fails(data_dir, server, closed_url, caplog):
    caplog.set_level(logging.INFO)
    path = fetch(NAME, [closed_url, server.url + "x", server.url], md5(CONTENT), data_dir)
    assert path.read_bytes() == CONTENT
    assert f"downloading {NAME} from {server.url}" in caplog.messages


def test_broken_connection_goes_on_where_it_broke(data_dir, server, left_in):
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
    assert [path.name for path in (data_dir / NAME).parent.iterdir()] == ["file.bin.part"]
    assert fetch(NAME, [server.url], md5(CONTENT), data_dir).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, *[f"bytes={CUT}-"] * 2]


@pytest.mark.parametrize(
    "piece", [b"x" * CUT, CONTENT, CONTENT + b"x"], ids=["of another file", "whole already", "too long"]
)
def test_left_over_piece_that_does_not_fit_is_dropped(piece, data_dir, server, left_in):
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


@pytest.mark.slow
@pytest.mark.parametrize("fails", [False, True])
def test_two_processes_share_one_download_or_both_fail(fails, data_dir, server):
    server.delay_seconds = 1
    server.files["/file.bin"] = b"moved" if fails else CONTENT
    code = (
        "import sys; from pathlib import Path; from lilawbench.loading.download import fetch; "
        "print(fetch(sys.argv[1], [sys.argv[2]], sys.argv[3], Path(sys.argv[4])))"
    )
    command = [sys.executable, "-c", code, NAME, server.url, md5(CONTENT), str(data_dir)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        if fails:
            assert "DataError" in err and "has the md5" in err and "FileNotFoundError" not in err
            continue
        assert out.strip() == str(data_dir / NAME), err
        assert err == ""  # no progress bar where stderr is not a terminal
    if fails:
        assert [path for path in data_dir.rglob("*") if path.is_file()] == []
        return
    assert (data_dir / NAME).read_bytes() == CONTENT
    assert len(server.asked) == 1
