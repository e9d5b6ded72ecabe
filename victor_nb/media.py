"""Images and PDFs in a prompt, and the stand-ins by which text, history and ledger name them without their bytes."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast

from victor_nb.errors import PromptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_LARGEST: Final = 100_000_000  # bytes; no provider takes a larger file in a request
_KILO, _MEGA = 1_000, 1_000_000
_PIXELS: Final = {1: 0, 3: 2, 4: 6}
"""PNG's type of colour, by the number of channels."""
_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""Modes of PIL that PNG can hold."""
_STARTS_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's segments that hold the size of the image."""
_PADDING, _BARE = 0xFF, frozenset(range(0xD0, 0xD9))
"""Markers of JPEG that no length follows."""
_PAGE: Final = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_STREAM: Final = re.compile(rb"/ObjStm.{0,200}?stream\r?\n", re.DOTALL)
_MOST_INFLATED: Final = 20_000_000  # bytes of one stream of a PDF, against one that inflates without end


class Media:
    """What a prompt may hold beside text. `repr` and `str` give the stand-in, never the bytes.

    Attributes:
        data: The bytes of the file.
        kind: `png`, `jpeg`, `gif`, `webp` or `pdf`.
        stand_in: The text that stands for it wherever text alone is kept.
    """

    __slots__ = ("data", "kind", "stand_in")

    def __init__(self, data: bytes, kind: str, what: str) -> None:
        self.data, self.kind = data, kind
        self.stand_in = f"[{what}, {size(len(data))}, sha256 {hashlib.sha256(data).hexdigest()[:12]}]"

    @property
    def mime(self) -> str:
        """The media type."""
        return "application/pdf" if self.kind == "pdf" else f"image/{self.kind}"

    @property
    def base64(self) -> str:
        """The bytes as providers take them."""
        return b64encode(self.data).decode()

    @property
    def url(self) -> str:
        """The bytes as a `data:` URL."""
        return f"data:{self.mime};base64,{self.base64}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Media) and (self.kind, self.data) == (other.kind, other.data)

    def __hash__(self) -> int:
        return hash(self.stand_in)

    def __repr__(self) -> str:
        return self.stand_in


class Image(Media):
    """An image: `Image("chart.png")`, or of bytes, a matplotlib figure, a PIL image or an array.

    An array is (height, width), or has 1, 3 or 4 channels as its last axis, of uint8 or of floats from 0 to 1. Figures
    and arrays become PNG.

    Attributes:
        width: Pixels.
        height: Pixels.

    Raises:
        PromptError: There is no image in it.
    """

    __slots__ = ("height", "width")

    def __init__(self, source: object) -> None:
        try:
            data = _image_bytes(source)
            kind, self.width, self.height = _measured(data)
        except PromptError as error:
            raise PromptError(f"The image {error}") from None
        super().__init__(data, kind, f"image {self.width}x{self.height} {kind}")


class Pdf(Media):
    """A PDF: `Pdf("report.pdf")`, or of its bytes.

    Attributes:
        pages: How many it has; None where that cannot be seen.

    Raises:
        PromptError: It is none.
    """

    __slots__ = ("pages",)

    def __init__(self, source: object) -> None:
        try:
            data = _file_bytes(source)
        except PromptError as error:
            raise PromptError(f"The PDF {error}") from None
        if b"%PDF-" not in data[:1024]:  # where readers of PDFs look for it
            raise PromptError("The PDF is no PDF. Give the path of one, or its bytes.")
        self.pages = _pages(data)
        count = "" if self.pages is None else f" of {self.pages} page{'' if self.pages == 1 else 's'}"
        super().__init__(data, "pdf", f"PDF{count}")


class Prompt(str):
    """A text with stand-ins in it, and the images and PDFs that go there."""

    __slots__ = ("media",)

    media: tuple[Media, ...]

    def __new__(cls, text: str, media: Iterable[Media]) -> Self:
        """Make one; each of the media counts once, however often it stands in the text."""
        made = super().__new__(cls, text)
        made.media = tuple(dict.fromkeys(media))
        return made

    def __add__(self, other: str) -> Prompt:
        return Prompt(f"{self}{other}", (*self.media, *media_of(other)))

    def __reduce__(self) -> tuple[type[Prompt], tuple[str, tuple[Media, ...]]]:
        return Prompt, (f"{self}", self.media)


def media_of(prompt: object) -> tuple[Media, ...]:
    """Return the images and PDFs of a prompt."""
    return prompt.media if isinstance(prompt, Prompt) else ()


def compose(parts: Iterable[str | Media]) -> Prompt:
    """Return a prompt of texts, images and PDFs, a line each."""
    pieces, media = [*parts], list[Media]()
    for piece in pieces:
        media += [piece] if isinstance(piece, Media) else media_of(piece)
    return Prompt("\n".join(map(str, pieces)), media)


def split(text: str, media: Iterable[Media]) -> list[str | Media]:
    """Return the parts of a prompt, in order: its texts without the stand-ins, and what they stand for."""
    by_name = {each.stand_in: each for each in media}
    if not by_name:
        return [text]
    pieces = re.split(f"\\n?({'|'.join(map(re.escape, by_name))})\\n?", text)
    return [by_name.get(piece, piece) for piece in pieces if piece.strip()]


def picture(value: object) -> Media | None:
    """Return the image that a value is without a doubt: a figure, a PIL image, an array of bytes as pixels; or None."""
    if isinstance(value, Media):
        return value
    return Image(value) if _is_figure(value) or _is_pil(value) or _is_pixels(value) else None


def size(count: int) -> str:
    """Return a number of bytes in words."""
    if count < _KILO:
        return f"{count} B"
    return f"{count / _KILO:.0f} kB" if count < _MEGA else f"{count / _MEGA:.1f} MB"


# --- what a provider takes ---

_PATCH, _PER_PATCH, _LEAST_IMAGE = 28, 5, 2_400
"""Pixels, and tokens: all models that are not listed count less for the patches of an image, or for one tile."""


@dataclass(frozen=True, slots=True)
class Attachments:
    """What a provider takes in a prompt beside text. Bytes are counted as they are sent, in base64.

    Attributes:
        formats: The formats of images that it takes.
        pdf: Whether it takes PDFs.
        blind: A pattern that the names of models which take none start with; "" is none of them.
        image_bytes: The most that one image may have; None: only a request's bytes are limited.
        pdf_bytes: The most that one PDF may have.
        request_bytes: The most that all of a request may have.
        side: Pixels of the longest side of an image; None where larger ones are scaled.
        crowd: How many images may have that side, and the side where there are more.
        tokens: The most tokens that one image counts, by patterns that the names of models start with.
    """

    formats: tuple[str, ...] = ("png", "jpeg", "webp", "gif")
    pdf: bool = True
    blind: str = ""
    image_bytes: int | None = None
    pdf_bytes: int | None = None
    request_bytes: int | None = None
    side: int | None = None
    crowd: tuple[int, int] | None = None
    tokens: Mapping[str, int] = field(default_factory=dict[str, int])

    def __str__(self) -> str:
        return f"images ({', '.join(self.formats)}){' and PDFs' if self.pdf else ''}"

    def takes(self, model: str) -> bool:
        """Return whether a model takes images, as far as it is known without asking it."""
        return not (self.blind and re.match(self.blind, model))

    def most_tokens(self, model: str, width: int, height: int) -> int:
        """Return the most tokens that an image of this size counts."""
        listed = next((count for models, count in self.tokens.items() if re.match(models, model)), None)
        if listed is not None:
            return listed
        return max(_LEAST_IMAGE, -(-width // _PATCH) * -(-height // _PATCH) * _PER_PATCH)

    def faults(self, who: str, media: Sequence[Media]) -> Iterator[str]:
        """Yield what is wrong with the images and PDFs of a request to a provider, each with the next step."""
        images = [each for each in media if isinstance(each, Image)]
        if len(images) < len(media) and not self.pdf:
            yield f"{who} takes no PDFs. Send its text, or its pages as images, or ask another profile."
        side = self.side if self.crowd is None or len(images) <= self.crowd[0] else self.crowd[1]
        for image in images:
            if image.kind not in self.formats:
                yield f"{who} takes images as {', '.join(self.formats)}, not {image.stand_in}. Save it as PNG."
            if side is not None and max(image.width, image.height) > side:
                yield f"{who} takes images of at most {side:,} pixels a side, not {image.stand_in}. Make it smaller."
        sizes = [4 * -(-len(each.data) // 3) for each in media]  # in base64
        for each, count in zip(media, sizes, strict=True):
            most = self.image_bytes if isinstance(each, Image) else self.pdf_bytes
            if most is not None and count > most:
                sent = f"{each.stand_in} is {size(count)} when sent"
                yield f"{who} takes {size(most)} at most, and {sent}. Make it smaller."
        if self.request_bytes is not None and sum(sizes) > self.request_bytes:
            most = size(self.request_bytes)
            yield f"{who} takes {most} in a request, and the {len(media)} here are {size(sum(sizes))}. Send fewer."


# --- bytes of what they are made of ---


def _has_base(value: object, module: str, name: str) -> bool:
    return any((kind.__module__, kind.__name__) == (module, name) for kind in type(value).__mro__)


def _is_figure(value: object) -> bool:
    return _has_base(value, "matplotlib.figure", "FigureBase")


def _is_pil(value: object) -> bool:
    return _has_base(value, "PIL.Image", "Image")


def _is_array(value: object) -> bool:
    return _has_base(value, "numpy", "ndarray")


def _is_pixels(value: object) -> bool:
    if not _is_array(value):
        return False
    array = cast("Any", value)
    return array.dtype.name == "uint8" and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _PIXELS))  # noqa: PLR2004


def _image_bytes(source: object) -> bytes:
    holder = cast("Any", source)
    if isinstance(source, Image):
        return source.data
    if _is_array(source):
        return _png(holder)
    buffer = BytesIO()
    if _is_figure(source):
        holder.savefig(buffer, format="png", metadata={"Software": None})  # the same bytes each time
    elif _is_pil(source):
        image = holder if holder.mode in _MODES else holder.convert("RGBA" if "A" in holder.mode else "RGB")
        # A photograph would be many times as large in PNG.
        image.save(buffer, **({"format": "JPEG", "quality": 90} if holder.format == "JPEG" else {"format": "PNG"}))
    else:
        return _file_bytes(source)
    return buffer.getvalue()


def _file_bytes(source: object) -> bytes:
    """Return the bytes that are given, or those of the file at a path."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", source))
    if isinstance(source, Media):
        return source.data
    if not isinstance(source, (str, os.PathLike)):
        kinds = "a path, bytes, a figure, a PIL image or an array"
        raise PromptError(f"is made of a {type(source).__name__}. Give {kinds}.")
    path = Path(os.path.expanduser(cast("str", source)))  # noqa: PTH111 - pathlib's raises where there is no such home
    try:
        if path.stat().st_size > _LARGEST:
            raise PromptError(f"{path.name!r} has {size(path.stat().st_size)}, which no provider takes.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PromptError(f"{str(path)[:200]!r} cannot be read: {why}. Give the path of a file.") from None


def _png(array: Any) -> bytes:  # noqa: ANN401 - numpy is not imported here
    """Return an array of pixels as PNG (RFC 2083)."""
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0  # noqa: PLR2004
    if channels not in _PIXELS or 0 in array.shape:
        shape = "x".join(map(str, array.shape))
        raise PromptError(
            f"is an array of shape {shape}. Give (height, width), or with 1, 3 or 4 channels as last axis."
        )
    if array.dtype.kind == "b":
        array = array.astype("uint8") * 255
    elif array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise PromptError("is an array of floats beyond 0 to 1, or NaN. Scale it, or make it uint8.")
        array = (array * 255).round().astype("uint8")
    elif array.dtype.name != "uint8":
        raise PromptError(f"is an array of {array.dtype.name}. Make it uint8, or floats from 0 to 1.")
    height, width = array.shape[:2]
    row, pixels = width * channels, array.tobytes()
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    head = struct.pack(">IIBBBBB", width, height, 8, _PIXELS[channels], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    packed = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + packed


# --- what files say of themselves ---


def _measured(data: bytes) -> tuple[str, int, int]:
    """Return the format, the width and the height of an image, from its first bytes."""
    found: tuple[str, int, int] | None = None
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            found = ("png", *struct.unpack(">II", data[16:24]))
        elif data[:6] in (b"GIF87a", b"GIF89a"):
            found = ("gif", *struct.unpack("<HH", data[6:10]))
        elif data.startswith(b"\xff\xd8\xff"):
            found = ("jpeg", *_of_jpeg(data))
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            found = ("webp", *_of_webp(data))
    except (struct.error, IndexError):
        found = None
    if found is None or not (found[1] and found[2]):
        raise PromptError("is no PNG, JPEG, GIF or WebP. Save it as one of these.")
    return found


def _of_jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        marker = data[at + 1]
        if marker in _STARTS_OF_FRAME:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        if marker == _PADDING:
            at += 1
        else:
            at += 2 if marker in _BARE else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def _of_webp(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case _:
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF


def _pages(data: bytes) -> int | None:
    """Count the pages of a PDF, also of one that keeps its objects in compressed streams."""
    count = len(_PAGE.findall(data))
    for start in _STREAM.finditer(data) if not count else ():
        try:
            count += len(_PAGE.findall(zlib.decompressobj().decompress(data[start.end() :], _MOST_INFLATED)))
        except zlib.error:
            continue
    return count or None
