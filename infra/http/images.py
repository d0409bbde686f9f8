"""Profile photos: images and their file names (contract contact_information.md, section 11).

The bytes are untrusted and go through decoders written in C. So only three formats are tried, sizes
are read from the header before anything is decoded, and decoding has a budget.
"""

from __future__ import annotations

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Final

from PIL import Image, ImageSequence

from domain.errors import InvalidProfilePhoto

__all__ = ["MAX_BYTES", "MAX_PIXELS", "clean_file_name", "inspect_image", "inspect_image_off_loop"]

MAX_BYTES: Final = 5 * 1024 * 1024
MAX_PIXELS: Final = 25_000_000
"""The most pixels of one picture, and of all frames that are checked: those of a 24-megapixel phone,
which take 100 MB of memory while decoded."""

_FORMATS: Final = ("JPEG", "PNG", "GIF")
# Phones write JPEG files with more pictures after the first; Pillow calls those MPO.
_MIME_TYPES: Final = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
}

# A progressive JPEG of 5 MiB can hold 80 000 scans that each cover the whole picture. Real ones have
# about ten; the same two bytes occur about 80 times by chance in 5 MiB of other data after the
# picture.
_START_OF_SCAN: Final = b"\xff\xda"
_MAX_SCANS: Final = 256

_LEAST_FRAME: Final = 10_000  # pixels a frame is charged at least: tiny ones are not free
_MAX_NAME: Final = 255
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

# Pillow's own limit, for pictures that it makes before their size can be checked (the later frames of
# a GIF may be larger): it refuses pictures of more than twice as many pixels.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_workers: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="image")


def inspect_image(content: bytes) -> str:
    """Recognise an image by its content and check that it can be decoded.

    A JPEG is decoded at an eighth of its size, of a GIF as many frames as ``MAX_PIXELS`` allows. Data
    after the picture is accepted: many phones put some there.

    :return: ``image/jpeg``, ``image/png`` or ``image/gif``.
    :raises InvalidProfilePhoto: empty, larger than ``MAX_BYTES``, another format, truncated or
        otherwise broken, or a bomb.
    """
    if not content:
        raise InvalidProfilePhoto("file")
    if len(content) > MAX_BYTES:
        raise InvalidProfilePhoto("file")
    try:
        return _inspect(content)
    except InvalidProfilePhoto:
        raise
    except Exception as error:  # decoders fail on broken data in more ways than they document
        raise InvalidProfilePhoto("file") from error


async def inspect_image_off_loop(content: bytes) -> str:
    """Run ``inspect_image`` in one of two threads, so that the event loop does not wait for it."""
    return await asyncio.get_running_loop().run_in_executor(_workers, inspect_image, content)


def clean_file_name(name: str) -> str:
    """Return a file name without path or unprintable characters (contact_information.md, section 11).

    :param name: the name as the client sends it, perhaps with a path of any operating system.
    :return: its last part without control characters, and without blanks and dots at its ends; at
        most 255 characters; ``photo`` if nothing is left.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(char for char in last if unicodedata.category(char) not in _UNPRINTABLE)
    return _trimmed(_trimmed(printable)[:_MAX_NAME]) or "photo"


def _trimmed(name: str) -> str:
    while name != (trimmed := name.strip().strip(".")):
        name = trimmed
    return name


def _inspect(content: bytes) -> str:
    with Image.open(BytesIO(content), formats=_FORMATS) as image:
        kind = _MIME_TYPES[image.format or ""]
        _check_size(image)
        if kind == "image/jpeg" and content.count(_START_OF_SCAN) > _MAX_SCANS:
            raise InvalidProfilePhoto("file")
        image.verify()
    # verify() leaves an image unusable.
    with Image.open(BytesIO(content), formats=_FORMATS) as image:
        if kind == "image/gif":
            _decode_frames(image)
        else:
            image.draft(None, (1, 1))
            image.load()
    return kind


def _decode_frames(image: Image.Image) -> None:
    budget = MAX_PIXELS
    for frame in ImageSequence.Iterator(image):
        _check_size(frame)
        budget -= max(frame.width * frame.height, _LEAST_FRAME)
        if budget < 0:
            return
        frame.load()


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InvalidProfilePhoto("file")
