"""Picture files to upright RGB pixels and back, caps before decoding, one sentence for every failure."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import secrets
import shlex
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinsight.errors import PhotoError
from kinsight.image.header import COPY_AGAIN, Header, read_header
from kinsight.image.stderr import holding_stderr
from kinsight.types import Photo, Pixels

MAX_BYTES = 100_000_000
"""Of a picture file; checked before it is read."""
MAX_PIXELS = 100_000_000
"""Width times height; checked before it is decoded (300 MB as RGB)."""

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".heic", ".heif"}
"""By which pictures are known in a folder, in lower case; what a file is, its content says."""

_UPRIGHT: dict[int, Callable[[Pixels], object]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""How to turn a picture of each EXIF orientation upright."""

_ENCODINGS = {
    ".png": (".png", []),
    ".jpg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 92]),
    ".jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 92]),
    ".webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 92]),
}


def load(path: str | Path) -> Photo:
    """Reads a JPEG, PNG, WebP or BMP file (HEIC with the extra `heic`); see `read_file` and `decode`.

    Raises:
        PhotoError: the file cannot be read or decoded.
    """
    return decode(read_file(path), str(path))


def read_file(path: str | Path) -> bytes:
    """The bytes of a picture file, not decoded yet.

    Raises:
        PhotoError: there is no such file, it cannot be read, or it is too large.
    """
    name = str(path)
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise PhotoError(f"{name} is a folder", "give one picture file")
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError(f"{name} is not a plain file", "save the picture to a file first")
        _check_bytes(status.st_size, name)
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise PhotoError(f"there is no file {name}", "check the path") from None
    except (OSError, ValueError) as reason:  # ValueError: a null character in the path
        words = reason.strerror if isinstance(reason, OSError) else str(reason)
        raise PhotoError(f"cannot read {name} ({words})", "check the path and who may read it") from None


def stored_pixels(path: str | Path) -> int:
    """How many pixels a picture file holds, not decoded; 0 where only decoding tells. Raises as `load`."""
    header = read_header(read_file(path), str(path))
    return header.width * header.height


def decode(data: bytes, name: str = "") -> Photo:
    """Decodes a picture file to upright RGB; the transparent becomes white, 16 bits become 8.

    The EXIF orientation of JPEG, PNG and WebP is applied here: OpenCV does not where it keeps alpha.
    `name` is what messages and `Photo.name` say.

    Raises:
        PhotoError: not a picture of a known format, cut short, damaged, or larger than the caps.
    """
    started = time.perf_counter()
    title = name or "the picture"
    _check_bytes(len(data), title)
    header = read_header(data, title)
    if header.format == "HEIC":
        pixels = _decode_heic(data, title)
    else:
        _check_size(header.width, header.height, title)
        pixels = _decode(data, header, title)
    sha256 = hashlib.sha256(data).hexdigest()
    return Photo(pixels, sha256, name, (time.perf_counter() - started) * 1000)


def _check_bytes(size: int, title: str) -> None:
    if size > MAX_BYTES:
        raise PhotoError(
            f"{title} has {size / 1e6:.1f} MB, more than the {MAX_BYTES / 1e6:.0f} MB that are read",
            "save it smaller, as JPEG",
        )


def _check_size(width: int, height: int, title: str) -> None:
    if width * height > MAX_PIXELS:
        raise PhotoError(
            f"{title} has {width} x {height} pixels, more than the {MAX_PIXELS / 1e6:.0f} million allowed",
            "scale it down first",
        )


def _decode(data: bytes, header: Header, title: str) -> Pixels:
    """Orientation is left to the table above: IMREAD_UNCHANGED implies IMREAD_IGNORE_ORIENTATION."""
    in_rgb = not header.alpha and hasattr(cv2, "IMREAD_COLOR_RGB")  # OpenCV >= 4.11
    colour = cv2.IMREAD_COLOR_RGB if in_rgb else cv2.IMREAD_COLOR
    flags = cv2.IMREAD_UNCHANGED if header.alpha else colour | cv2.IMREAD_IGNORE_ORIENTATION
    stored, words = holding_stderr(lambda: _imdecode(data, flags))
    if stored is None or words:
        reason = f" ({words})" if words else ""
        raise PhotoError(f"{title} is a damaged {header.format} file{reason}", COPY_AGAIN)
    pixels = np.asarray(stored, np.uint8) if in_rgb else _to_rgb(stored)
    turn = _UPRIGHT.get(header.orientation)
    return pixels if turn is None else np.asarray(turn(pixels), np.uint8)


def _imdecode(data: bytes, flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _to_rgb(stored: NDArray[Any]) -> Pixels:
    """From grey, BGR or BGRA of 8 or 16 bits, composited on white."""
    bgr = stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
    if bgr.ndim == 2:
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_GRAY2RGB), np.uint8)
    if bgr.shape[2] == 4:
        return _on_white(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGRA2RGBA), np.uint8))
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _on_white(rgba: NDArray[np.uint8]) -> Pixels:
    """uint8 (height, width, 4), straight alpha -> (height, width, 3): rounded colour * a / 255 + 255 - a."""
    alpha = cv2.merge([rgba[..., 3]] * 3)
    shaded = cv2.multiply(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), alpha, scale=1 / 255)
    return np.asarray(cv2.add(shaded, cv2.bitwise_not(alpha)), np.uint8)


def _decode_heic(data: bytes, title: str) -> Pixels:
    """pillow-heif turns the picture upright itself, by the container's own rotation."""
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        source, target = shlex.quote(title), shlex.quote(title + ".jpg")
        raise PhotoError(
            f"{title} is a HEIC file, which needs one more package",
            f"run `pip install 'kinsight[heic]'`, or convert it with `heif-convert {source} {target}`"
            f" (on a Mac `sips -s format jpeg {source} --out {target}`)",
        ) from None
    try:
        picture = heif.open_heif(data, convert_hdr_to_8bit=True)
        width, height = picture.size
        _check_size(width, height, title)
        stored = np.asarray(picture, np.uint8)
    except (ValueError, RuntimeError, OSError, EOFError) as reason:
        raise PhotoError(f"{title} is a damaged HEIC file ({reason})", COPY_AGAIN) from None
    if stored.ndim == 2:
        return np.repeat(stored[..., None], 3, axis=2)
    return _on_white(stored) if stored.shape[2] == 4 else np.ascontiguousarray(stored)


def encode_jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """A baseline JPEG file; `quality` is libjpeg's, 1..100.

    Raises:
        PhotoError: the picture is larger than JPEG can hold (65,500 pixels a side).
    """
    return _encode(pixels, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def save(pixels: Pixels, path: str | Path) -> None:
    """Writes a .png, .jpg, .jpeg or .webp file; a reader of the path sees the old file or the whole new one.

    Raises:
        PhotoError: another suffix, a folder that is missing or cannot be written, or a full disk.
    """
    path = Path(path)
    if path.suffix.lower() not in _ENCODINGS:
        raise PhotoError(f"cannot tell a picture format from {path}", f"end it in {', '.join(_ENCODINGS)}")
    data = _encode(pixels, *_ENCODINGS[path.suffix.lower()])
    draft = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with draft.open("xb") as file:
            file.write(data)
        draft.replace(path)
    except OSError as reason:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise PhotoError(
            f"cannot write {path} ({reason.strerror})",
            "choose a folder that exists, may be written and has room",
        ) from None


def _encode(pixels: Pixels, suffix: str, parameters: list[int]) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    try:
        (done, encoded), _ = holding_stderr(lambda: cv2.imencode(suffix, bgr, parameters))
    except cv2.error:
        done = False
    if not done:
        height, width = pixels.shape[:2]
        raise PhotoError(f"{width} x {height} pixels do not fit into a {suffix} file", "save it as .png")
    return encoded.tobytes()
