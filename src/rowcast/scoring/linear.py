"""A linear member of an ensemble, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rowcast.errors import ModelDamaged
from rowcast.scoring.kernels.linear import add_linear, linear_moves

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

PREFIX = "linear."
LIMIT = 4.0
"""Standard deviations from the mean at which a column stops to count more."""


@dataclass(frozen=True)
class Linear:
    """Margins ``base + sum_j clip((x_j - center_j) / scale_j) * weight_j``; a missing value adds
    the column's ``missing`` instead.
    """

    centers: np.ndarray
    """float64 of shape (n_columns,)."""
    scales: np.ndarray
    """float64 of shape (n_columns,), above 0."""
    weights: np.ndarray
    """float64 of shape (n_columns, outputs)."""
    missing: np.ndarray
    """float64 of shape (n_columns, outputs)."""
    base: np.ndarray
    """float64 of shape (outputs,)."""

    @property
    def outputs(self) -> int:
        """Columns of the margins."""
        return len(self.base)

    def add_to(self, margins: np.ndarray, matrix: np.ndarray) -> None:
        """Add this member's margins to ``margins`` of shape (n_rows, outputs)."""
        add_linear(
            np.ascontiguousarray(matrix, dtype=np.float64),
            self.centers,
            self.scales,
            LIMIT,
            self.weights,
            self.missing,
            self.base,
            margins,
        )

    def moves(
        self, matrix: np.ndarray, baseline: np.ndarray, owner: np.ndarray, features: int
    ) -> np.ndarray:
        """What each feature adds to each row's margins, less what it adds for the baseline.

        Returns
        -------
        ndarray of shape (n_rows, outputs, features)
            ``owner`` says which feature each matrix column stands for.
        """
        moves = np.empty((len(matrix), self.outputs, features))
        linear_moves(
            np.ascontiguousarray(matrix, dtype=np.float64),
            np.ascontiguousarray(baseline, dtype=np.float64),
            self.centers,
            self.scales,
            LIMIT,
            self.weights,
            self.missing,
            owner,
            moves,
        )
        return moves

    def times(self, weight: float) -> Linear:
        """Weigh the member."""
        return replace(
            self,
            weights=self.weights * weight,
            missing=self.missing * weight,
            base=self.base * weight,
        )

    def plus(self, other: Linear) -> Linear:
        """Add another member that was fitted to the same columns, at the same centers."""
        return replace(
            self,
            weights=self.weights + other.weights,
            missing=self.missing + other.missing,
            base=self.base + other.base,
        )

    def raised(self, shift: float) -> Linear:
        """Add the same to every margin."""
        return replace(self, base=self.base + shift)

    def arrays(self) -> dict[str, np.ndarray]:
        """What a model folder keeps."""
        return {PREFIX + name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], n_columns: int, outputs: int) -> Self:
        """Read what ``arrays`` made.

        Raises
        ------
        ModelDamaged
            If an array is missing, of the wrong shape, or not finite.
        """
        shapes = {
            "centers": (n_columns,),
            "scales": (n_columns,),
            "weights": (n_columns, outputs),
            "missing": (n_columns, outputs),
            "base": (outputs,),
        }
        found = {}
        for name, shape in shapes.items():
            array = arrays.get(PREFIX + name)
            if array is None or array.shape != shape or not np.isfinite(array).all():
                raise ModelDamaged(f"The linear member has no finite {name} of shape {shape}.")
            found[name] = np.ascontiguousarray(array, dtype=np.float64)
        if not (found["scales"] > 0).all():
            raise ModelDamaged("The linear member has a scale that is not above 0.")
        return cls(**found)
