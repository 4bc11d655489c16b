"""A local server that speaks as much of the Hugging Face hub's interface as models need.

Repositories are made, files sent in one commit (small ones inside it, large ones through LFS), listed
and served, with tokens and private repositories as on the hub. It keeps all in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_" + "test" * 8
READ_ONLY = "hf_" + "read" * 8


@dataclass
class Repo:
    """A model repository: what each commit held, the newest last, and who may see it."""

    private: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def add(self, files: dict[str, bytes], deleted: Collection[str] = ()) -> str:
        before = dict(self.commits[-1][1]) if self.commits else {}
        for path in deleted:
            del before[path]
        name = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits.append((name, {**before, **files}))
        return name

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1] if self.commits else ("0" * 40, {})
        return next((one for one in self.commits if one[0] == revision), None)


@dataclass
class Hub:
    """What the server holds, what it was asked for, and how it shall misbehave."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    claimed_size: int | None = None  # told of every file in place of its own
    answer: int | None = None  # a status to refuse everything with

    def environment(self, home: Any, token: str | None = TOKEN) -> dict[str, str]:
        """What the environment of a process needs in order to meet this hub and no other."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": token or "",
            "NO_PROXY": "127.0.0.1",
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self.hub.asked.append((self.command, self.path))
        path = unquote(self.path.partition("?")[0])
        if self.hub.answer:
            return self.say({"error": "no"}, self.hub.answer)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self.tell(found[1], found[2] or "main")
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.serve(found[1], found[2], found[3])
        return self.say({"error": "not found"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.hub.asked.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(self.path.partition("?")[0])
        if self.hub.answer:
            return self.say({"error": "no"}, self.hub.answer)
        if self.token != TOKEN:
            return self.say({"error": "no"}, 403 if self.token else 401)
        if path == "/api/validate-yaml":  # of a model card
            return self.say({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            private = asked.get("private", asked.get("visibility") == "private")
            self.hub.repos[name] = Repo(private)
            return self.say({"url": f"{self.hub.url}/{name}"})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self.say({"files": files})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.say({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            deleted = [
                line["value"]["path"]
                for line in map(json.loads, body.splitlines())
                if line["key"] == "deletedFile"
            ]
            commit = self.hub.repos[found[1]].add(self.committed(body), deleted)
            return self.say({"commitUrl": f"{self.hub.url}/{found[1]}", "commitOid": commit})
        return self.say({"error": "not found"}, 404)

    def do_PUT(self) -> None:
        self.hub.asked.append((self.command, self.path))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.rpartition("/")[2]
        if hashlib.sha256(body).hexdigest() != name:
            return self.say({"error": "another hash"}, 400)
        self.hub.large[name] = body
        return self.say({})

    def committed(self, body: bytes) -> dict[str, bytes]:
        """The files of a commit, given as a JSON line each."""
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        return files

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ").strip()

    def seen(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        return None if repo and repo.private and self.token not in (TOKEN, READ_ONLY) else repo

    def tell(self, name: str, revision: str) -> None:
        repo = self.seen(name)
        if repo is None:
            return self.say({"error": "Repository not found"}, 404, "RepoNotFound")
        if (held := repo.at(revision)) is None:
            return self.say({"error": "Invalid rev id"}, 404, "RevisionNotFound")
        commit, files = held
        siblings = [
            {"rfilename": path, "size": self.hub.claimed_size or len(content)}
            for path, content in files.items()
        ]
        return self.say({"id": name, "sha": commit, "private": repo.private, "siblings": siblings})

    def serve(self, name: str, revision: str, path: str) -> None:
        repo = self.seen(name)
        held = repo.at(revision) if repo else None
        if held is None or path not in held[1]:
            return self.say({"error": "Entry not found"}, 404, "EntryNotFound")
        body = held[1][path]
        self.send_response(200)
        self.send_header("X-Repo-Commit", held[0])
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def say(self, told: Any, status: int = 200, code: str = "") -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *given: Any) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub at a free port of this machine, as long as the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
