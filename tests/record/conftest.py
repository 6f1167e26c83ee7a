"""What stands for W&B's servers."""

import http.server
import json
import threading
from collections.abc import Callable

import pytest


class Server(http.server.BaseHTTPRequestHandler):
    """The few answers of a W&B server without which wandb does not start a run; keeps what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.reply({})

    do_PUT = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/graphql":
            if "file_stream" in self.path:
                self.server.streamed.append(json.loads(body))
            return self.reply({})
        query = json.loads(body)
        sent = query["variables"]
        if "UpsertBucket" in query["query"]:
            self.server.upserts.append(sent)
            project = {"id": "p", "name": "lilawbench", "entity": {"id": "e", "name": "us"}}
            bucket = {"id": "b", "name": sent["name"], "displayName": "d", "config": "{}", "historyLineCount": 0}
            return self.reply({"data": {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": True}}})
        if "CreateRunFiles" in query["query"]:
            files = [{"name": name, "uploadUrl": f"http://{self.headers['host']}/{name}"} for name in sent["files"]]
            return self.reply({"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}})
        self.reply({"data": {}})

    def reply(self, content: dict) -> None:
        self.rfile.read(0 if self.command == "POST" else int(self.headers.get("content-length", 0)))
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def serve() -> Callable[[], http.server.ThreadingHTTPServer]:
    """serve() -> a server of its own on this machine, with what it was sent: upserts, streamed."""

    def start() -> http.server.ThreadingHTTPServer:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        server.upserts, server.streamed = [], []
        server.handle_error = lambda *_: None  # a client that hangs up
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    return start
