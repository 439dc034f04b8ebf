"""Text and colour bars drawn into pictures."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dd_sfm.viz.render.colours import Scale, scale_table

INK, PAPER = (30, 34, 40), (250, 250, 248)


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings along, so that pictures look the same on every machine."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def text_size(height: int) -> int:
    """A size of text that is readable in a picture of this height, and not loud."""
    return int(np.clip(round(height / 32), 11, 28))


def write_label(
    image: NDArray[np.uint8], text: str, *, corner: str = "top left", rgb: tuple[int, int, int] = INK,
    box: tuple[int, int, int] | None = None, size: int | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """Write a line of text into a corner of an image (H, W, 3); returns a new image.

    Args:
        image: The picture.
        text: One line; made smaller when it is too wide.
        corner: top or bottom, and left or right.
        rgb: Of the letters.
        box: Colour of a see-through box behind them; None for none.
        size: Of the letters in pixels; by the height of the picture when left out.
    """
    height, width = image.shape[:2]
    size = size or text_size(height)
    while size > 7 and font(size).getlength(text) > width - 1.6 * size:
        size -= 1
    picture = Image.fromarray(image)
    right = font(size).getlength(text)
    margin, pad = size * 0.6, size * 0.35
    x = margin if "left" in corner else width - margin - right
    y = margin + size if "top" in corner else height - margin - pad
    if box is not None:
        # The box has the height of the font, not of these letters: labels beside each other then line up.
        area = (int(x - pad), int(y - size - pad * 0.3), int(x + right + pad), int(y + size * 0.25 + pad))
        area = (max(area[0], 0), max(area[1], 0), min(area[2], width), min(area[3], height))
        pixels = np.asarray(picture).copy()
        _tint(pixels, area, box)
        picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).text((x, y), text, font=font(size), fill=rgb, anchor="ls")
    return np.asarray(picture).copy()


def _tint(pixels: NDArray[np.uint8], area: tuple[int, int, int, int], rgb: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = (max(v, 0) for v in area)
    part = pixels[y0:y1, x0:x1]
    part[:] = (0.35 * part + 0.65 * np.array(rgb)).astype(np.uint8)


def draw_scale(
    image: NDArray[np.uint8], scale: Scale, *, rgb: tuple[int, int, int] = INK,
    box: tuple[int, int, int] | None = None, size: int | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """Draw a colour scale with its ends into the lower right corner of an image (H, W, 3); returns a new image.

    ``size``: of the letters in pixels, by the height of the picture when left out; four times that are needed.
    """
    height, width = image.shape[:2]
    size = size or max(text_size(height) - 2, 10)
    long = int(min(0.4 * width, max(14 * size, font(size).getlength(scale.label))))
    thick, margin = max(size // 2, 5), size
    x, y = width - margin - long, height - margin - size - thick
    result = image.copy()
    if box is not None:
        _tint(result, (x - size // 2, int(y - 1.6 * size), x + long + size // 2, height - size // 2), box)
    table = scale_table(scale.name)
    result[y : y + thick, x : x + long] = table[np.linspace(0, 255, long).astype(int)]
    picture = Image.fromarray(result)
    draw = ImageDraw.Draw(picture)
    low, high = f"{scale.low:.3g}", f"{scale.high:.3g}"
    draw.text((x, y + thick + 0.25 * size), low, font=font(size), fill=rgb, anchor="la")
    draw.text((x + long, y + thick + 0.25 * size), high, font=font(size), fill=rgb, anchor="ra")
    draw.text((x + long / 2, y - 0.35 * size), scale.label, font=font(size), fill=rgb, anchor="ms")
    return np.asarray(picture).copy()


def draw_bar(
    image: NDArray[np.uint8], length_px: float, text: str, *, size: int, box: tuple[int, int, int] = PAPER
) -> NDArray[np.uint8]:
    """Draw a bar of a length with its text above into the lower left corner of an image (H, W, 3); a new image."""
    height = image.shape[0]
    result, margin, thick = image.copy(), size, max(size // 5, 2)
    x, y = margin, height - margin
    wide = max(length_px, font(size).getlength(text))
    _tint(result, (x - size // 2, int(y - 1.8 * size), int(x + wide + size // 2), y + thick + size // 3), box)
    result[y : y + thick, x : x + max(round(length_px), 1)] = INK
    # Ends that stand up, so that the bar is not taken for a line of the cloud.
    for end in (x, x + max(round(length_px) - thick, 0)):
        result[y - thick : y + thick, end : end + thick] = INK
    picture = Image.fromarray(result)
    ImageDraw.Draw(picture).text((x, y - 0.5 * size), text, font=font(size), fill=INK, anchor="ls")
    return np.asarray(picture).copy()


def round_length(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above ``most`` > 0."""
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9)))
