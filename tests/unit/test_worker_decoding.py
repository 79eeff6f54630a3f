"""From a frame's bytes to a row: the right pixels, upright, or a reason; never another exception."""

from __future__ import annotations

from dataclasses import asdict, replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from riverlens.dead_letter import Reason
from riverlens.signature import InputKind, Layout, OutputKind, PixelRule
from riverlens_worker.decoding import UndecodableError, quick_row, to_row
from riverlens_worker.pixels import resized
from riverlens_worker.target import Row, Target
from tests.worker_parts import ENCODED, FIXED, FREE, TARGETS, encode, scene, target

WIDE = scene(96, 64)
GRAY16 = WIDE[:, :, 0].astype(np.uint16) * 257
ALPHA = np.dstack([WIDE, np.full(WIDE.shape[:2], 90, np.uint8)])


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _converted(mode: str, image_format: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(WIDE).convert(mode).save(file, image_format, **options)
    return file.getvalue()


def _pixels(row: Row) -> NDArray[Any]:
    """A row as pixels: itself, or what is encoded in it."""
    if isinstance(row.row, np.ndarray):
        return row.row
    return np.asarray(Image.open(BytesIO(row.row)).convert("RGB"))


def _seen(image: bytes) -> NDArray[np.uint8]:
    """What a person sees, by Pillow."""
    return np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(image))).convert("RGB"))


def _differ(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Mean difference of two pictures in steps of 0..255."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def _refused(image: bytes, wanted: Target = FREE, content_type: str | None = None) -> UndecodableError:
    with pytest.raises(UndecodableError) as caught:
        to_row(image, content_type, wanted)
    return caught.value


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("image_format", "options"),
    [("JPEG", {"quality": 95}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("TIFF", {})],
    ids=["jpeg", "progressive", "png", "webp", "tiff"],
)
@pytest.mark.parametrize("name", TARGETS)
def test_every_orientation_comes_out_upright(
    name: str, image_format: str, options: dict[str, Any], orientation: int
) -> None:
    """Mirrored or turned, in any format and for any target: pixels and size are as a person sees them."""
    image = encode(WIDE, image_format, exif=_exif(orientation), **options)
    seen = _seen(image)
    row = to_row(image, None, TARGETS[name])
    assert row.size == (seen.shape[1], seen.shape[0])
    pixels = _pixels(row)
    if name == "fixed float":
        assert row.row.dtype == np.float32 if isinstance(row.row, np.ndarray) else False
        assert pixels.max() <= 1
        pixels = pixels * 255
    if name.startswith("fixed"):
        seen = np.asarray(Image.fromarray(seen).resize((320, 320), Image.Resampling.BILINEAR))
    assert _differ(pixels, seen) < 3


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(encode(WIDE[:, :, 0], "JPEG"), id="gray jpeg"),
        pytest.param(_converted("CMYK", "JPEG"), id="cmyk jpeg"),
        pytest.param(encode(WIDE, "JPEG", subsampling=0, quality=100), id="4:4:4 jpeg"),
        pytest.param(encode(WIDE, "JPEG") + bytes(5000), id="jpeg with a trailer"),
        pytest.param(_converted("P", "PNG"), id="palette png"),
        pytest.param(_converted("P", "PNG", transparency=3), id="palette png with transparency"),
        pytest.param(_converted("1", "PNG"), id="bilevel png"),
        pytest.param(_converted("LA", "PNG"), id="gray png with alpha"),
        pytest.param(encode(ALPHA, "PNG"), id="png with alpha"),
        pytest.param(encode(ALPHA, "WEBP", lossless=True), id="webp with alpha"),
        pytest.param(encode(WIDE, "GIF"), id="gif"),
        pytest.param(encode(WIDE, "BMP"), id="bmp"),
        pytest.param(encode(WIDE, "TIFF", compression="tiff_lzw"), id="lzw tiff"),
        pytest.param(_converted("CMYK", "TIFF"), id="cmyk tiff"),
    ],
)
def test_colours_are_pillows_in_rgb_order(image: bytes) -> None:
    """Gray, CMYK, palettes, transparency: the same picture as Pillow's, red first."""
    with Image.open(BytesIO(image)) as opened:
        expected = np.asarray(opened.convert("RGB"))
    row = to_row(image, None, FREE)
    assert _differ(_pixels(row), expected) < 2
    assert (row.size, row.shape) == ((96, 64), (64, 96))
    assert _differ(_pixels(to_row(image, None, ENCODED)), expected) < 3


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (encode(GRAY16, "PNG"), GRAY16 >> 8),
        (encode(GRAY16, "TIFF"), GRAY16 >> 8),
        (encode(WIDE[:, :, 0].astype(np.int32), "TIFF"), WIDE[:, :, 0]),
        (encode(GRAY16.astype(np.int32), "TIFF"), GRAY16 >> 8),
    ],
    ids=["16 bit png", "16 bit tiff", "8 bits in 32", "16 bits in 32"],
)
def test_deep_gray_keeps_its_brightness(image: bytes, expected: NDArray[Any]) -> None:
    """More than 8 bits of gray become the upper 8, as TensorFlow does it; not white, not black."""
    pixels = _pixels(to_row(image, None, FREE))
    assert np.array_equal(pixels, np.repeat(expected.astype(np.uint8)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("size", [(1920, 1080), (640, 480), (200, 900)])
def test_scaling_in_the_decoder_gives_the_same_picture(size: tuple[int, int]) -> None:
    """A large JPEG scaled by the DCT towards a fixed input size looks like one scaled after decoding."""
    image = encode(scene(*size), "JPEG", quality=90)
    whole = Image.open(BytesIO(image)).resize((320, 320), Image.Resampling.BILINEAR)
    row = to_row(image, None, FIXED)
    assert row.shape == (320, 320)
    assert row.nbytes == 320 * 320 * 3
    assert row.size == size
    assert _differ(_pixels(row), np.asarray(whole)) < 2


@pytest.mark.parametrize(
    ("size", "way"), [((640, 480), 1), ((427, 427), 1), ((426, 640), 0), ((320, 320), 0)]
)
def test_only_what_shrinks_much_has_its_colours_doubled(size: tuple[int, int], way: int) -> None:
    """From a third larger, both ways; all others have them interpolated, as libjpeg does by default."""
    image = encode(scene(*size), "JPEG", quality=90, subsampling="4:2:0")
    row = _pixels(to_row(image, None, FIXED))
    both = [simplejpeg.decode_jpeg(image, "RGB", fastupsample=fast) for fast in (False, True)]
    assert not np.array_equal(*both)
    assert np.array_equal(row, resized(both[way], 320, 320))


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({}, (64, 96)),
        ({"input_size": 48}, (32, 48)),
        ({"input_size": 500}, (64, 96)),
        ({"height": 32}, (32, 48)),
        ({"width": 32}, (21, 32)),
        ({"height": 10, "width": 20, "input_size": 8}, (10, 20)),
    ],
)
def test_the_models_size_wins_then_the_cap_then_the_image(
    fields: dict[str, Any], shape: tuple[int, int]
) -> None:
    """Free inputs take the image as it is, or capped; a model that fixes one side keeps the proportions."""
    row = to_row(encode(WIDE, "JPEG"), None, replace(FREE, **fields))
    assert row.shape == shape
    assert _pixels(row).shape == (*shape, 3)
    assert row.size == (96, 64)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (encode(WIDE, "JPEG"), ""),
        (encode(WIDE, "PNG"), ""),
        (encode(WIDE, "JPEG", exif=_exif(6)), "rotated"),
        (_converted("CMYK", "JPEG"), "unusual"),
        (encode(WIDE, "JPEG") + bytes(100), "unusual"),
        (encode(WIDE, "WEBP"), "webp"),
        (encode(WIDE, "TIFF"), "tiff"),
    ],
)
def test_plain_images_go_as_they_are_others_are_encoded_again_and_say_why(image: bytes, why: str) -> None:
    """The server gets the camera's own bytes where it reads them as we do, else a JPEG of the picture."""
    row = to_row(image, None, ENCODED)
    assert row.reencoded == why
    assert (row.row == image) == (not why)
    assert row.shape == ()
    quick = quick_row(image, None, ENCODED)
    assert quick is None if why else quick is not None and asdict(quick) == asdict(row)
    assert quick_row(image, None, FREE) is None
    seen = _seen(image)
    assert to_row(image, None, replace(ENCODED, by_size=True)).shape == seen.shape[1::-1]


@pytest.mark.parametrize("wanted", TARGETS.values(), ids=TARGETS)
def test_raw_pixels_are_taken_by_their_content_type(wanted: Target) -> None:
    """Pixels without a format need width and height in the content type, in any order and case."""
    for text in ("width=96;height=64", "HEIGHT=64; x=1 ; Width=96"):
        content_type = f"application/X-raw-RGB; {text}"
        row = to_row(WIDE.tobytes(), content_type, wanted)
        assert row.size == (96, 64)
        assert quick_row(WIDE.tobytes(), content_type, wanted) is None
    if wanted is FREE:
        assert np.array_equal(_pixels(row), WIDE)


RAW = "application/x-raw-rgb;width=96;height=64"
LONG_RAW = "application/x-raw-rgb;width=70000;height=1"


@pytest.mark.parametrize(
    ("image", "content_type", "reason", "text"),
    [
        (b"", None, Reason.UNDECODABLE, "empty"),
        (b"hello, camera\n", "image/jpeg", Reason.UNSUPPORTED, "begins like no image"),
        (b"x" * 100, RAW, Reason.UNDECODABLE, "100 bytes do not fit the raw pixels"),
        (b"x" * 100, "application/x-raw-rgb;width=0;height=0", Reason.UNDECODABLE, "do not fit"),
        (encode(WIDE, "JPEG")[:-200], None, Reason.UNDECODABLE, "truncated"),
        (encode(WIDE, "PNG")[:-60], None, Reason.UNDECODABLE, ""),
        (encode(WIDE, "GIF")[:-60], None, Reason.UNDECODABLE, ""),
        (b"GIF89a" + bytes(30), None, Reason.UNDECODABLE, "begins like GIF"),
        (_converted("LAB", "TIFF"), None, Reason.UNSUPPORTED, "colour mode LAB"),
        (bytes(8 * 2**20 + 1), None, Reason.TOO_LARGE, "max_frame_bytes"),
    ],
)
def test_what_is_no_image_says_why(image: bytes, content_type: str | None, reason: Reason, text: str) -> None:
    """A reason of the closed list and a detail for a person, the same for every target."""
    for wanted in TARGETS.values():
        error = _refused(image, wanted, content_type)
        assert error.reason is reason
        assert text in str(error)
        assert "0x" not in str(error), "an address in memory tells nobody anything"


@pytest.mark.parametrize("content_type", ["text/plain", "image/png", "text/uri-list", RAW, "", "\0"])
def test_magic_bytes_win_over_the_content_type(content_type: str) -> None:
    """A wrong content type on a good image is a good row."""
    assert to_row(encode(WIDE, "JPEG"), content_type, FREE).size == (96, 64)
    assert to_row(encode(WIDE, "JPEG"), content_type, ENCODED).reencoded == ""


def test_pixel_limits_hold_for_every_way_in() -> None:
    """One pixel more than the limit is refused: plain, decoded, or raw."""
    small = {name: replace(wanted, max_pixels=96 * 64 - 1) for name, wanted in TARGETS.items()}
    images = [(encode(WIDE, name), None) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
    for image, content_type in [*images, (WIDE.tobytes(), RAW)]:
        for wanted in small.values():
            assert _refused(image, wanted, content_type).reason is Reason.TOO_LARGE
            assert to_row(image, content_type, replace(wanted, max_pixels=96 * 64)).size == (96, 64)


def test_what_no_jpeg_can_hold_is_too_large_to_encode_again() -> None:
    """An image wider than any JPEG cannot travel encoded; capped by `input_size`, or as pixels, it can."""
    line = np.zeros((1, 70_000, 3), np.uint8)
    for image, content_type in ((encode(line, "TIFF"), None), (line.tobytes(), LONG_RAW)):
        assert _refused(image, ENCODED, content_type).reason is Reason.TOO_LARGE
        assert to_row(image, content_type, replace(ENCODED, input_size=1000)).size == (70_000, 1)
        assert to_row(image, content_type, FREE).shape == (1, 70_000)


def test_a_target_follows_from_the_layout() -> None:
    """What metadata says and the limits of the settings make the target."""
    rule = PixelRule(high=1.0)
    layout = Layout("s", "x", InputKind.PIXELS, "float32", 8, None, 1, OutputKind.ARRAYS, (), rule)
    found = Target.of(layout, input_size=64, max_frame_bytes=1 << 20, max_pixels=9)
    assert found == target(
        dtype="float32", size=(8, None), input_size=64, max_frame_bytes=1 << 20, max_pixels=9, rule=rule
    )
