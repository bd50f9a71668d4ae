"""A hub in memory that speaks as much of the protocol as huggingface_hub needs: one repository."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class Hub:
    """Its commits: branch -> name -> contents; and what was asked with which token."""

    def __init__(self) -> None:
        self.branches: dict[str, dict[str, bytes]] = {"main": {}}
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, authorization

    def sha(self, branch: str) -> str:
        return hashlib.sha1(branch.encode()).hexdigest()

    def files(self, revision: str) -> dict[str, bytes] | None:
        names = {self.sha(branch): branch for branch in self.branches}
        return self.branches.get(names.get(revision, revision))

    def commit(self, branch: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.branches[branch][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del self.branches[branch][value["path"]]


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, value: Any, code: int = 200, **headers: str) -> None:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(code)
            for name, text in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def missing(self, what: str) -> None:
            self.answer({"error": what}, 404, X_Error_Code=what)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = unquote(self.path.partition("?")[0])
            hub.requests.append(("POST", path, self.headers.get("Authorization")))
            if self.headers.get("Authorization") is None:
                self.answer({"error": "no token"}, 401)
            elif path == "/api/repos/create":
                self.answer({"url": f"http://{self.headers['Host']}/org/name", "name": "org/name"})
            elif "/branch/" in path:
                branch = path.rpartition("/")[2]
                hub.branches.setdefault(branch, dict(hub.branches["main"]))
                self.answer({})
            elif "/preupload/" in path:
                files = json.loads(body)["files"]
                modes = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in files
                ]
                self.answer({"files": modes})
            elif "/commit/" in path:
                branch = path.rpartition("/")[2]
                hub.commit(branch, [json.loads(line) for line in body.splitlines()])
                url = f"http://{self.headers['Host']}/org/name/commit/{hub.sha(branch)}"
                self.answer(
                    {"commitUrl": url, "commitOid": hub.sha(branch), "pullRequestUrl": None}
                )
            else:
                self.missing("EntryNotFound")

        def do_GET(self) -> None:
            path = unquote(self.path.partition("?")[0])
            hub.requests.append((self.command, path, self.headers.get("Authorization")))
            parts = path.strip("/").split("/")
            if parts[:4] == ["api", "models", "org", "name"]:
                revision = parts[5] if len(parts) > 5 else "main"
                files = hub.files(revision)
                if files is None:
                    return self.missing("RevisionNotFound")
                if len(parts) > 4 and parts[4] == "tree":
                    entries = [
                        {"type": "file", "path": name, "size": len(data), "oid": "0"}
                        for name, data in files.items()
                    ]
                    return self.answer(entries)
                names = [{"rfilename": name} for name in files]
                sha = self.path_sha(revision)
                return self.answer({"id": "org/name", "sha": sha, "siblings": names})
            if parts[:3] == ["org", "name", "resolve"]:
                files = hub.files(parts[3])
                name = "/".join(parts[4:])
                if files is None or name not in files:
                    return self.missing("EntryNotFound")
                data = files[name]
                etag = hashlib.sha1(data).hexdigest()
                sha = self.path_sha(parts[3])
                return self.answer(data, ETag=f'"{etag}"', X_Repo_Commit=sha)
            return self.missing("RepoNotFound")

        do_HEAD = do_GET

        def path_sha(self, revision: str) -> str:
            return hub.sha(revision) if revision in hub.branches else revision

    return Handler


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The address of the hub while it is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
