"""Sparse equations of poses, of which each shares points with few others."""

from scipy.sparse import csc_array
from scipy.sparse.linalg import SuperLU, splu


def factorised(matrix: csc_array) -> SuperLU:
    """The factors of a symmetric positive definite matrix (N, N), in an order that fills in few entries.

    Raises:
        RuntimeError: The matrix is singular.
    """
    # The order of unsymmetric matrices, which is the default, fills in several times as many.
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
