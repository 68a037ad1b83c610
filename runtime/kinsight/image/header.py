"""What a picture file says of itself before it is decoded: format, size, orientation, whether it is whole."""

from __future__ import annotations

import codecs
import re
import shlex
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from kinsight.errors import PhotoError

Format = Literal["JPEG", "PNG", "WebP", "BMP", "HEIC"]

COPY_AGAIN = "copy it again from where it came from, or open it in a picture editor and save it anew"

_FOREIGN = (
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF or camera raw"),
    (b"MM\0*", "TIFF or camera raw"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
)
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers, ITU-T T.81 table B.1
_MARKER = re.compile(
    rb"\xff[^\x00\x01\xd0-\xd8\xff]"
)  # no stuffing or fill byte, and none without a length but the end


@dataclass(frozen=True)
class Header:
    """Of a picture file that is whole as far as its container can tell."""

    format: Format
    width: int  # pixels, as stored; 0 for HEIC, whose own library reads it
    height: int  # pixels, as stored
    orientation: int = 1  # EXIF 2.32, tag 0x0112: 1 (upright) .. 8; any other value says nothing
    alpha: bool = False  # it may have transparent pixels


def read_header(data: bytes, name: str) -> Header:
    """Reads the format from the content, never from the name.

    Raises:
        PhotoError: another kind of file, one that is cut short, or one whose header makes no sense.
    """
    if not data:
        raise PhotoError(f"{name} is empty", COPY_AGAIN)
    try:
        header = _parse(data)
    except struct.error:
        raise PhotoError(f"{name} is cut short", COPY_AGAIN) from None
    except ValueError as reason:
        raise PhotoError(f"{name} {reason}", COPY_AGAIN) from None
    if header is None:
        raise _refusal(data, name)
    if header.format != "HEIC" and min(header.width, header.height) < 1:
        raise PhotoError(f"{name} is damaged (its size is {header.width} x {header.height})", COPY_AGAIN)
    return header


def _parse(data: bytes) -> Header | None:
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return _bmp(data)
    return Header("HEIC", 0, 0) if _brands(data) & _HEIF_BRANDS and not _is_avif(data) else None


def _jpeg(data: bytes) -> Header:
    """ITU-T T.81: segments up to the end-of-image marker; a thumbnail's own lies inside a segment."""
    width = height = at = 0
    orientation = 1
    while found := _MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return Header("JPEG", width, height, orientation)
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", data, at + 3)
        elif marker == 0xE1 and data[at + 2 : at + 8] == b"Exif\0\0":
            orientation = exif_orientation(data[at + 8 : at + length])
        at += length
    raise ValueError("is cut short: its picture data has no end")


def _png(data: bytes) -> Header:
    """ISO/IEC 15948: 8 bytes of signature, then chunks to IEND."""
    if data[12:16] != b"IHDR":
        raise ValueError("is damaged (a PNG without IHDR)")
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    header = Header("PNG", width, height, alpha=bool(colour & 4))
    at = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return header
        if kind == b"tRNS":
            header = replace(header, alpha=True)
        elif kind == b"eXIf":
            header = replace(header, orientation=exif_orientation(data[at + 8 : at + 8 + length]))
        at += 12 + length


def _webp(data: bytes) -> Header:
    """RFC 9649: one VP8 or VP8L chunk, or VP8X and a list of chunks."""
    (riff_size,) = struct.unpack_from("<I", data, 4)
    if len(data) < 8 + riff_size:
        raise ValueError("is cut short")
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha=bool(bits >> 28 & 1))
    if kind != b"VP8X":
        raise ValueError("is damaged (a WebP without a picture)")
    flags, width, height = struct.unpack_from("<B3x3s3s", data, 20)
    exif = next((body for kind, body in _riff_chunks(data) if kind == b"EXIF"), b"")
    return Header(
        "WebP",
        int.from_bytes(width, "little") + 1,
        int.from_bytes(height, "little") + 1,
        exif_orientation(exif),
        alpha=bool(flags & 0x10),
    )


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)


def _bmp(data: bytes) -> Header:
    pixels_at, dib_size = struct.unpack_from("<II", data, 10)
    if dib_size == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: rows from the top
    if compression in (0, 3) and len(data) < pixels_at + (width * bits + 31) // 32 * 4 * height:
        raise ValueError("is cut short")
    return Header("BMP", width, height)


def exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory of an EXIF block, 1 where there is none or the block is damaged."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == 0x0112 and kind == 3:
                return int(value)
    except struct.error:
        return 1
    return 1


def _brands(data: bytes) -> set[bytes]:
    """Major and compatible brands of an ISO media file (ISO/IEC 14496-12), none for any other file."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def _is_avif(data: bytes) -> bool:
    return bool(_brands(data) & {b"avif", b"avis"})


def _refusal(data: bytes, name: str) -> PhotoError:
    foreign = next((title for magic, title in _FOREIGN if data.startswith(magic)), None)
    foreign = "AVIF" if _is_avif(data) else foreign
    if foreign:
        source, target = shlex.quote(name), shlex.quote(name + ".png")
        problem = f"{name} is in {foreign} format, which kinsight does not read"
        return PhotoError(problem, f"save it as JPEG or PNG, for example `magick {source} {target}`")
    if _brands(data):
        return PhotoError(f"{name} is a video", "save one frame of it as JPEG or PNG")
    what = "is a text file" if _is_text(data[:4096]) else "is not a picture that kinsight knows"
    return PhotoError(f"{name} {what}", "give a JPEG, PNG, WebP or BMP file")


def _is_text(start: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return not re.search(r"[\0-\x08\x0e-\x1a\x1c-\x1f]", text)
