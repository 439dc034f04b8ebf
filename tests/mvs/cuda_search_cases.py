"""The dense search on a small scene, by the class that is named: to a file, or compared with one.

Run as a script in CUDA's simulator, where all of it is plain Python and only a few pixels can be searched.
"""

import sys

import numpy as np
from slanted import every_pixel, inverse_depth, loaded, picture, poses, transfers

REFERENCE, VIEWS = 6, (2, 4, 8, 10)


def searched(kind, pixels):
    """All results of the three searches of ``pixels`` (N, 2)."""
    where = poses()
    search, shown = loaded([picture(where[f]) for f in (REFERENCE, *VIEWS)], kind)
    matrices, shifts = transfers(where[REFERENCE], [where[v] for v in VIEWS])
    true = inverse_depth(where[REFERENCE], pixels)
    kinds = np.stack([true * np.float32([f, 1, 1]) for f in (0.8, 1.0, 1.2)], 1).astype(np.float32)
    asked = np.arange(len(pixels) * len(VIEWS)).reshape(-1, len(VIEWS)) % 3 > 0
    planes = (true * [1.02, 1, 1]).astype(np.float32)
    refined = search.refine(shown, matrices, shifts, pixels, planes, 1.0, 6, 0.7)
    aligned = search.align(shown, matrices, shifts, pixels, true, asked, 3, 3.0)
    names = "inverse", "information", "correlation", "place", "score"
    chosen, _ = search.choose(shown, matrices, shifts, pixels, kinds, 2.0)
    return {"chosen": chosen, **dict(zip(names, (*refined, *aligned), strict=True))}


def few_pixels():
    """Pixels that all views show, and one at the border."""
    return np.concatenate([every_pixel(32, 20)[:8], np.array([[2, 60]], np.float32)])


if __name__ == "__main__":
    from dd_sfm.mvs.kernels.cuda_search import CudaSearch

    np.savez(sys.argv[1], **searched(CudaSearch, few_pixels()))
