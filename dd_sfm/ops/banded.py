"""Equations of poses along a path: in the right order, those that share points lie near each other, in a band."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from dd_sfm.structures import FloatArray, IntArray


@dataclass(frozen=True)
class BandedFactor:
    """Cholesky's factor of a symmetric matrix of blocks: its diagonals (D, F * S) from the main one on, and the
    places (F,) of the blocks' rows in its order."""

    diagonals: FloatArray
    place: IntArray

    @classmethod
    def of(cls, blocks: FloatArray, row: IntArray, column: IntArray) -> "BandedFactor":
        """Factorise a positive definite matrix.

        Args:
            blocks: Those of the upper half (B, S, S), the whole ones on the diagonal among them.
            row: Their rows (B,); each of the F rows has one on the diagonal.
            column: Their columns (B,), none before its row.

        Raises:
            scipy.linalg.LinAlgError: The matrix is not positive definite.
        """
        count, side = int(row.max()) + 1, blocks.shape[1]
        linked = csr_array((np.ones(len(row), bool), (row, column)), shape=(count, count))
        place = np.empty(count, np.int64)
        # Cuthill and McKee's order keeps what is linked near the diagonal, whatever way the path takes.
        place[reverse_cuthill_mckee((linked + linked.T).tocsr(), symmetric_mode=True)] = np.arange(count)
        first, second = place[row], place[column]
        turned = first > second
        width = side * (int(np.abs(first - second).max()) + 1)
        # By columns, as LAPACK has it: what is left of a column below the diagonal lies side by side.
        diagonals = np.zeros((width, count * side), order="F")
        for a in range(side):
            for b in range(side):
                entries = np.where(turned, blocks[:, b, a], blocks[:, a, b])
                i, j = side * np.minimum(first, second) + a, side * np.maximum(first, second) + b
                upper = i <= j
                diagonals[(j - i)[upper], i[upper]] = entries[upper]
        return cls(cholesky_banded(diagonals, overwrite_ab=True, lower=True, check_finite=False), place)

    def solve(self, right: FloatArray) -> FloatArray:
        """Solve for right sides (F, S, K)."""
        inside = np.empty_like(right)
        inside[self.place] = right
        flat = inside.reshape(right.shape[0] * right.shape[1], -1)
        solved = cho_solve_banded((self.diagonals, True), flat, overwrite_b=True, check_finite=False)
        return np.asarray(solved.reshape(right.shape)[self.place])
