"""Contract contact_information.md, section 11, and fault 42 for pictures."""

from __future__ import annotations

import asyncio
import random
import struct
import subprocess
import sys
import threading
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngInfo

from domain.errors import InvalidProfilePhoto
from infra.http import images
from infra.http.image_files import ImageFile
from infra.http.images import (
    MAX_BYTES,
    MAX_JPEG_PIXELS,
    MAX_PIXELS,
    clean_file_name,
    inspect_image,
    inspect_image_off_loop,
)


def noise(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).tobytes())
    return Image.frombytes(mode, size, random.Random(7).randbytes(size[0] * size[1] * channels))


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    stream = BytesIO()
    noise(mode=mode).save(stream, kind, **options)
    return stream.getvalue()


FRAMES = [noise(mode="L"), noise(mode="L").rotate(180)]
PICTURES = {
    "jpeg": (encoded("JPEG"), "image/jpeg"),
    "progressive jpeg": (encoded("JPEG", progressive=True), "image/jpeg"),
    "grey jpeg": (encoded("JPEG", "L"), "image/jpeg"),
    "cmyk jpeg": (encoded("JPEG", "CMYK"), "image/jpeg"),
    "phone jpeg": (encoded("MPO", save_all=True, append_images=[noise()]), "image/jpeg"),
    "png": (encoded("PNG"), "image/png"),
    "transparent png": (encoded("PNG", "RGBA"), "image/png"),
    "animated png": (encoded("PNG", save_all=True, append_images=[noise()]), "image/png"),
    "gif": (encoded("GIF"), "image/gif"),
    "animated gif": (encoded("GIF", "L", save_all=True, append_images=FRAMES), "image/gif"),
}


@pytest.mark.parametrize(("content", "mime_type"), PICTURES.values(), ids=PICTURES)
def test_recognised_by_content(content: bytes, mime_type: str) -> None:
    found = inspect_image(content)
    assert found.mime_type == mime_type
    assert inspect_image(found.content) == found


@pytest.mark.parametrize("part", [0.05, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize(
    "kind", [kind for kind in PICTURES if kind not in ("phone jpeg", "animated png")]
)
def test_truncated_pictures_are_refused(kind: str, part: float) -> None:
    content, _ = PICTURES[kind]
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(content[: int(len(content) * part)])


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF", "ICO", "PPM", "PDF"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(encoded(kind))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        b"GIF89a=1;alert(1)//",
        b"\xff\xd8\xff<script>alert(1)</script>",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"<html>" + encoded("PNG"),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(content)


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif"])
def test_a_polyglot_is_only_ever_called_an_image(kind: str) -> None:
    content, mime_type = PICTURES[kind]
    found = inspect_image(content + b"<script>alert(1)</script>PK\x05\x06")
    assert (found.mime_type, found.content) == (mime_type, content)


def test_a_png_without_its_end_is_refused() -> None:
    content = encoded("PNG")
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(content[: content.index(b"IEND") - 4])


def test_a_jpeg_is_decoded_small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    real = JpegImageFile.load

    def load(self: JpegImageFile) -> Any:
        sizes.append(self.size)
        return real(self)

    monkeypatch.setattr(JpegImageFile, "load", load)
    inspect_image(encoded("JPEG"))
    assert sizes == [(8, 6)]


def test_a_broken_checksum_is_refused() -> None:
    content = bytearray(encoded("PNG"))
    content[-20] ^= 1
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(bytes(content))


def test_the_size_has_one_limit() -> None:
    content = encoded("JPEG")
    assert inspect_image(content.ljust(MAX_BYTES, b"\0")).content == content
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(content.ljust(MAX_BYTES + 1, b"\0"))


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def resized(content: bytes, offset: int, form: str, width: int, height: int) -> bytes:
    return (
        content[:offset]
        + struct.pack(form, width, height)
        + content[offset + struct.calcsize(form) :]
    )


JPEG = encoded("JPEG")
APNG = PICTURES["animated png"][0]
BOMBS = {
    "png": png(MAX_PIXELS, 2, b""),
    "png beyond the decoder's limit": png(60_000, 60_000, b""),
    "jpeg": resized(JPEG, JPEG.index(b"\xff\xc0") + 5, ">HH", 10_001, 10_000),
    "gif": resized(encoded("GIF"), 6, "<HH", 6000, 6000),
    "frame of a png": resized(APNG, APNG.index(b"fcTL") + 8, ">II", 6000, 6000),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pixel_bombs_are_refused_before_decoding(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoding(*_: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoding)
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(content)


def test_a_picture_of_all_pixels_allowed_is_accepted() -> None:
    content = png(MAX_PIXELS // 1000, 1000, b"\0" * (MAX_PIXELS + 1000))
    assert inspect_image(content).content == content


def test_surplus_pixel_data_is_ignored() -> None:
    assert inspect_image(png(1, 1, bytes(50_000_000))).mime_type == "image/png"


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    content = encoded("JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(content[:start] + content[start:-2] * 300 + content[-2:])


EXIF = Image.Exif()
EXIF[0x010F] = "Quizzlebury Cameras"
EXIF.get_ifd(0x8825)[2] = (35.0, 10.0, 20.0)
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>Quizzlebury</x:xmpmeta>"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TEXTS = PngInfo()
for add in (TEXTS.add_text, TEXTS.add_itxt):
    add("Author", "Quizzlebury")
TEXTS.add_text("Comment", "Quizzlebury" * 100, zip=True)
WITH_METADATA: dict[str, tuple[bytes, bytes]] = {
    "jpeg": (
        encoded("JPEG", exif=EXIF, comment=b"Quizzlebury", icc_profile=PROFILE),
        encoded("JPEG", icc_profile=PROFILE),
    ),
    "jpeg with xmp": (
        JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(XMP) + 2) + XMP + JPEG[2:],
        JPEG,
    ),
    "cmyk jpeg": (encoded("JPEG", "CMYK", exif=EXIF), encoded("JPEG", "CMYK")),
    "progressive jpeg": (
        encoded("JPEG", progressive=True, exif=EXIF),
        encoded("JPEG", progressive=True),
    ),
    "phone jpeg": (encoded("MPO", save_all=True, append_images=[noise()], exif=EXIF), JPEG),
    "png": (encoded("PNG", exif=EXIF, pnginfo=TEXTS), encoded("PNG")),
    "animated png": (
        encoded("PNG", exif=EXIF, save_all=True, append_images=[noise()], pnginfo=TEXTS),
        APNG,
    ),
    "gif": (encoded("GIF", comment=b"Quizzlebury"), b"GIF89a" + encoded("GIF")[6:]),
    "animated gif": (
        encoded("GIF", "L", save_all=True, append_images=FRAMES, loop=3, comment=b"Quizzlebury"),
        encoded("GIF", "L", save_all=True, append_images=FRAMES, loop=3),
    ),
}


@pytest.mark.parametrize(("content", "expected"), WITH_METADATA.values(), ids=WITH_METADATA)
def test_what_is_served_says_nothing_about_anybody(content: bytes, expected: bytes) -> None:
    assert len(content) > len(expected)
    found = inspect_image(content).content
    assert found == expected


@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_does_not_fall_on_its_side(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Quizzlebury Cameras"
    found = inspect_image(encoded("JPEG", exif=exif)).content
    assert b"Quizzlebury" not in found
    with Image.open(BytesIO(found)) as image:
        expected = {0x0112: orientation} if 2 <= orientation <= 8 else {}
        assert dict(image.getexif()) == expected


def test_broken_metadata_is_removed_as_well() -> None:
    broken = b"Exif\0\0MM\0*\xff\xff\xff\xffQuizzlebury"
    segment = b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken
    assert inspect_image(JPEG[:2] + segment + JPEG[2:]).content == JPEG


SMALL_PARTS = {
    "jpeg": b"\xff\xd8" + b"\xff\xdb\0\2" * 10**6 + b"\xff\xd9",
    "fill bytes": b"\xff\xd8\xff\xda\0\2" + b"\xff" * 5 * 10**6,
    "gif": b"GIF89a\1\0\1\0\0\0\0" + b"!\xf9\1\0\0" * 10**6 + b";",
    "png": b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0IDATcrc." * 4 * 10**5,
}


@pytest.mark.parametrize("content", SMALL_PARTS.values(), ids=SMALL_PARTS)
def test_a_file_of_very_many_parts_is_refused(content: bytes) -> None:
    """In no time: walking all of them, or looking at one again and again, takes seconds to hours."""
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(content)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_the_largest_jpeg_needs_little_memory(options: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    Image.new("L", (10_000, MAX_JPEG_PIXELS // 10_000), 7).save(file, "JPEG", **options)
    told = subprocess.run(  # of a process of its own: memory is measured as the most there was
        [sys.executable, "-c", MEASURE, str(file)], check=True, capture_output=True, text=True
    )
    assert int(told.stdout) < 50_000


MEASURE = """
import resource, sys
from pathlib import Path
from infra.http.images import inspect_image

def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

content = Path(sys.argv[1]).read_bytes()
before = most()
assert inspect_image(content).content == content
print(most() - before)
"""


def gif_of(frames: int, width: int = 1000, height: int = 1000) -> bytes:
    pixels = BytesIO()
    Image.new("L", (1, 1)).save(pixels, "GIF")
    content = resized(pixels.getvalue(), 6, "<HH", width, height)
    start = content.index(b"\x2c\0\0\0\0")
    return content[:start] + content[start:-1] * frames + b";"


def test_decoding_an_animation_has_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = 0
    real = Image.Image.load

    def load(self: Image.Image) -> Any:
        nonlocal loads
        loads += 1
        return real(self)

    def work(frames: int) -> int:
        nonlocal loads
        loads = 0
        assert inspect_image(gif_of(frames)).mime_type == "image/gif"
        return loads

    monkeypatch.setattr(Image.Image, "load", load)
    affordable = MAX_PIXELS // 1_000_000
    assert work(affordable // 2) < work(affordable) == work(10_000)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [6000, 8000])
def test_a_later_frame_must_not_outgrow_the_limit(side: int) -> None:
    content = gif_of(2)
    last = content.rindex(b"\x2c\0\0\0\0")
    with pytest.raises(InvalidProfilePhoto):
        inspect_image(resized(content, last + 5, "<HH", side, side))


async def test_off_the_loop_it_works_in_its_own_few_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names: set[str] = set()
    both = threading.Barrier(2)

    def inspect(content: bytes) -> ImageFile:
        names.add(threading.current_thread().name)
        both.wait(10)
        return ImageFile("image/png", b"picture", 1)

    monkeypatch.setattr(images, "inspect_image", inspect)
    found = await asyncio.gather(*(inspect_image_off_loop(b"") for _ in range(6)))
    assert found == [("image/png", b"picture")] * 6
    assert len(names) == 2
    assert threading.current_thread().name not in names


async def test_off_the_loop_it_refuses_the_same() -> None:
    with pytest.raises(InvalidProfilePhoto):
        await inspect_image_off_loop(b"no image")


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("me.jpg", "me.jpg"),
        ("фото 1.png", "фото 1.png"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\win.ini", "win.ini"),
        ("C:\\x/y\\me.gif", "me.gif"),
        ("a\0b\r\nc\x7f\u202e\u2028\ud800.png", "abc.png"),
        (" . .htaccess. ", "htaccess"),
        ("", "photo"),
        ("..", "photo"),
        ("dir/", "photo"),
        ("\x01 .", "photo"),
        ("x" * 300, "x" * 255),
        ("x" * 254 + " .y", "x" * 254),
    ],
)
def test_file_names(name: str, clean: str) -> None:
    assert clean_file_name(name) == clean


@given(st.text(st.characters() | st.sampled_from("/\\. \0\n"), max_size=300))
def test_a_clean_name_is_one_and_stays_one(name: str) -> None:
    clean = clean_file_name(name)
    assert 0 < len(clean) <= 255
    assert not set(clean) & set("/\\\0\r\n")
    assert clean == clean.strip().strip(".")
    assert clean_file_name(clean) == clean
    clean.encode()
