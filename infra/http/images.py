"""Profile photos: images and their file names (contract contact_information.md, section 11).

The bytes are untrusted and go through decoders written in C. So only three formats are tried, sizes
are read from the headers before anything is decoded, and decoding has a budget.
"""

from __future__ import annotations

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Final

from PIL import Image, ImageSequence

from domain.errors import InvalidProfilePhoto
from infra.http.image_files import ImageFile, read_image_file

__all__ = [
    "MAX_BYTES",
    "MAX_JPEG_PIXELS",
    "MAX_PIXELS",
    "clean_file_name",
    "inspect_image",
    "inspect_image_off_loop",
]

MAX_BYTES: Final = 5 * 1024 * 1024
MAX_PIXELS: Final = 25_000_000
"""The most pixels of one picture that is decoded as a whole, and of all frames that are checked. They
take 100 MB of memory."""
MAX_JPEG_PIXELS: Final = 100_000_000
"""The most pixels of a JPEG, of which an eighth of the width and height is decoded."""

_FORMATS: Final = ("JPEG", "PNG", "GIF")

# A progressive JPEG of 5 MiB can hold 80 000 scans that each cover the whole picture. Real ones have
# about ten.
_MAX_SCANS: Final = 256

_LEAST_FRAME: Final = 10_000  # pixels a frame is charged at least: tiny ones are not free
_MAX_NAME: Final = 255
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

# Pillow's own limit, beside ours: it refuses pictures of more than twice as many pixels.
Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS

_workers: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="image")


def inspect_image(content: bytes) -> ImageFile:
    """Recognise an image by its content and check that it can be decoded.

    A JPEG is decoded at an eighth of its size, of a GIF as many frames as ``MAX_PIXELS`` allows. Of a
    JPEG that is larger and would be in memory as a whole, only the parts are checked.

    :return: the image without metadata and without data after the picture, as it is to be served.
    :raises InvalidProfilePhoto: empty, larger than ``MAX_BYTES``, another format, truncated or
        otherwise broken, or a bomb.
    """
    if not content or len(content) > MAX_BYTES:
        raise InvalidProfilePhoto("file")
    try:
        return _inspect(content)
    except InvalidProfilePhoto:
        raise
    except Exception as error:  # decoders fail on broken data in more ways than they document
        raise InvalidProfilePhoto("file") from error


async def inspect_image_off_loop(content: bytes) -> tuple[str, bytes]:
    """Mime type and content of ``inspect_image``, run in one of two threads: no event loop waits."""
    loop = asyncio.get_running_loop()
    file = await loop.run_in_executor(_workers, inspect_image, content)
    return file.mime_type, file.content


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


def _inspect(content: bytes) -> ImageFile:
    file = read_image_file(content)
    is_jpeg = file.mime_type == "image/jpeg"
    limit = MAX_JPEG_PIXELS if is_jpeg else MAX_PIXELS
    if not 0 < file.pixels <= limit or file.scans > _MAX_SCANS:
        raise InvalidProfilePhoto("file")
    with Image.open(BytesIO(file.content), formats=_FORMATS) as image:
        image.verify()
    if file.pixels > MAX_PIXELS and file.whole_in_memory:
        return file
    # verify() leaves an image unusable.
    with Image.open(BytesIO(file.content), formats=_FORMATS) as image:
        if file.mime_type == "image/gif":
            _decode_frames(image)
        else:
            image.draft(None, (1, 1))
            image.load()
    return file


def _decode_frames(image: Image.Image) -> None:
    budget = MAX_PIXELS
    for frame in ImageSequence.Iterator(image):
        budget -= max(frame.width * frame.height, _LEAST_FRAME)
        if budget < 0:
            return
        frame.load()
