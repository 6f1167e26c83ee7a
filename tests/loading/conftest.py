"""A server on the loopback interface that can cut, ignore Range, or lie, and empty folders to download to."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CONTENT = bytes(i * i % 251 for i in range(5 * (1 << 15) + 17))  # of /file.bin: five chunks and a bit


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
    """It counts what was asked of it; its attributes set how it answers."""
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
    """The cache folder of these tests."""
    monkeypatch.setenv("LILAWBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data_dir(tmp_path):
    """An empty data folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def left_in():
    """left_in(folder): names of the files below it, without the lock."""

    def names(folder):
        return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".download.lock")

    return names
