"""COLMAP's Poisson solver as a process: ``python -m dd_sfm.io.colmap_poisson IN OUT DEPTH WEIGHT TRIM THREADS``.

Python acts on Ctrl-C only after the call, which may take minutes; a process can be ended at any time.
"""

import sys

import pycolmap


def main(arguments: list[str]) -> None:
    """Mesh one PLY into another."""
    source, target, depth, point_weight, trim, threads = arguments
    options = pycolmap.PoissonMeshingOptions()
    options.depth, options.point_weight, options.trim = int(depth), float(point_weight), float(trim)
    options.color, options.num_threads = False, int(threads)
    pycolmap.poisson_meshing(source, target, options)


if __name__ == "__main__":
    main(sys.argv[1:])
