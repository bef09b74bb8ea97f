from __future__ import annotations

import io
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
from PIL import ExifTags, Image

from edge.errors import ImageError
from edge.preprocess import LETTERBOX_GREY, InputSpec, Pixels, Resize, decode, fit, glance, preprocess

RED, GREEN, BLUE, WHITE = (0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255)
"""BGR."""

TURNS: dict[int, Image.Transpose | None] = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation to what a camera that writes it has done to the upright picture."""


def quarters() -> Image.Image:
    """Red, green over blue, white; wider than high, so that every turn shows."""
    image = Image.new("RGB", (64, 48))
    for corner, colour in zip(((0, 0), (32, 0), (0, 24), (32, 24)), (RED, GREEN, BLUE, WHITE), strict=True):
        image.paste(colour[::-1], (*corner, corner[0] + 32, corner[1] + 24))
    return image


def noise(width: int = 160, height: int = 120) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def solid(colour: tuple[int, int, int], height: int, width: int) -> Pixels:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def is_colour(pixel: Pixels, colour: tuple[int, ...], off: int = 0) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= off)


class TestOrientation:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", TURNS)
    def test_every_orientation_gives_the_same_upright_picture(self, orientation: int, kind: str) -> None:
        turn = TURNS[orientation]
        stored = quarters() if turn is None else quarters().transpose(turn)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        picture = decode(encode(stored, kind, exif=exif))
        assert picture.shape == (48, 64, 3)
        corners = picture[8, 8], picture[8, 56], picture[40, 8], picture[40, 56]
        for pixel, colour in zip(corners, (RED, GREEN, BLUE, WHITE), strict=True):
            assert is_colour(pixel, colour, off=12), (pixel, colour)

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_orientation_that_does_not_exist_is_ignored(self, orientation: int) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        assert np.array_equal(decode(encode(quarters(), "PNG", exif=exif)), decode(encode(quarters(), "PNG")))


class TestDecode:
    def test_is_bgr_and_writable(self) -> None:
        picture = decode(encode(Image.new("RGB", (4, 3), (10, 20, 30)), "PNG"))
        assert (picture.dtype, picture.shape) == (np.uint8, (3, 4, 3))
        assert picture[0, 0].tolist() == [30, 20, 10]
        picture[0, 0] = 0

    def test_grey_becomes_three_equal_channels(self) -> None:
        picture = decode(encode(Image.new("L", (4, 4), 77), "PNG"))
        assert is_colour(picture, (77, 77, 77))

    def test_bilevel(self) -> None:
        image = Image.new("1", (4, 4), 1)
        image.putpixel((0, 0), 0)
        picture = decode(encode(image, "PNG"))
        assert picture[0, 0].tolist() == [0, 0, 0]
        assert picture[1, 1].tolist() == [255, 255, 255]

    def test_palette(self) -> None:
        image = Image.new("RGB", (8, 8), (200, 100, 50)).quantize(4)
        assert image.mode == "P"
        assert is_colour(decode(encode(image, "PNG")), (50, 100, 200), off=1)

    def test_palette_with_a_transparent_colour_is_laid_on_white(self) -> None:
        image = Image.new("P", (8, 8), 0)
        image.putpalette([0, 0, 0, 255, 0, 0])
        image.putpixel((3, 3), 1)
        picture = decode(encode(image, "PNG", transparency=0))
        assert picture[0, 0].tolist() == [255, 255, 255]
        assert picture[3, 3].tolist() == [0, 0, 255]

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_alpha_is_laid_on_white(self, kind: str) -> None:
        image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
        image.paste((0, 0, 0, 0), (0, 0, 4, 8))
        image.paste((0, 0, 0, 128), (4, 0, 8, 4))
        picture = decode(encode(image, kind, **({"lossless": True} if kind == "WEBP" else {})))
        assert picture[6, 1].tolist() == [255, 255, 255]
        assert picture[6, 6].tolist() == [0, 0, 255]
        assert is_colour(picture[1, 6], (127, 127, 127), off=1)

    def test_grey_with_alpha_is_laid_on_white(self) -> None:
        assert is_colour(decode(encode(Image.new("LA", (4, 4), (0, 0)), "PNG")), WHITE)

    def test_cmyk_jpeg(self) -> None:
        picture = decode(encode(Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK"), "JPEG", quality=95))
        assert is_colour(picture, (60, 30, 200), off=6)

    def test_sixteen_bit_grey_keeps_its_high_byte(self) -> None:
        levels = np.array([[0, 255, 256], [32768, 51200, 65535]], dtype=np.uint16)
        picture = decode(encode(Image.fromarray(levels), "PNG"))
        assert picture[:, :, 0].tolist() == [[0, 0, 1], [128, 200, 255]]
        assert np.array_equal(picture[:, :, 0], picture[:, :, 2])

    def test_sixteen_bit_rgb_keeps_its_high_byte(self) -> None:
        # Pillow can't write them, OpenCV can.
        levels = np.full((4, 4, 3), (51200, 25600, 256), dtype=np.uint16)
        data = cv2.imencode(".png", levels)[1].tobytes()
        assert data[24] == 16, "not a 16-bit PNG"
        assert is_colour(decode(data), (200, 100, 1))

    def test_animation_gives_its_first_frame(self) -> None:
        frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0))]
        data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
        with Image.open(io.BytesIO(data)) as image:
            assert image.n_frames == 2
        assert is_colour(decode(data), RED)

    def test_mpo_gives_its_first_picture(self) -> None:
        frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 255, 0))]
        data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "MPO"
        assert is_colour(decode(data), RED, off=2)

    def test_float_tiff_is_refused(self) -> None:
        image = Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32))
        with pytest.raises(ImageError, match="floating-point"):
            decode(encode(image, "TIFF"))

    @pytest.mark.parametrize("data", [b"", b"x", b"this is a text file, no picture\n" * 99, bytes(1000)])
    def test_what_is_no_image_is_named_so(self, data: bytes) -> None:
        with pytest.raises(ImageError, match="not an image that can be read"):
            decode(data)

    def test_formats_outside_the_list_are_refused(self) -> None:
        with pytest.raises(ImageError, match="not an image that can be read"):
            decode(encode(Image.new("RGB", (4, 4)), "GIF"))

    def test_content_decides_and_no_name_is_asked_for(self) -> None:
        webp = encode(quarters(), "WEBP", lossless=True)
        assert np.array_equal(decode(webp), decode(encode(quarters(), "PNG")))

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
    def test_truncated_data_is_refused(self, kind: str) -> None:
        data = encode(noise(), kind)
        for kept in (1, 8, 20, 40, len(data) // 10, len(data) // 2, len(data) * 9 // 10, len(data) * 99 // 100):
            with pytest.raises(ImageError):
                decode(data[:kept])

    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    def test_progressive_or_large_data_cut_anywhere_is_refused_or_whole(self, kind: str) -> None:
        data = encode(noise(40, 30), kind, **({"progressive": True} if kind == "JPEG" else {}))
        whole = decode(data)
        refused = 0
        for kept in range(0, len(data), 37):
            try:
                assert np.array_equal(decode(data[:kept]), whole), kept
            except ImageError:
                refused += 1
        assert refused > len(data) // 37 * 0.95

    def test_limit_of_pixels_is_inclusive(self) -> None:
        data = encode(Image.new("RGB", (10, 10)), "PNG")
        assert decode(data, max_pixels=100).shape == (10, 10, 3)
        with pytest.raises(ImageError, match="10 x 10, over the limit of 99"):
            decode(data, max_pixels=99)

    def test_warns_of_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # Pillow warns from there to twice of it
        data = encode(Image.new("RGB", (10, 10)), "PNG")
        with pytest.warns(Image.DecompressionBombWarning):
            Image.open(io.BytesIO(data))
        decode(data)  # a warning would be an error here


def png_of(width: int, height: int) -> bytes:
    """A bomb: the header of a huge picture, and zeros that compress to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class TestBomb:
    @pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (10_001, 10_000), (2**31 - 1, 1)])
    def test_is_refused_by_its_header(self, width: int, height: int) -> None:
        with pytest.raises(ImageError, match=r"over the limit|too large"):
            decode(png_of(width, height))

    def test_costs_no_memory(self, tmp_path: Path) -> None:
        bomb = tmp_path / "bomb.png"
        bomb.write_bytes(png_of(30_000, 30_000))
        program = (
            "import resource, sys\n"
            "from edge.errors import ImageError\n"
            "from edge.preprocess import decode\n"
            "data = open(sys.argv[1], 'rb').read()\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try:\n    decode(data)\n    print('decoded')\nexcept ImageError:\n    print('refused')\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, bomb], capture_output=True, text=True, timeout=60, check=False
        )
        verdict, grown_kb = done.stdout.split()
        assert verdict == "refused"
        assert int(grown_kb) < 20_000


SIZES = [
    (1, 1),
    (1, 4000),
    (4000, 1),
    (3, 5),
    (31, 33),
    (32, 32),
    (64, 64),
    (480, 640),
    (1080, 1920),
    (1920, 1080),
]
TARGETS = [(1, 1), (32, 32), (224, 224), (48, 96), (96, 48), (33, 17)]


class TestFit:
    @pytest.mark.parametrize("resize", Resize)
    def test_every_size_gives_the_target(self, resize: Resize) -> None:
        for height, width in SIZES:
            for target in TARGETS:
                out = fit(solid((1, 2, 3), height, width), InputSpec(*target, resize))
                assert (out.shape, out.dtype) == ((*target, 3), np.uint8), (height, width, target)

    @settings(max_examples=150, deadline=None)
    @given(
        st.tuples(*[st.integers(1, 400)] * 2),
        st.tuples(*[st.integers(1, 64)] * 2),
        st.sampled_from(Resize),
        st.integers(0, 40),
        st.tuples(*[st.integers(0, 255)] * 3),
    )
    def test_any_solid_frame_stays_solid(
        self,
        size: tuple[int, int],
        target: tuple[int, int],
        resize: Resize,
        more: int,
        colour: tuple[int, int, int],
    ) -> None:
        out = fit(solid(colour, *size), InputSpec(*target, resize, target[0] + more if more else 0))
        assert (out.shape, out.dtype) == ((*target, 3), np.uint8)
        same = (out == np.array(colour)).all(axis=2)
        if resize is not Resize.LETTERBOX:
            assert same.all()
            return
        assert (same | (out == LETTERBOX_GREY).all(axis=2)).all()
        assert same[target[0] // 2, target[1] // 2] or same[(target[0] - 1) // 2, (target[1] - 1) // 2]

    @pytest.mark.parametrize("resize_short", [0, 224, 256, 280])
    @pytest.mark.parametrize(("height", "width"), [(480, 640), (700, 400), (1080, 1920), (300, 300)])
    def test_crop_is_the_picture_of_resize_then_crop(self, height: int, width: int, resize_short: int) -> None:
        frame = smooth(height, width)
        scale = (resize_short or 224) / min(height, width)
        whole = Image.fromarray(frame).resize((round(width * scale), round(height * scale)), Image.Resampling.BOX)
        left, top = (whole.width - 224) // 2, (whole.height - 224) // 2
        expected = np.asarray(whole.crop((left, top, left + 224, top + 224)))
        out = fit(frame, InputSpec(224, 224, Resize.CROP, resize_short))
        assert difference(out, expected) < 3
        assert difference(np.roll(out, 8, axis=1), expected) > 6, "the measure does not see a shift of 8 pixels"

    def test_crop_cuts_the_rim_of_the_long_side_alike_on_both_ends(self) -> None:
        frame = solid(GREEN, 100, 300)
        frame[:, :100], frame[:, 200:] = RED, BLUE
        assert is_colour(fit(frame, InputSpec(50, 50)), GREEN)

    def test_resize_short_widens_the_cut(self) -> None:
        frame = solid(RED, 100, 100)
        frame[10:90, 10:90] = GREEN
        assert is_colour(fit(frame, InputSpec(64, 64, Resize.CROP, 80)), GREEN)
        assert not is_colour(fit(frame, InputSpec(64, 64, Resize.CROP, 70)), GREEN)

    def test_crop_to_a_wide_target(self) -> None:
        frame = solid(RED, 200, 200)
        frame[50:150] = GREEN
        assert is_colour(fit(frame, InputSpec(50, 100)), GREEN)

    @pytest.mark.parametrize(("height", "width", "target"), [(100, 300, 96), (300, 100, 96), (30, 40, 96)])
    def test_letterbox_keeps_all_and_the_aspect(self, height: int, width: int, target: int) -> None:
        out = fit(solid(RED, height, width), InputSpec(target, target, Resize.LETTERBOX))
        rows, columns = np.nonzero((out == RED).all(axis=2))
        high, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
        assert high * wide == len(rows)
        assert max(high, wide) == target
        assert wide / high == pytest.approx(width / height, rel=0.02)
        assert abs((target - 1) - rows.min() - rows.max()) <= 1, "not centred"
        assert abs((target - 1) - columns.min() - columns.max()) <= 1, "not centred"
        bars = out[~(out == RED).all(axis=2)]
        assert (bars == LETTERBOX_GREY).all()

    def test_stretch_keeps_all_and_fills_all(self) -> None:
        frame = solid(RED, 100, 300)
        frame[:, 150:] = BLUE
        out = fit(frame, InputSpec(60, 60, Resize.STRETCH))
        assert is_colour(out[:, :29], RED)
        assert is_colour(out[:, 31:], BLUE)

    def test_a_fitting_frame_is_unchanged_and_never_the_same_memory(self) -> None:
        frame = np.asarray(noise(32, 32)).copy()
        for resize in Resize:
            out = fit(frame, InputSpec(32, 32, resize))
            assert np.array_equal(out, frame)
            assert not np.shares_memory(out, frame)

    @pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 60), (64, 64), (100, 100), (32, 90), (1, 1)])
    def test_leaves_the_input_as_it_was(self, height: int, width: int) -> None:
        frame = np.asarray(noise(width, height)).copy()
        before = frame.copy()
        for resize in Resize:
            out = fit(frame, InputSpec(32, 32, resize))
            assert not np.shares_memory(out, frame)
            out[...] = 0
        assert np.array_equal(frame, before)

    def test_takes_a_view_that_is_not_contiguous(self) -> None:
        frame = np.asarray(noise(200, 200))
        view, copied = frame[::2, ::-1], frame[::2, ::-1].copy()
        for resize in Resize:
            assert np.array_equal(
                fit(view, InputSpec(32, 32, resize)),  # type: ignore[arg-type]
                fit(copied, InputSpec(32, 32, resize)),
            )

    @pytest.mark.parametrize(
        "frame",
        [
            np.zeros((8, 8, 3), dtype=np.float32),
            np.zeros((8, 8, 3), dtype=np.int8),
            np.zeros((8, 8), dtype=np.uint8),
            np.zeros((8, 8, 4), dtype=np.uint8),
            np.zeros((3, 8, 8), dtype=np.uint8),
            np.zeros((1, 8, 8, 3), dtype=np.uint8),
            np.zeros((0, 8, 3), dtype=np.uint8),
        ],
        ids=lambda frame: f"{frame.dtype}{frame.shape}",
    )
    def test_another_type_or_shape_is_refused_by_name(self, frame: Pixels) -> None:
        with pytest.raises(ImageError, match="expected uint8") as caught:
            fit(frame, InputSpec(8, 8))
        assert str(frame.dtype) in str(caught.value)
        assert str(frame.shape) in str(caught.value)

    def test_preprocess_is_decode_and_fit(self) -> None:
        data, spec = encode(noise(), "PNG"), InputSpec(40, 40)
        assert np.array_equal(preprocess(data, spec), fit(decode(data), spec))


def smooth(height: int, width: int) -> Pixels:
    """A picture without fine detail and without symmetry."""
    y, x = np.mgrid[:height, :width] / min(height, width)
    channels = [np.sin(11 * x + 3 * y), np.sin(13 * y - 5 * x * x), np.cos(9 * x * y + 2 * x)]
    return (127.5 + 127.5 * np.stack(channels, axis=2)).astype(np.uint8)


def zone_plate(height: int, width: int) -> Pixels:
    """Rings that become finer outwards, to the finest that pixels can hold."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    radius2 = (x - width / 2) ** 2 + (y - height / 2) ** 2
    level = 127.5 + 127.5 * np.cos(np.pi * radius2 / min(height, width))
    return np.repeat(level.astype(np.uint8)[:, :, None], 3, axis=2)


def checkerboard(height: int, width: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    return np.repeat(((x + y) % 2 * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def difference(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference in levels."""
    return float(np.abs(one.astype(np.int16) - other).mean())


class TestAliasing:
    """Against Pillow, whose reductions average over all pixels that a result covers."""

    @pytest.mark.parametrize("size", [96, 224])
    def test_zone_plate_at_1080p(self, size: int) -> None:
        frame = zone_plate(1080, 1920)
        square = np.ascontiguousarray(frame[:, 420:1500])
        expected = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR))
        assert difference(fit(frame, InputSpec(size, size)), expected) < 10
        for fault in (cv2.INTER_NEAREST, cv2.INTER_LINEAR):
            plain = cv2.resize(square, (size, size), interpolation=fault)
            assert difference(plain, expected) > 40, "the measure does not see aliasing"

    @pytest.mark.parametrize("side", [315, 400, 420, 447])
    def test_a_factor_below_two_does_not_alias_either(self, side: int) -> None:
        """What a VGA camera gives: no halving fits, and one linear step would be too coarse."""
        frame = zone_plate(side, side)
        expected = np.asarray(Image.fromarray(frame).resize((224, 224), Image.Resampling.BILINEAR))
        assert difference(fit(frame, InputSpec(224, 224)), expected) < 12
        plain = cv2.resize(frame, (224, 224), interpolation=cv2.INTER_LINEAR)
        assert difference(plain, expected) > 16, "the measure does not see aliasing"

    @pytest.mark.parametrize("resize", Resize)
    def test_checkerboard_at_1080p_is_plain_grey(self, resize: Resize) -> None:
        spec = InputSpec(224, 224, resize)
        out = fit(checkerboard(1080, 1920), spec)
        inside = out[60:164]  # without the bars of letterbox
        assert np.abs(inside.astype(int) - 127).max() <= 3
        plain = cv2.resize(checkerboard(1080, 1080), (224, 224), interpolation=cv2.INTER_NEAREST)
        assert np.abs(plain.astype(int) - 127).max() > 100, "the measure does not see aliasing"

    @pytest.mark.parametrize(("height", "width"), [(4000, 20), (20, 4000), (2000, 100)])
    def test_stretch_of_a_strip_averages_its_long_side(self, height: int, width: int) -> None:
        # One side shrinks and the other grows: OpenCV's INTER_AREA would sample the one that shrinks.
        levels = np.random.default_rng(0).integers(0, 256, max(height, width), dtype=np.uint8)
        one = levels[:, None, None] if height > width else levels[None, :, None]
        frame = np.broadcast_to(one, (height, width, 3)).copy()
        expected = np.asarray(Image.fromarray(frame).resize((64, 64), Image.Resampling.BOX))
        assert difference(fit(frame, InputSpec(64, 64, Resize.STRETCH)), expected) < 5
        plain = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA)
        assert difference(plain, expected) > 20 or min(height, width) >= 64


class TestInputSpec:
    @pytest.mark.parametrize(
        "fields",
        [
            {"height": 0, "width": 8},
            {"height": 8, "width": -1},
            {"height": 224, "width": 224, "resize_short": 223},
            {"height": 224, "width": 224, "resize_short": -1},
            {"height": 224, "width": 224, "resize": Resize.STRETCH, "resize_short": -1},
            {"height": 8, "width": 8, "dtype": "float32"},
            {"height": 8, "width": 8, "layout": "NCHW"},
            {"height": 8, "width": 8, "channels": "RGB"},
        ],
    )
    def test_what_can_not_be_fed_is_refused(self, fields: dict[str, object]) -> None:
        with pytest.raises(ImageError):
            InputSpec(**fields)  # type: ignore[arg-type]

    def test_shape(self) -> None:
        assert InputSpec(48, 96).shape == (48, 96, 3)


def test_a_glance_is_upright_small_and_of_the_right_colours() -> None:
    picture = np.zeros((1200, 1600, 3), np.uint8)
    picture[:, :800] = (10, 200, 90)
    exif = Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    Image.fromarray(picture[:, :, ::-1].copy()).save(buffer, "JPEG", quality=95, exif=exif.tobytes())
    seen = glance(buffer.getvalue(), 160)
    assert 160 <= max(seen.shape) < 1600
    assert seen.shape[0] > seen.shape[1]
    whole = decode(buffer.getvalue())
    for row in (0.25, 0.75):
        here, there = (at[int(row * at.shape[0]), at.shape[1] // 2].astype(int) for at in (seen, whole))
        assert np.abs(here - there).max() <= 2
