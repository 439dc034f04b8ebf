"""Where a view shows a slanted patch, free in both directions of the image: an observation of its own."""

import numpy as np
from numba import prange

from dd_sfm.ops.compiled import compiled
from dd_sfm.ops.slanted_patches import PATCH, normalise, reference_patch


@compiled
def align_in_view(reference, view, matrix, shift, pixels, planes, iterations, most_px):  # type: ignore[no-untyped-def]
    """Where a view really shows each pixel's patch: a shift in the image, free in both directions.

    Args:
        reference: Grey reference (H, W) float32.
        view: Grey view (H, W) float32.
        matrix: A (3, 3) float32.
        shift: b (3,) float32.
        pixels: (N, 2) float32.
        planes: Inverse depth and its slopes (N, 3) float32.
        iterations: Gauss-Newton steps.
        most_px: Furthest from the predicted place.

    Returns:
        Place in the view (N, 2) float32 and correlation there (N,) float32, -1 where it failed.
    """
    count = pixels.shape[0]
    place = np.zeros((count, 2), np.float32)
    score = np.full(count, -1.0, np.float32)
    side = PATCH
    size = side * side
    half = side // 2
    height, width = view.shape
    for n in prange(count):
        patch, values = np.empty(size, np.float32), np.empty(size, np.float32)
        sx, sy = np.empty(size, np.float32), np.empty(size, np.float32)
        u, v, w, gu, gv = pixels[n, 0], pixels[n, 1], planes[n, 0], planes[n, 1], planes[n, 2]
        if not reference_patch(reference, u, v, 1.0, side, patch):
            continue
        ox, oy = 0.0, 0.0
        good = True
        for turn in range(iterations + 1):
            k = 0
            mx, my = 0.0, 0.0
            for i in range(side):
                dv = float(i - half)
                for j in range(side):
                    du = float(j - half)
                    here = w + gu * du + gv * dv
                    z = matrix[2, 0] * (u + du) + matrix[2, 1] * (v + dv) + matrix[2, 2] + here * shift[2]
                    if z < 1e-6:
                        good = False
                        break
                    x = (matrix[0, 0] * (u + du) + matrix[0, 1] * (v + dv) + matrix[0, 2] + here * shift[0]) / z + ox
                    y = (matrix[1, 0] * (u + du) + matrix[1, 1] * (v + dv) + matrix[1, 2] + here * shift[1]) / z + oy
                    if x < 1 or y < 1 or x >= width - 2 or y >= height - 2:
                        good = False
                        break
                    if i == half and j == half:
                        place[n, 0], place[n, 1] = x, y
                    col, row = int(x), int(y)
                    fx, fy = x - col, y - row
                    p00, p01 = view[row, col], view[row, col + 1]
                    p10, p11 = view[row + 1, col], view[row + 1, col + 1]
                    values[k] = (p00 * (1 - fx) + p01 * fx) * (1 - fy) + (p10 * (1 - fx) + p11 * fx) * fy
                    sx[k] = (p01 - p00) * (1 - fy) + (p11 - p10) * fy
                    sy[k] = (p10 - p00) * (1 - fx) + (p11 - p01) * fx
                    mx += sx[k]
                    my += sy[k]
                    k += 1
                if not good:
                    break
            if not good:
                break
            scale = normalise(values, size)
            if scale == 0:
                good = False
                break
            mx, my = mx / size, my / size
            ncc, ax, ay = 0.0, 0.0, 0.0
            for m in range(size):
                ncc += patch[m] * values[m]
                sx[m] = (sx[m] - mx) * scale
                sy[m] = (sy[m] - my) * scale
                ax += sx[m] * values[m]
                ay += sy[m] * values[m]
            score[n] = ncc
            if turn == iterations:
                break
            hxx, hxy, hyy, bx, by = 0.0, 0.0, 0.0, 0.0, 0.0
            for m in range(size):
                jx, jy = sx[m] - ax * values[m], sy[m] - ay * values[m]
                error = values[m] - patch[m]
                hxx += jx * jx
                hxy += jx * jy
                hyy += jy * jy
                bx += jx * error
                by += jy * error
            # A little damping: along an edge nothing tells where the patch is, and it stays where it was predicted.
            damping = 0.02 * (hxx + hyy) + 1e-9
            hxx += damping
            hyy += damping
            determinant = hxx * hyy - hxy * hxy
            ox -= (hyy * bx - hxy * by) / determinant
            oy -= (hxx * by - hxy * bx) / determinant
            if ox * ox + oy * oy > most_px * most_px:
                good = False
                break
        if not good:
            score[n] = -1.0
    return place, score
