"""A server on 127.0.0.1 that behaves like a model hub and like a page of releases, with the faults of both.

`/OWNER/NAME/resolve/REVISION/FILE` leads to `/cdn/FILE`, `/OWNER/NAME/releases/download/TAG/FILE` to
`/assets/FILE`, each with a signature in the address; there files are served with ETag, ranges and If-Range.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kinsight.bundle.files import BUNDLE_TOML
from kinsight.errors import CatalogueError
from kinsight.tomlread import StrictToml
from kinsight.tomlwrite import toml_bytes

REVISION = "0123456789abcdef0123456789abcdef01234567"
_PIECE = 1 << 14  # bytes


@dataclass
class Served:
    """What the server has and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path, headers of every request
    sent: int = 0  # bytes of content
    busy: int = 0  # so many answers are 503 first
    drop_after: int = 0  # once, the connection breaks after so many bytes
    piece_seconds: float = 0.0  # between two pieces
    ranges: bool = True
    length: bool = True  # whether it says how long the file is
    refuses: int = 0  # a status for everything
    redirects: dict[str, str] = field(default_factory=dict)  # file -> where it leads instead
    address: str = ""

    def hub(self, file: str) -> str:
        return f"{self.address}/owner/model/resolve/{REVISION}/{file}"

    def release(self, file: str) -> str:
        return f"{self.address}/owner/tool/releases/download/v1/{file}"

    def asked(self, file: str) -> list[dict[str, str]]:
        """The headers of every request for the content of a file."""
        return [
            headers
            for path, headers in self.log
            if path.startswith(("/cdn/", "/assets/")) and f"/{file}?" in path
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_GET(self) -> None:
        served = self.served
        served.log.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        name = self.path.partition("?")[0].rpartition("/")[2]
        if served.refuses:
            self._empty(served.refuses)
        elif found := re.search(r"/(resolve|releases/download)/[^/]+/", self.path):
            kind = "cdn" if found[1] == "resolve" else "assets"
            self._empty(302, Location=served.redirects.get(name, f"/{kind}/{name}?signature=secret"))
        elif served.busy:
            served.busy -= 1
            self._empty(503, **{"Retry-After": "0"})
        elif name not in served.files:
            self._empty(404)
        else:
            self._content(served.files[name])

    def _empty(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _content(self, data: bytes) -> None:
        served, etag = self.served, f'"{hashlib.md5(data).hexdigest()}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and served.ranges and self.headers.get("If-Range", etag) == etag else 0
        if start >= len(data) and start:
            self._empty(416, **{"Content-Range": f"bytes */{len(data)}"})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if served.length:
            self.send_header("Content-Length", str(len(data) - start))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.send_header("ETag", etag)
        self.end_headers()
        for at in range(start, len(data), _PIECE):
            if served.drop_after and at >= served.drop_after:
                served.drop_after = 0
                self.close_connection = True
                self.connection.close()
                return
            try:
                self.wfile.write(data[at : at + _PIECE])
            except OSError:  # the other side was killed
                self.close_connection = True
                return
            served.sent += len(data[at : at + _PIECE])
            time.sleep(served.piece_seconds)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up is no error; else its words could stand in the midst of another line."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving() -> Iterator[Served]:
    """A server with nothing on it, for as long as it is needed."""
    served = Served()
    handler = type("Handler", (_Handler,), {"served": served})
    server = _Server(("127.0.0.1", 0), handler)
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def offer(served: Served, bundle: Path, catalogue: Path, name: str = "tiny", licence: str = "MIT") -> None:
    """Serves the files of a bundle, the detector as a release, and writes the catalogue that offers it."""
    raw = StrictToml.open(bundle / BUNDLE_TOML, CatalogueError).raw
    detector, embedder, llm = (
        {**raw[part]} if part in raw else None for part in ("detector", "embedder", "llm")
    )
    assert detector and embedder

    def source(table: Mapping[str, Any], key: str, release: bool = False) -> dict[str, Any]:
        file = table[key]
        data = (bundle / file).read_bytes()
        served.files[file] = data
        pin = {"url": served.release(file) if release else served.hub(file), "bytes": len(data)}
        if key == "file":
            return pin
        return {f"{key}_{k}": v for k, v in {**pin, "sha256": hashlib.sha256(data).hexdigest()}.items()}

    detector |= {
        **source(detector, "file", release=True),
        "labels": (bundle / detector["labels"]).read_text().split("\n")[:-1],
        "licence": licence,
    }
    embedder = {key: value for key, value in embedder.items() if key != "cohort"} | {"licence": "MIT"}
    embedder["image"] |= source(embedder["image"], "file")
    if "text" in embedder:
        embedder["text"] |= {**source(embedder["text"], "file"), **source(embedder["text"], "tokenizer")}
    if llm:
        llm |= {**source(llm, "file"), "licence": "Apache-2.0"}
        if "mmproj" in llm:
            llm |= source(llm, "mmproj")
    parts = {"detector": detector, "embedder": embedder, "llm": llm}
    chosen = {part: "one" for part, table in parts.items() if table}
    head = {
        "summary": "for tests",
        "version": "1",
        "world": raw["bundle"]["world"],
        "devices": ["laptop-cpu"],
    }
    tables = {part: {"one": table} if table else {} for part, table in parts.items()}
    catalogue.write_bytes(toml_bytes({"format": 1, "bundles": {name: {**head, **chosen}}, **tables}))
