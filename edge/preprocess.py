"""The one preprocessing: from an encoded image or a camera frame to the tensor that the graph takes.

Training's validation, export's parity and the bin all call this module and nothing else, so that what was
validated is what runs. Normalization is not done here: it lives inside the graph.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from edge.errors import ImageError

Pixels = npt.NDArray[np.uint8]
"""uint8 [height, width, 3], BGR."""

Read = TypeVar("Read")

LETTERBOX_GREY = 114
"""Level of the bars that letterbox adds (0 to 255): near ImageNet's mean, so that they excite nothing."""

LINEAR_FACTOR = 1.2
"""Up to here a linear step does not alias to speak of: on a zone plate its error is that of INTER_AREA."""

MAX_PIXELS = 100_000_000
"""An image with more pixels is refused by its header: 100 million in BGR take 300 MB."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""What is decoded, by content and not by file ending. MPO, which many phones call a JPEG, comes with JPEG."""


class Resize(str, Enum):
    """How a picture of any shape fills the graph's input."""

    CROP = "crop"
    """The centre is kept, the rim is cut: shapes stay true."""
    LETTERBOX = "letterbox"
    """All is kept, grey bars fill the rest: shapes stay true."""
    STRETCH = "stretch"
    """All is kept and nothing is added: shapes are distorted."""


@dataclass(frozen=True)
class InputSpec:
    """The graph's input: uint8 [batch, height, width, 3], BGR. Raises ImageError on sizes that can't be."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    resize: Resize = Resize.CROP
    resize_short: int = 0
    """Only for crop: the short side of the whole picture, in pixels, if it were resized first and cropped
    then. height / resize_short is the share of the short side that is kept. 0 stands for height."""
    dtype: str = "uint8"
    layout: str = "NHWC"
    channels: str = "BGR"

    def __post_init__(self) -> None:
        if (self.dtype, self.layout, self.channels) != ("uint8", "NHWC", "BGR"):
            got = f"{self.dtype} {self.layout} {self.channels}"
            raise ImageError(f"input is {got}; this version feeds uint8 NHWC BGR only")
        if self.height < 1 or self.width < 1:
            raise ImageError(f"input size is {self.width} x {self.height}; both must be at least 1")
        if self.resize_short < 0 or (self.resize is Resize.CROP and 0 < self.resize_short < self.height):
            raise ImageError(f"resize_short is {self.resize_short}; it must be 0 or at least {self.height}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one tensor: height, width, 3."""
        return (self.height, self.width, 3)


@dataclass(frozen=True)
class Header:
    """What an image file says of itself."""

    format: str
    """By content, one of FORMATS."""
    frames: int
    """1 for a still; the depth map or gain map that a phone packs beside a JPEG does not count."""
    camera: str
    """Make and model by EXIF; empty where there is none."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode an encoded image to upright BGR, uint8 [height, width, 3].

    EXIF orientation is applied; grey becomes three equal channels; transparency is laid on white; CMYK and
    palettes become RGB; 16 bit keep their high byte; an animation gives its first frame. The size is read
    from the header first, so that a bomb costs nothing. Raises ImageError: unknown or truncated data, more
    than `max_pixels`, a sample format with no fixed range (floating point).
    """
    return _read(data, max_pixels, _upright)


def look(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Pixels, Header]:
    """Decode an image as `decode` does, and read its header. Raises ImageError as decode does."""
    return _read(data, max_pixels, lambda image: (_upright(image), _header(image)))


def glance(data: bytes, side: int) -> Pixels:
    """Decode an image for people, uint8 [height, width, 3] BGR, its longer side at least `side` where it has that.

    A JPEG is decoded at an eighth, a quarter or half of its size, which for a phone's photo takes a tenth of the
    time. No network may see the result. Raises ImageError as decode does.
    """

    def small(image: Image.Image) -> Pixels:
        image.draft("RGB", (2 * side, 2 * side))
        return _upright(image)

    return _read(data, MAX_PIXELS, small)


def _read(data: bytes, max_pixels: int, use: Callable[[Image.Image], Read]) -> Read:
    """Open an image, judge its size, and give it to `use`. Raises ImageError whatever goes wrong."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(f"image is {image.width} x {image.height}, over the limit of {max_pixels} pixels")
            return use(image)
    except (ImageError, MemoryError):  # the second is the machine's trouble, not the file's
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"image is too large: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError("not an image that can be read (JPEG, PNG, WebP, BMP or TIFF)") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on broken data
        raise ImageError(f"broken or truncated image ({error})") from error


def _upright(image: Image.Image) -> Pixels:
    image.load()
    return _to_bgr(ImageOps.exif_transpose(image) if _turned(image) else image)


def _header(image: Image.Image) -> Header:
    multi = image.format == "MPO"
    exif = image.getexif()
    camera = " ".join(str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    kind = "JPEG" if multi else str(image.format)
    return Header(kind, 1 if multi else getattr(image, "n_frames", 1), camera.strip())


def _turned(image: Image.Image) -> bool:
    return cast(int, image.getexif().get(ExifTags.Base.Orientation, 1)) != 1


def _to_bgr(image: Image.Image) -> Pixels:
    """Convert a loaded picture of any mode to BGR, uint8 [height, width, 3]."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own convert would clip at 255, not scale
        levels = np.asarray(image, dtype=np.int64)
        grey = (np.clip(levels, 0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ImageError("image holds floating-point samples, whose range is unknown; save it as 8 or 16 bit")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return cast(Pixels, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def fit(frame: Pixels, spec: InputSpec) -> Pixels:
    """Bring a BGR uint8 [h, w, 3] frame of any size to uint8 [spec.height, spec.width, 3], without aliasing.

    The crop is cut before resizing, which is the same picture as resize and crop, at half the cost.
    Raises ImageError on another dtype or shape.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ImageError(f"frame is {frame.dtype} {frame.shape}; expected uint8 [height, width, 3], BGR")
    if spec.resize is Resize.STRETCH:
        return _resample(frame, spec.width, spec.height)
    if spec.resize is Resize.LETTERBOX:
        return _letterbox(frame, spec)
    return _resample(_centre(frame, *_crop_size(frame, spec)), spec.width, spec.height)


def preprocess(data: bytes, spec: InputSpec) -> Pixels:
    """Decode an encoded image and fit it to the graph: uint8 [spec.height, spec.width, 3], BGR.

    Raises ImageError as decode does.
    """
    return fit(decode(data), spec)


def _crop_size(frame: Pixels, spec: InputSpec) -> tuple[int, int]:
    """Width and height, in pixels of the frame, of the centred piece that fills the graph's input."""
    height, width = frame.shape[:2]
    scale = min(height / spec.height, width / spec.width)
    if spec.resize_short:
        scale *= spec.height / spec.resize_short
    return max(1, round(spec.width * scale)), max(1, round(spec.height * scale))


def _centre(frame: Pixels, width: int, height: int) -> Pixels:
    """Return a view of the centred width x height piece of `frame`."""
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]


def _letterbox(frame: Pixels, spec: InputSpec) -> Pixels:
    height, width = frame.shape[:2]
    scale = min(spec.height / height, spec.width / width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    out = np.full(spec.shape, LETTERBOX_GREY, dtype=np.uint8)
    _centre(out, new_width, new_height)[...] = _resample(frame, new_width, new_height)
    return out


def _resample(frame: Pixels, width: int, height: int) -> Pixels:
    """Resize to width x height without aliasing: exact halvings by area first, a factor below 2 last.

    Averaging 2 x 2 blocks is OpenCV's fastest filter and does not alias. A factor near 1 that is left takes
    one linear step; a larger one would alias there, and is first enlarged to twice the result, then halved,
    which filters as INTER_AREA does at a third of its cost. Where the size does not divide, the rim (less
    than one pixel of the result) is left out.
    """
    times = max(0, min(frame.shape[0] // height, frame.shape[1] // width).bit_length() - 1)
    frame = _centre(frame, frame.shape[1] >> times << times, frame.shape[0] >> times << times)
    for _ in range(times):
        half = (frame.shape[1] // 2, frame.shape[0] // 2)
        frame = cast(Pixels, cv2.resize(frame, half, interpolation=cv2.INTER_AREA))
    if frame.shape[:2] == (height, width):
        return cast(Pixels, frame.copy())
    if frame.shape[0] >= 2 * height or frame.shape[1] >= 2 * width:
        # The sides shrink unequally. Area first, and only what shrinks: where a side grows it would be linear.
        smaller = (min(frame.shape[1], width), min(frame.shape[0], height))
        frame = cast(Pixels, cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA))
    if max(frame.shape[0] / height, frame.shape[1] / width) > LINEAR_FACTOR:
        twice = cv2.resize(frame, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
        return cast(Pixels, cv2.resize(twice, (width, height), interpolation=cv2.INTER_AREA))
    return cast(Pixels, cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR))
