"""Downloads one file: goes on where it stopped, hashes on the way, and keeps nothing that is another."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kinsight.catalogue.entries import RemoteFile
from kinsight.errors import PullError

if TYPE_CHECKING:
    import ssl

    import httpx

Told = Callable[[str, int, int], None]
"""Called with the name of a file, the bytes that are here, the bytes of all of it."""
RESERVE = 100_000_000
"""Bytes that a disk keeps free whatever is pulled."""

_CHUNK = 1 << 20  # bytes
_MOST_REDIRECTS = 8
_CONNECT_SECONDS, _READ_SECONDS = 15.0, 60.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_TOLERANCE = 100  # a hundredth of the published size
_AGAIN = "check the network and run the same command again: it goes on where it stopped"
_ELSEWHERE = "try again later, or name another source with --mirror"


@dataclass(frozen=True)
class Patience:
    """How often a server is asked again that does not answer as it should."""

    tries: int = 6  # without a byte of progress in between
    first_wait: float = 1.0  # seconds, doubled with every try
    longest_wait: float = 60.0  # seconds, also of what a server asks for


@dataclass
class _Partial:
    """What is here of a file, with the hash of it so far."""

    path: Path
    digest: hashlib._Hash
    size: int
    etag: str
    resumed: bool  # from an earlier process

    @staticmethod
    def open(path: Path) -> _Partial:
        digest, size = hashlib.sha256(), 0
        if path.exists():
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
        etag = _etag_file(path)
        return _Partial(path, digest, size, etag.read_text() if etag.exists() else "", size > 0)

    def restart(self) -> None:
        """With nothing."""
        self.path.unlink(missing_ok=True)
        _etag_file(self.path).unlink(missing_ok=True)
        self.digest, self.size, self.etag, self.resumed = hashlib.sha256(), 0, "", False

    def keep_etag(self, etag: str) -> None:
        """That of the version whose bytes are here; a weak one does not promise equal bytes."""
        self.etag = "" if etag.startswith("W/") else etag
        _etag_file(self.path).write_text(self.etag)


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


class _Passing(Exception):
    """What may be over the next time: a server that is busy, a connection that broke."""

    def __init__(self, words: str, wait: float = 0.0) -> None:
        super().__init__(words)
        self.wait = wait  # seconds that the server asks for


def download(file: RemoteFile, target: Path, told: Told, patience: Patience = Patience()) -> None:
    """Fetches a file to `target`, through `target` + ".part", from which the next call goes on.

    Raises PullError where the server refuses or does not answer, the disk is too small, or the content is
    another than the catalogue's; of that nothing is kept.
    """
    part = target.with_name(f"{target.name}.part")
    partial = _Partial.open(part)
    resumed = partial.resumed
    with _disk_errors(part), _client(file.url) as client:
        _complete(file, partial, client, told, patience)
        if partial.digest.hexdigest() != file.sha256 and resumed:
            partial.restart()  # what an earlier process left may have been damaged by what ended it
            _complete(file, partial, client, told, patience)
        if (found := partial.digest.hexdigest()) != file.sha256:
            partial.restart()
            raise PullError(
                f"{file.name} from {_shown(file.url)} is another file than the catalogue's "
                f"(sha256 {found[:16]}..., not {file.sha256[:16]}...), it was removed",
                _ELSEWHERE,
            )
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
        _etag_file(part).unlink(missing_ok=True)


def _complete(
    file: RemoteFile, partial: _Partial, client: httpx.Client, told: Told, patience: Patience
) -> None:
    """Asks until all is here."""
    failures, wait = 0, patience.first_wait
    while True:
        before = partial.size
        try:
            if _continue(file, partial, client, told):
                return
            raise _Passing("the connection ended early")
        except _Passing as trouble:
            if partial.size > before:
                failures, wait = 0, patience.first_wait
            failures += 1
            if failures >= patience.tries:
                raise PullError(
                    f"{file.name} cannot be had from {_shown(file.url)} ({trouble})", _AGAIN
                ) from None
            time.sleep(min(max(wait, trouble.wait), patience.longest_wait))
            wait *= 2


def _continue(file: RemoteFile, partial: _Partial, client: httpx.Client, told: Told) -> bool:
    """Asks once for what is missing; whether all of it is here now."""
    import httpx

    try:
        with _answer(file, partial, client) as response:
            said = _accepted(file, partial, response)
            total = said or file.size
            if said and said == partial.size:
                return True
            _check_room(file, partial, total)
            with partial.path.open("ab") as out:
                for chunk in response.iter_raw():
                    if partial.size + len(chunk) > (said or file.size + file.size // _TOLERANCE):
                        raise _Passing("it sends more than it said")
                    out.write(chunk)
                    partial.digest.update(chunk)
                    partial.size += len(chunk)
                    told(file.name, partial.size, total)
            return said in (0, partial.size)
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise _Passing(str(error) or type(error).__name__) from None


@contextmanager
def _answer(file: RemoteFile, partial: _Partial, client: httpx.Client) -> Iterator[httpx.Response]:
    """The response at the end of all redirects; nothing secret goes along to another server."""
    import httpx

    headers = {"Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        if partial.etag:
            headers["If-Range"] = partial.etag
    url = httpx.URL(file.url)
    for _ in range(_MOST_REDIRECTS):
        with client.stream("GET", url, headers=headers) as response:
            if not response.is_redirect:
                yield response
                return
            url = _next(url, response.headers["location"], file)
    raise PullError(f"{_shown(file.url)} leads from one address to the next without end", _ELSEWHERE)


def _next(url: httpx.URL, location: str, file: RemoteFile) -> httpx.URL:
    """Where a redirect leads: over https, or over http from this very machine to this very machine."""
    there = url.join(location)
    local = url.host in _LOOPBACK and there.host in _LOOPBACK
    if there.scheme != "https" and not (local and there.scheme == "http"):
        raise PullError(
            f"{_shown(file.url)} leads to {_shown(str(there))}, which is not encrypted", _ELSEWHERE
        )
    if there.host in _LOOPBACK and not local:
        raise PullError(f"{_shown(file.url)} leads back to this machine", _ELSEWHERE)
    return there


def _accepted(file: RemoteFile, partial: _Partial, response: httpx.Response) -> int:
    """Bytes of the whole file, 0 where that is not told, once the answer goes on where `partial` ends."""
    code = response.status_code
    if code == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("content-range", ""))
        if not span or int(span[1]) != partial.size:
            partial.restart()
            raise _Passing("it sent another range than was asked for")
        total = int(span[2])
    elif code == 200:
        partial.restart()  # it has another version now, or knows no ranges
        length = response.headers.get("content-length", "")
        total = int(length) if length.isdecimal() else 0
    elif code == 416 and partial.size:
        partial.restart()
        raise _Passing("it has less than is here")
    else:
        raise _refused(file, response)
    if total and abs(total - file.size) > file.size // _TOLERANCE:
        partial.restart()
        raise PullError(
            f"{file.name} has {total} bytes at {_shown(file.url)}, but {file.size} in the catalogue",
            _ELSEWHERE,
        )
    if code == 200:
        partial.keep_etag(response.headers.get("etag", ""))
    return total


def _refused(file: RemoteFile, response: httpx.Response) -> Exception:
    code = response.status_code
    if code in (408, 425, 429) or code >= 500:
        asked = response.headers.get("retry-after", "")
        return _Passing(f"it answers {code}", float(asked) if asked.isdecimal() else 0.0)
    if code in (401, 403):
        problem = f"{_shown(file.url)} wants an account ({code})"
        return PullError(problem, "name another source with --mirror")
    return PullError(f"{_shown(file.url)} is not there ({code})", _ELSEWHERE)


def _check_room(file: RemoteFile, partial: _Partial, total: int) -> None:
    free = shutil.disk_usage(partial.path.parent).free
    if total - partial.size + RESERVE > free:
        raise PullError(
            f"{file.name} needs {(total - partial.size) / 1e6:.0f} MB and {RESERVE / 1e6:.0f} MB kept free, "
            f"the disk has {free / 1e6:.0f} MB free",
            "free some space, or keep your data on another disk with --home",
        )


def _client(url: str) -> httpx.Client:
    """Follows no redirect by itself; a proxy of the environment is not for this very machine."""
    import httpx

    trusts_environment = httpx.URL(url).host not in _LOOPBACK
    return httpx.Client(
        verify=_certificates(trusts_environment),
        timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
        headers={"User-Agent": "kinsight"},
        follow_redirects=False,
        trust_env=trusts_environment,
    )


@cache
def _certificates(trusts_environment: bool) -> ssl.SSLContext:
    """Whom a server must be vouched for by: read once, which takes longer than many a small file."""
    import httpx

    return httpx.create_ssl_context(trust_env=trusts_environment)


@contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        mend = "free some space and run the same command again: it goes on where it stopped"
        raise PullError(f"{part.parent} cannot be written ({cause.strerror})", mend) from None


def _shown(url: str) -> str:
    """An address without what may be secret in it: a name, a password, a signature."""
    import httpx

    address = httpx.URL(url)
    port = f":{address.port}" if address.port else ""
    return f"{address.scheme}://{address.host}{port}{address.path}"
