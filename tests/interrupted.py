"""Clips as of a real colonoscopy: pieces of rendered clips with frames between them that show nothing to match.

From a shell: ``python tests/interrupted.py --pieces FOLDER:0:80:2 FOLDER:160:240:2 -o OUT`` writes ``clip.mp4`` and, as
the clip of the first folder has them, ``truth.npz``, ``mask.png`` and ``calibration.txt``; ``junk.json`` lists the
useless frames.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.images import read_mask
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.io.video_writer import write_video

Image = NDArray[np.uint8]
Junk = Callable[[Image, NDArray[np.bool_], float, np.random.Generator], NDArray[np.float64]]
"""A useless frame (H, W, 3) in place of a good one, by the field of view, its time in frames, and chance."""
CONTACT = np.array([176.0, 62.0, 48.0])
"""The colour of mucosa that touches the lens."""


def red_out(image: Image, inside: NDArray[np.bool_], time: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The lens on the wall: one defocused colour whose shades move."""
    height, width = inside.shape
    y, x = np.indices(inside.shape) / height
    shade = (
        0.12 * np.sin(5 * x + 0.5 * time) + 0.10 * np.sin(4 * y - 0.37 * time + 1) + 0.06 * np.sin(9 * (x - y) + time)
    )
    glow = np.exp(-2.5 * ((x - 0.5 * width / height) ** 2 + (y - 0.5) ** 2))
    behind = cv2.GaussianBlur(image.astype(np.float64), (0, 0), height / 9)
    wall = CONTACT * ((0.55 + 0.6 * glow + shade)[..., None])
    return 0.75 * wall + 0.25 * behind


def water(image: Image, inside: NDArray[np.bool_], time: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A flush: waves in front of a blurred scene, and glints on them."""
    height = inside.shape[0]
    waves = [cv2.GaussianBlur(rng.normal(0, 1, inside.shape), (0, 0), height / 25) for _ in range(2)]
    offset = [wave / wave.std() * height / 20 for wave in waves]
    rows, columns = np.indices(inside.shape, np.float32)
    maps = [(grid + shift).astype(np.float32) for grid, shift in zip((columns, rows), offset, strict=True)]
    warped = cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    blurred = cv2.GaussianBlur(warped.astype(np.float64), (0, 0), height / 60)
    glints = cv2.GaussianBlur((rng.random(inside.shape) > 0.9996).astype(np.float64), (0, 0), height / 90)
    return 0.8 * blurred + 40 + 255 * (glints / max(1e-9, glints.max()))[..., None]


def smear(image: Image, inside: NDArray[np.bool_], time: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A fast turn: the picture drawn out over a fifth of its height."""
    length = inside.shape[0] // 5 | 1
    kernel = np.zeros((length, length))
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), 25 + 10 * np.sin(time), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image.astype(np.float64), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def bubbles(image: Image, inside: NDArray[np.bool_], time: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Foam over the lens, another in every frame."""
    height, width = inside.shape
    foam, rims = np.zeros(inside.shape, np.float32), np.zeros(inside.shape, np.float32)
    for _ in range(160):
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        radius = int(rng.integers(height // 40, height // 12))
        cv2.circle(foam, centre, radius, float(rng.uniform(0.6, 0.95)), -1)
        cv2.circle(rims, centre, radius, 1.0, max(1, height // 180))
    behind = cv2.GaussianBlur(image.astype(np.float64), (0, 0), height / 45)
    foam, rims = foam[..., None], cv2.GaussianBlur(rims, (0, 0), 0.8)[..., None]
    return behind * (1 - foam) + foam * np.array([205.0, 190.0, 170.0]) + 70 * rims


KINDS: dict[str, Junk] = {"red-out": red_out, "water": water, "smear": smear, "bubbles": bubbles}
"""Useless frames by name; bubbles are sharp, the others are not."""


def useless(kind: str, images: Sequence[Image], inside: NDArray[np.bool_], seed: int) -> list[Image]:
    """Useless frames of one kind in place of some good ones, with a sensor's noise."""
    rng = np.random.default_rng(seed)
    found = []
    for time, image in enumerate(images):
        junk = KINDS[kind](image, inside, time, rng) + rng.normal(0, 1.4, image.shape)
        found.append(np.where(inside[..., None], np.clip(junk, 0, 255), 0).astype(np.uint8))
    return found


def interrupted(
    clips: Sequence[tuple[Path, range]], kinds: Sequence[str], length: int, seed: int = 0
) -> tuple[list[Image], list[tuple[int, int]], list[int]]:
    """Pieces of clips with useless frames between them.

    Args:
        clips: Folders of rendered clips, and the frames of each that are a piece.
        kinds: Names of :data:`KINDS`, in turn between the pieces.
        length: Useless frames between two pieces.
        seed: Of all chance.

    Returns:
        The frames; of each the number of the piece and of its frame in the clip; and the numbers of useless ones.
    """
    frames: list[Image] = []
    places: list[tuple[int, int]] = []
    junk: list[int] = []
    for piece, (folder, numbers) in enumerate(clips):
        inside = read_mask(folder / "mask.png")
        images = [image for _, image in iter_frames(open_source(folder / "clip.mp4"), numbers)]
        frames += images
        places += [(piece, number) for number in numbers]
        if piece + 1 < len(clips):
            # What is behind them turns away fast: the scope moves on unseen.
            kind = kinds[piece % len(kinds)]
            junk += range(len(frames), len(frames) + length)
            frames += useless(kind, [_turned(images[-1], k, length) for k in range(length)], inside, seed + piece)
            places += [(piece, numbers[-1])] * length
    return frames, places, junk


def _turned(image: Image, step: int, steps: int) -> Image:
    """A picture turned away from, by a quarter of its width in a few steps, and back."""
    height, width = image.shape[:2]
    away = np.sin(np.pi * (step + 0.5) / steps * max(1, steps // 4))
    move = np.array([[1, 0, 0.25 * width * away], [0, 1, 0.15 * height * away]], np.float32)
    return np.asarray(cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def write_clip(out: Path, clips: Sequence[tuple[Path, range]], kinds: Sequence[str], length: int) -> None:
    """Write an interrupted clip and what is true of it; poses are those of the first folder."""
    out.mkdir(parents=True, exist_ok=True)
    frames, places, junk = interrupted(clips, kinds, length)
    write_video(out / "clip.mp4", iter(frames), fps=25.0, crf=16)
    for name in ("mask.png", "calibration.txt"):
        shutil.copy(clips[0][0] / name, out / name)
    truth = np.load(clips[0][0] / "truth.npz")
    numbers = [number for _, number in places]
    kept = {name: truth[name] for name in truth.files}
    kept["R"], kept["c"] = (
        truth["R"][np.minimum(numbers, len(truth["R"]) - 1)],
        truth["c"][np.minimum(numbers, len(truth["c"]) - 1)],
    )
    kept["depth"], kept["depth_frames"] = truth["depth"][:0], truth["depth_frames"][:0]
    np.savez(out / "truth.npz", **kept)
    pieces = [piece for piece, _ in places]
    (out / "junk.json").write_text(json.dumps({"junk": junk, "pieces": pieces}))


def main() -> None:
    """Write the clip that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", nargs="+", required=True, help="FOLDER:START:END:STEP")
    parser.add_argument("--junk", nargs="+", default=["red-out", "water"], choices=list(KINDS))
    parser.add_argument("--length", type=int, default=12)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    clips = []
    for text in given.pieces:
        folder, *numbers = text.rsplit(":", 3)
        clips.append((Path(folder), range(*map(int, numbers))))
    write_clip(given.output, clips, given.junk, given.length)


if __name__ == "__main__":
    main()
