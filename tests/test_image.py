"""Pictures in and out: every odd file becomes plain upright RGB, every bad one a sentence."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinsight.errors import PhotoError
from kinsight.image import MAX_BYTES, decode, encode_jpeg, load, save
from kinsight.image.stderr import holding_stderr

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CMYK_RED_8X8 = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUVFQwPFx"
    "gWFBgSFBUU/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQE"
    "AAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZG"
    "VmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz"
    "9PX29/j5+v/aAA4EQwBNAFkASwAAPwD9U6/Kqvyqr9U6/9k="
)
HEIC_RED_BLUE_32X16 = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG"
    "9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAAFcAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA"
    "/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQg"
    "EBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAA"
    "AAAAAABAAAAAQAAAAChjbGFwAAAAIAAAAAEAAAAQAAAAAf///+AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAA"
    "AAAQABBYECAwWEAAAAX21kYXQAAABTKAGvUhdwfOb86r//nGv/8ovkPYSoK//FD1X6hrT/i3IQftCvS+VHY9HpfO0nKct4onBVoKDgFDxI"
    "Wo5n6/r9fKTXuoCZQxYx8SuTP1/XpWOFh3A="
)


def noise(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth random picture, uint8 RGB."""
    grain = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(grain, (0, 0), 3), np.uint8)


def encoded(pixels: np.ndarray, suffix: str, *parameters: int) -> bytes:
    done, data = cv2.imencode(suffix, pixels[..., ::-1], list(parameters))
    assert done
    return data.tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def exif(orientation: int, order: str = "<", thumbnail: bytes = b"") -> bytes:
    """A TIFF block: the orientation in the first directory, the thumbnail in the second."""
    first = struct.pack(f"{order}HHHIHxx", 1, 0x0112, 3, 1, orientation)
    second = struct.pack(f"{order}HHHIIHHII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(thumbnail))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    offset_1, offset_2, none = (struct.pack(f"{order}I", at) for at in (8, 26, 0))
    return mark + offset_1 + first + offset_2 + second + none + thumbnail


def jpeg_with(tiff: bytes, jpeg: bytes) -> bytes:
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def webp_with(tiff: bytes, pixels: np.ndarray) -> bytes:
    """The simple file's one chunk, wrapped into the extended format with an EXIF chunk."""
    picture = encoded(pixels, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101)[12:]
    size = (pixels.shape[1] - 1).to_bytes(3, "little") + (pixels.shape[0] - 1).to_bytes(3, "little")
    chunks = (
        b"VP8X"
        + struct.pack("<IB3x", 10, 0x08)
        + size
        + picture
        + b"EXIF"
        + struct.pack("<I", len(tiff))
        + tiff
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def bmp(rows: bytes, width: int, height: int, bits: int) -> bytes:
    dib = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + dib + rows


JPEG = encoded(noise(), ".jpg")
PNG = encoded(noise(), ".png")
WEBP = encoded(noise(), ".webp")
BMP = encoded(noise(), ".bmp")
THUMBNAILED = jpeg_with(exif(1, thumbnail=encoded(noise(8, 8), ".jpg")), JPEG)
BOMB = png(60_000, 60_000, 8, 2, b"")


def zeroed(data: bytes, start: int, count: int) -> bytes:
    return data[:start] + bytes(count) + data[start + count :]


ODD = {
    "grey": (png(2, 1, 8, 0, bytes([0, 7, 200])), [(7, 7, 7), (200, 200, 200)]),
    "one bit": (png(2, 1, 1, 0, bytes([0, 0b10000000])), [WHITE, (0, 0, 0)]),
    "palette": (png(2, 1, 8, 3, b"\0\0\1", png_chunk(b"PLTE", bytes(RED + BLUE))), [RED, BLUE]),
    "palette with alpha": (
        png(2, 1, 8, 3, b"\0\0\1", png_chunk(b"PLTE", bytes(RED + BLUE)) + png_chunk(b"tRNS", b"\x80\0")),
        [(255, 127, 127), WHITE],
    ),
    "alpha": (png(2, 1, 8, 6, bytes([0, *RED, 128, *BLUE, 0])), [(255, 127, 127), WHITE]),
    "grey with alpha": (png(2, 1, 8, 4, bytes([0, 0, 255, 0, 51])), [(0, 0, 0), (204, 204, 204)]),
    "16 bits": (
        png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 65535, 32768, 511, 0, 256, 0)),
        [(255, 128, 1), (0, 1, 0)],
    ),
    "16 bits with alpha": (
        png(2, 1, 16, 6, b"\0" + struct.pack(">8H", 65535, 0, 0, 32768, 0, 65535, 0, 65535)),
        [(255, 127, 127), GREEN],
    ),
    "16 bits grey": (png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 65535, 0x1234)), [WHITE, (18, 18, 18)]),
    "BMP of 32 bits": (bmp(bytes([0, 0, 255, 0, 255, 0, 0, 0]), 2, 1, 32), [RED, BLUE]),
    "BMP from the top": (bmp(bytes([0, 0, 255, 255, 0, 0, 0, 0]), 2, -1, 24), [RED, BLUE]),
    "1 x 1": (png(1, 1, 8, 2, bytes([0, *GREEN])), [GREEN]),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_but_valid_pictures_become_plain_rgb(case: str) -> None:
    data, expected = ODD[case]
    pixels = decode(data).pixels
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels.tolist() == [[list(colour) for colour in expected]]


@pytest.mark.parametrize(
    "data",
    [
        CMYK_RED_8X8,
        encoded(np.full((8, 8, 3), RED, np.uint8), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(np.full((8, 8, 3), RED, np.uint8), ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        encoded(np.full((8, 8, 3), RED, np.uint8), ".jpg") + b"trailing junk \xff\xd8\xff",
        encoded(np.full((8, 8, 3), RED, np.uint8), ".webp"),
    ],
    ids=["CMYK", "progressive", "restarts", "trailing junk", "lossy WebP"],
)
def test_lossy_pictures_keep_their_colour(data: bytes) -> None:
    pixels = decode(data).pixels
    assert pixels.shape == (8, 8, 3)
    assert np.abs(pixels.astype(int) - RED).max() <= 6


@pytest.mark.parametrize(("quality", "kind"), [(101, b"VP8L"), (90, b"VP8X")], ids=["lossless", "lossy"])
def test_a_webp_with_alpha_lies_on_white(quality: int, kind: bytes) -> None:
    bgra = np.full((16, 16, 4), (0, 0, 255, 128), np.uint8)
    data = cv2.imencode(".webp", bgra, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    assert data[12:16] == kind
    assert np.abs(decode(data).pixels.astype(int) - (255, 127, 127)).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_long_strip_keeps_its_size(suffix: str) -> None:
    strip = np.zeros((10, 4000, 3), np.uint8)
    strip[:, 3999] = RED
    photo = decode(encoded(strip, suffix))
    assert (photo.width, photo.height) == (4000, 10)
    assert np.array_equal(photo.pixels, strip)


UPRIGHT = np.kron(
    np.array([[RED, GREEN], [BLUE, WHITE], [(0, 0, 0), (90, 90, 90)]], np.uint8),
    np.ones((16, 16, 1), np.uint8),
)
STORED = {  # EXIF 2.32: where the stored first row and first column belong in the upright picture
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.transpose(1, 0, 2),  # left, top
    6: UPRIGHT[:, ::-1].transpose(1, 0, 2),  # right, top
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: UPRIGHT[::-1].transpose(1, 0, 2),  # left, bottom
    0: UPRIGHT,  # no such value: left alone
    9: UPRIGHT,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_exif_orientation_is_applied(orientation: int, order: str) -> None:
    stored = np.ascontiguousarray(STORED[orientation])
    tiff = exif(orientation, order, thumbnail=encoded(noise(8, 8), ".jpg"))
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    with_chunk = png(stored.shape[1], stored.shape[0], 8, 2, rows, png_chunk(b"eXIf", tiff))
    assert np.array_equal(decode(with_chunk).pixels, UPRIGHT)
    assert np.array_equal(decode(webp_with(tiff, stored)).pixels, UPRIGHT)
    jpeg = decode(jpeg_with(tiff, encoded(stored, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100))).pixels
    assert jpeg.shape == UPRIGHT.shape
    assert np.median(np.abs(jpeg.astype(int) - UPRIGHT)) <= 3


def test_orientation_holds_for_a_picture_with_alpha() -> None:
    rows = bytes([0, *RED, 255, *BLUE, 255])
    turned = png(2, 1, 8, 6, rows, png_chunk(b"eXIf", exif(6)))
    assert decode(turned).pixels.tolist() == [[list(RED)], [list(BLUE)]]


@pytest.mark.parametrize("tiff", [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", exif(6)[:15], b"junk" * 9])
def test_damaged_exif_does_not_matter(tiff: bytes) -> None:
    assert decode(jpeg_with(tiff, JPEG)).pixels.shape == (48, 64, 3)


BAD = {
    "empty": (b"", "is empty"),
    "text called .jpg": ("Größe: 3 photos of Lala\n".encode(), "is a text file"),
    "random bytes": (bytes([7, 1, 0, 2]) * 50, "is not a picture"),
    "signature only, JPEG": (JPEG[:3], "cut short"),
    "signature only, PNG": (PNG[:16], "cut short"),
    "signature only, WebP": (WEBP[:12], "cut short"),
    "signature only, BMP": (BMP[:12], "cut short"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "cut short"),
    "JPEG without its last byte": (JPEG[:-1], "cut short"),
    "half a JPEG after its thumbnail": (THUMBNAILED[: -len(JPEG) // 3], "cut short"),
    "half a PNG": (PNG[: len(PNG) // 2], "cut short"),
    "PNG without IEND": (PNG[:-12], "cut short"),
    "half a WebP": (WEBP[: len(WEBP) // 2], "cut short"),
    "half a BMP": (BMP[: len(BMP) // 2], "cut short"),
    "PNG with a flipped byte": (zeroed(PNG, len(PNG) // 2, 8), "damaged PNG"),
    "PNG without IHDR": (PNG[:12] + b"JHDR" + PNG[16:], "without IHDR"),
    "JPEG whose data ends early": (JPEG[:-300] + JPEG[-2:], "premature end"),
    "WebP with broken data": (zeroed(WEBP, 20, 12), "damaged"),
    "WebP without a picture": (WEBP[:12] + b"XMP " + WEBP[16:], "without a picture"),
    "BMP of no size": (bmp(b"", 0, 1, 24), "its size is 0 x 1"),
    "JPEG without a frame": (b"\xff\xd8\xff\xd9", "its size is 0 x 0"),
    "PNG bomb": (BOMB, "60000 x 60000 pixels"),
    "JPEG bomb": (
        jpeg_with(b"", JPEG).replace(b"\0\x30\0\x40\3", b"\xff\xff\xff\xff\3"),
        "65535 x 65535 pixels",
    ),
    "WebP bomb": (WEBP[:20] + b"/\xff\xff\xff\x0f" + WEBP[25:], "16384 x 16384 pixels"),
    "BMP bomb": (bmp(b"", 60_000, 60_000, 1), "cut short"),
    "GIF": (b"GIF89a" + bytes(20), "is in GIF format"),
    "TIFF": (b"II*\0" + bytes(20), "is in TIFF or camera raw format"),
    "AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0mif1avif", "is in AVIF format"),
    "video": (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "is a video"),
    "PDF": (b"%PDF-1.7\n", "is in PDF format"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_pictures_are_refused_in_one_sentence(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    data, words = BAD[case]
    with pytest.raises(PhotoError) as refusal:
        decode(data, "my photo.jpg")
    assert "my photo.jpg" in refusal.value.problem and words in refusal.value.problem
    assert refusal.value.mend and "\n" not in str(refusal.value)
    assert capfd.readouterr().err == ""  # neither OpenCV nor libjpeg nor libpng speaks to the user


@settings(max_examples=150, deadline=None)
@given(
    data=st.sampled_from(
        [JPEG, THUMBNAILED, PNG, WEBP, BMP, ODD["palette with alpha"][0], webp_with(exif(6), noise())]
    ),
    start=st.floats(0, 1),
    patch=st.binary(min_size=1, max_size=12),
    keep=st.floats(0.1, 1),
)
def test_whatever_is_damaged_is_a_photo_or_a_photo_error(
    data: bytes, start: float, patch: bytes, keep: float
) -> None:
    at = int(start * len(data))
    spoiled = (data[:at] + patch + data[at + len(patch) :])[: int(keep * len(data))]
    try:
        pixels = decode(spoiled, "x.jpg").pixels
    except PhotoError as refusal:
        assert refusal.problem.startswith("x.jpg ")
    else:
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8


def test_padding_before_the_end_of_a_jpeg_is_no_damage(capfd: pytest.CaptureFixture[str]) -> None:
    padded = decode(JPEG[:-2] + bytes(40) + JPEG[-2:])
    assert np.array_equal(padded.pixels, decode(JPEG).pixels)
    assert capfd.readouterr().err == ""


def test_what_others_write_to_stderr_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    result, loss = holding_stderr(lambda: os.write(2, b"libpng warning: x\nan important line\n"))
    assert (result, loss) == (36, "")
    assert capfd.readouterr().err == "an important line\n"


def test_heic_without_its_package_names_both_mends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PhotoError, match="HEIC") as refusal:
        decode(HEIC_RED_BLUE_32X16, "a b.heic")
    assert "pip install 'kinsight[heic]'" in refusal.value.mend
    assert "heif-convert 'a b.heic' 'a b.heic.jpg'" in refusal.value.mend


def test_heic_with_its_package() -> None:
    pytest.importorskip("pillow_heif", reason="the extra `heic` is not installed")
    pixels = decode(HEIC_RED_BLUE_32X16).pixels
    assert pixels.shape == (16, 32, 3)
    assert np.abs(pixels[8, 4].astype(int) - RED).max() < 20
    assert np.abs(pixels[8, 28].astype(int) - BLUE).max() < 20
    with pytest.raises(PhotoError, match="damaged HEIC"):
        decode(HEIC_RED_BLUE_32X16[:300])


def test_load_tells_the_format_by_content(tmp_path: Path) -> None:
    path = tmp_path / "really a png.jpg"
    path.write_bytes(PNG)
    photo = load(path)
    assert np.array_equal(photo.pixels, noise())
    assert photo.name == str(path)
    assert photo.sha256 == hashlib.sha256(PNG).hexdigest()
    assert photo.decode_ms > 0


def _huge(folder: Path) -> Path:
    path = folder / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES * 10_000)  # one hole, which nobody could read into memory
    return path


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.jpg")
    return folder / "pipe.jpg"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "none.jpg", "there is no file"),
        (lambda folder: folder / "\0.jpg", "cannot read"),
        (lambda folder: folder / ("n" * 300), "cannot read"),
        (lambda folder: Path("/proc/self/mem"), "cannot read"),
        (_huge, "1000000.0 MB, more than the 100 MB"),
        (_fifo, "is not a plain file"),
    ],
    ids=["folder", "missing", "null in the name", "name too long", "unreadable", "huge", "pipe"],
)
def test_files_that_cannot_be_loaded(make: object, words: str, tmp_path: Path) -> None:
    assert callable(make)
    path = make(tmp_path)
    if path.is_absolute() and path.parts[1] == "proc" and not path.exists():
        pytest.skip("no /proc on this system")
    with pytest.raises(PhotoError, match=words):
        load(path)


def test_missing_opencv_is_one_sentence() -> None:
    code = "import sys; sys.modules['cv2'] = None\nimport kinsight.image"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("kinsight.errors.MissingPackage: OpenCV cannot be loaded")


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp"])
def test_save_and_load_again(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    save(noise(), path)
    worst = np.abs(load(path).pixels.astype(int) - noise()).max()
    assert worst == 0 if suffix.lower() == ".png" else worst < 40
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_reader_keeps_the_old_file_while_a_new_one_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    save(noise(), path)
    old = path.read_bytes()
    with path.open("rb") as reader:
        save(255 - noise(), path)
        assert reader.read() == old != path.read_bytes()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("out.gif", "end it in .png, .jpg, .jpeg, .webp"),
        ("out", "end it in"),
        ("none/out.png", "No such file"),
        ("a file/out.png", "Not a directory"),
        ("a folder.png", "cannot write"),
    ],
)
def test_where_nothing_can_be_saved(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"x")
    (tmp_path / "a folder.png").mkdir()
    with pytest.raises(PhotoError, match=words):
        save(noise(), tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a file", "a folder.png"]


def test_a_save_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are POSIX")
    path = tmp_path / "out.png"
    save(noise(), path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))  # the disk is "full" after 200 bytes
    try:
        with pytest.raises(PhotoError, match="has room"):
            save(255 - noise(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert np.array_equal(load(path).pixels, noise())
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_picture_too_wide_for_the_format(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PhotoError, match=r"70000 x 1 pixels .* save it as \.png"):
        save(np.zeros((1, 70_000, 3), np.uint8), tmp_path / f"out{suffix}")
    assert capfd.readouterr().err == ""


def test_jpeg_quality_is_used() -> None:
    assert len(encode_jpeg(noise(), 30)) < len(encode_jpeg(noise(), 95))
    assert np.abs(decode(encode_jpeg(noise(), 100)).pixels.astype(int) - noise()).mean() < 4
