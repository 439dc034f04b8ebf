"""Draw text, colour bars and scale bars into pictures."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dd_sfm.viz.render.colours import ColourScale, colour_table

TEXT_RGB, BACKGROUND_RGB = (30, 34, 40), (250, 250, 248)
"""Dark text on a light background."""


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, so that pictures look the same on every machine."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def text_size(height: int) -> int:
    """A size of text in pixels that suits a picture of this height."""
    return int(np.clip(round(height / 32), 11, 28))


def write_label(
    image: NDArray[np.uint8], text: str, *, right: bool = False, rgb: tuple[int, int, int] = TEXT_RGB,
    box: tuple[int, int, int] | None = None, size: int | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """Write a line of text into an upper corner of an image (H, W, 3); returns a new image.

    Args:
        image: The picture.
        text: One line; it is made smaller when it is too wide.
        right: Write into the right corner, not into the left one.
        rgb: Colour of the text.
        box: Colour of a translucent box behind it; None for none.
        size: Size of the text in pixels; None for one that suits the picture.
    """
    height, width = image.shape[:2]
    size = size or text_size(height)
    while size > 7 and font(size).getlength(text) > width - 1.6 * size:
        size -= 1
    picture = Image.fromarray(image)
    width_px = font(size).getlength(text)
    margin, pad = size * 0.6, size * 0.35
    x = width - margin - width_px if right else margin
    y = margin + size
    if box is not None:
        # The box has the height of the font, not of these letters: labels beside each other then line up.
        area = (int(x - pad), int(y - size - pad * 0.3), int(x + width_px + pad), int(y + size * 0.25 + pad))
        area = (max(area[0], 0), max(area[1], 0), min(area[2], width), min(area[3], height))
        pixels = np.asarray(picture).copy()
        _tint(pixels, area, box)
        picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).text((x, y), text, font=font(size), fill=rgb, anchor="ls")
    return np.asarray(picture).copy()


def _tint(pixels: NDArray[np.uint8], area: tuple[int, int, int, int], rgb: tuple[int, int, int]) -> None:
    """Blend an area (x0, y0, x1, y1) of a picture with a colour, in place."""
    x0, y0, x1, y1 = (max(v, 0) for v in area)
    part = pixels[y0:y1, x0:x1]
    part[:] = (0.35 * part + 0.65 * np.array(rgb)).astype(np.uint8)


def draw_colour_bar(
    image: NDArray[np.uint8], scale: ColourScale, *, rgb: tuple[int, int, int] = TEXT_RGB,
    box: tuple[int, int, int] | None = None, size: int | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """Draw a colour bar with its range into the lower right corner of an image (H, W, 3); returns a new image.

    ``size``: of the text in pixels, None for one that suits the picture; the bar takes four times that height.
    """
    height, width = image.shape[:2]
    size = size or max(text_size(height) - 2, 10)
    long = int(min(0.4 * width, max(14 * size, font(size).getlength(scale.label))))
    thick, margin = max(size // 2, 5), size
    x, y = width - margin - long, height - margin - size - thick
    result = image.copy()
    if box is not None:
        _tint(result, (x - size // 2, int(y - 1.6 * size), x + long + size // 2, height - size // 2), box)
    table = colour_table(scale.name)
    result[y : y + thick, x : x + long] = table[np.linspace(0, 255, long).astype(int)]
    picture = Image.fromarray(result)
    draw = ImageDraw.Draw(picture)
    low, high = f"{scale.low:.3g}", f"{scale.high:.3g}"
    draw.text((x, y + thick + 0.25 * size), low, font=font(size), fill=rgb, anchor="la")
    draw.text((x + long, y + thick + 0.25 * size), high, font=font(size), fill=rgb, anchor="ra")
    draw.text((x + long / 2, y - 0.35 * size), scale.label, font=font(size), fill=rgb, anchor="ms")
    return np.asarray(picture).copy()


def draw_scale_bar(
    image: NDArray[np.uint8], length_px: float, text: str, *, size: int, box: tuple[int, int, int] = BACKGROUND_RGB
) -> NDArray[np.uint8]:
    """Draw a scale bar with text above it into the lower left corner of an image (H, W, 3); returns a new image."""
    height = image.shape[0]
    result, margin, thick = image.copy(), size, max(size // 5, 2)
    x, y = margin, height - margin
    wide = max(length_px, font(size).getlength(text))
    _tint(result, (x - size // 2, int(y - 1.8 * size), int(x + wide + size // 2), y + thick + size // 3), box)
    result[y : y + thick, x : x + max(round(length_px), 1)] = TEXT_RGB
    # Raised ends, so that the bar is not taken for a line of the cloud.
    for end in (x, x + max(round(length_px) - thick, 0)):
        result[y - thick : y + thick, end : end + thick] = TEXT_RGB
    picture = Image.fromarray(result)
    ImageDraw.Draw(picture).text((x, y - 0.5 * size), text, font=font(size), fill=TEXT_RGB, anchor="ls")
    return np.asarray(picture).copy()


def round_length(at_most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above ``at_most`` > 0."""
    power = 10.0 ** np.floor(np.log10(at_most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= at_most * (1 + 1e-9)))
