"""Image files as they are built: their parts are walked, and nothing is decoded.

A copy is made of the parts that a picture needs. Everything else is left out: positions, names,
thumbnails and texts of cameras and programs (EXIF, XMP, IPTC, comments), later pictures of the same
file, and data after its end. What a picture says about how it is held is kept, or it would lie on its side.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL import Image

__all__ = ["ImageFile", "read_image_file"]

_MAX_PARTS: Final = 65_536
"""The most parts of a file: many times those of real ones, and walked in a fraction of a second."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT pHYs bKGD hIST sPLT cICP acTL fcTL fdAT".split()
)
_PNG_SIZES: Final = {b"IHDR": 8, b"fcTL": 12}
"""Where a chunk holds the size of a picture."""

_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_APP0, _APP1, _APP15, _COMMENT = 0xE0, 0xE1, 0xEF, 0xFE
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# By the number of their application segment: colour profiles, and how colours are to be converted.
_JPEG_COLOURS: Final = {0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
_EXIF: Final = b"Exif\0\0"
_ORIENTATION: Final = 0x0112

_GIF_EXTENSIONS: Final = {
    0xF9: b"",  # how long a frame is shown
    0xFF: b"NETSCAPE2.0",  # how often all are
}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file with what a picture needs, and nothing else.

    ``pixels`` are those of its largest picture. ``scans`` is the number of times that a decoder of a
    JPEG goes over it; ``whole_in_memory`` is true where all of it is in memory meanwhile.
    """

    mime_type: str
    content: bytes
    pixels: int
    scans: int = 1
    whole_in_memory: bool = True


def read_image_file(content: bytes) -> ImageFile:
    """The JPEG, PNG or GIF file without metadata.

    Raises ``ValueError``, ``IndexError`` or ``struct.error`` for anything else.
    """
    for signature, read in _READERS.items():
        if content.startswith(signature):
            return read(content)
    raise ValueError("no image of a known kind")


def _read_jpeg(content: bytes) -> ImageFile:
    parts, pixels, scans, colours, whole = [b"\xff\xd8"], 0, 0, 0, False
    for marker, payload, data in _jpeg_segments(content):
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", payload, 1)
            pixels, colours = max(pixels, width * height), payload[5]
            whole |= marker in _PROGRESSIVE
        if marker == _START_OF_SCAN:
            # A scan of only some colours is kept until the others come.
            whole |= payload[0] < colours
            scans += 1
        served = _served_jpeg_payload(marker, payload)
        if served is not None:
            parts.append(b"\xff%c%b%b" % (marker, (len(served) + 2).to_bytes(2), served))
        parts.append(data)
        _check_number(parts)
    return ImageFile("image/jpeg", b"".join((*parts, b"\xff\xd9")), pixels, scans, whole)


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The segments up to the end of the first picture: marker, payload, and the data of a scan."""
    position = 2
    while (match := _MARKER.match(content, position)) is not None:
        marker, position = match[1][0], match.end()
        if marker == _END:
            return
        end = position + int.from_bytes(content[position : position + 2])
        payload, position = content[position + 2 : end], end
        if marker == _START_OF_SCAN:
            after = _AFTER_SCAN.search(content, end)
            position = after.start() if after else len(content)
        yield marker, payload, content[end:position]
    raise ValueError("a JPEG without an end")


def _served_jpeg_payload(marker: int, payload: bytes) -> bytes | None:
    """Return the part of a segment that is served; None if nothing of it is."""
    if marker == _APP0 and payload.startswith(b"JFIF\0"):
        return payload[:12] + b"\0\0"  # without a thumbnail
    if marker == _APP1 and payload.startswith(_EXIF):
        return _orientation(payload)
    if marker in _JPEG_COLOURS:
        return payload if payload.startswith(_JPEG_COLOURS[marker]) else None
    return None if _APP0 <= marker <= _APP15 or marker == _COMMENT else payload


def _orientation(exif: bytes) -> bytes | None:
    """The EXIF data that only says how a picture is held; None if it is held upright."""
    sent, served = Image.Exif(), Image.Exif()
    try:
        sent.load(exif)
        orientation = sent.get(_ORIENTATION)
    except Exception:  # it fails on broken data in more ways than it documents
        return None
    if orientation not in range(2, 9):
        return None
    served[_ORIENTATION] = orientation
    return served.tobytes()


def _read_png(content: bytes) -> ImageFile:
    parts, position, pixels, kind = [_PNG], len(_PNG), 0, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            raise ValueError("a PNG without an end")
        if kind in _PNG_SIZES:
            width, height = struct.unpack_from(">II", content, position + _PNG_SIZES[kind])
            pixels = max(pixels, width * height)
        if kind in _PNG_CHUNKS:
            parts.append(content[position:end])
            _check_number(parts)
        position = end
    return ImageFile("image/png", b"".join(parts), pixels)


def _read_gif(content: bytes) -> ImageFile:
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    position = 13 + _colours(flags)
    parts, pixels = [content[:position]], width * height
    while content[position : position + 1] not in (b";", b""):
        start, is_kept = position, True
        if content[start] == ord(","):
            width, height, flags = struct.unpack_from("<HHB", content, start + 5)
            pixels = max(pixels, width * height)
            position = _after_blocks(content, start + 11 + _colours(flags))
        elif content[start] == ord("!"):
            name = _GIF_EXTENSIONS.get(content[start + 1])
            is_kept = name is not None and content.startswith(name, start + 3)
            position = _after_blocks(content, start + 2)
        else:
            raise ValueError("no block of a GIF")
        if is_kept:
            parts.append(content[start:position])
            _check_number(parts)
    return ImageFile("image/gif", b"".join((*parts, b";")), pixels)


def _check_number(parts: list[bytes]) -> None:
    if len(parts) > _MAX_PARTS:
        raise ValueError("an image of too many parts")


def _colours(flags: int) -> int:
    """The length of a table of colours in bytes."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(content: bytes, position: int) -> int:
    while content[position]:
        position += content[position] + 1
    return position + 1


_READERS: Final = {
    b"\xff\xd8\xff": _read_jpeg,
    _PNG: _read_png,
    b"GIF87a": _read_gif,
    b"GIF89a": _read_gif,
}
