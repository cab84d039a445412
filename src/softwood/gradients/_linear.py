"""Ways to solve the linear system of implicit differentiation from products with its matrix alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from softwood.core import capability, check_number

Product = Callable[[Tensor], Tensor]


@capability("estimator", papers=("ift-hyper",), cost="steps products; O(n) memory")
@dataclass(frozen=True)
class ConjugateGradient:
    r"""Conjugate gradients for :math:`(A + \mu I) x = b`, A symmetric and positive definite: the default.

    Args:
        steps: most products.
        tolerance: stop where the residual is this share of b.
        damping: :math:`\mu \ge 0`; for a Hessian that is only nearly positive.

    Raises:
        InputError: a number out of range.

    Example:
        >>> matrix = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
        >>> ConjugateGradient().solve(lambda v: matrix @ v, torch.tensor([2.0, 4.0])).tolist()
        [1.0, 1.0]

    Limit: after n steps exact, but for rounding.

    Cost: one product a step, O(n) memory.

    Source: Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952.
    """

    steps: int = 20
    tolerance: float = 1e-10
    damping: float = 0.0

    def __post_init__(self) -> None:
        check_number("steps", self.steps, low=1, integer=True)
        check_number("tolerance", self.tolerance, low=0)
        check_number("damping", self.damping, low=0)

    def solve(self, product: Product, b: Tensor) -> Tensor:
        """Return x ``[n]`` for b ``[n]``; stops early where A turns out not to be positive."""
        x, residual = torch.zeros_like(b), b.clone()
        direction, square = residual.clone(), residual @ residual
        enough = self.tolerance**2 * square
        for _ in range(self.steps):
            if square <= enough:
                break
            image = product(direction) + self.damping * direction
            curvature = direction @ image
            if curvature <= 0:
                break
            step = square / curvature
            x, residual = x + step * direction, residual - step * image
            before, square = square, residual @ residual
            direction = residual + (square / before) * direction
        return x


@capability("estimator", papers=("ift-hyper",), cost="steps products; O(n) memory")
@dataclass(frozen=True)
class Neumann:
    r"""The Neumann series :math:`x = \alpha \sum_{i=0}^{K} (I - \alpha A)^i b`.

    It is what K + 1 steps of gradient descent, unrolled at a fixed point, give. Converges for
    :math:`\alpha < 2 / \lambda_{\max}`.

    Args:
        steps: K; 0 takes the matrix for a multiple of the identity.
        step_size: :math:`\alpha`; None measures :math:`1 / \lambda_{\max}` by 20 power iterations.

    Raises:
        InputError: a number out of range.

    Example:
        >>> matrix = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
        >>> x = Neumann(steps=50).solve(lambda v: matrix @ v, torch.tensor([2.0, 4.0]))
        >>> [round(v, 3) for v in x.tolist()]
        [1.0, 1.0]

    Limit: exact as K grows.

    Cost: K products, O(n) memory.

    Source: Lorraine, Vicol and Duvenaud, "Optimizing Millions of Hyperparameters by Implicit Differentiation", 2020.
    """

    steps: int = 20
    step_size: float | None = None

    def __post_init__(self) -> None:
        check_number("steps", self.steps, low=0, integer=True)
        if self.step_size is not None:
            check_number("step_size", self.step_size, low=1e-300)

    def solve(self, product: Product, b: Tensor) -> Tensor:
        """Return x ``[n]`` for b ``[n]``."""
        alpha = 1 / _largest_eigenvalue(product, b) if self.step_size is None else self.step_size
        term, total = b, b
        for _ in range(self.steps):
            term = term - alpha * product(term)
            total = total + term
        return alpha * total


def _largest_eigenvalue(product: Product, like: Tensor, steps: int = 20) -> float:
    """Return a little more than the largest eigenvalue, as the power method stays below it."""
    # a start of its own: b may have no part along the largest direction
    vector = torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(0)).to(like.device)
    size = 1.0
    for _ in range(steps):
        image = product(vector / vector.norm())
        size = float(image.norm())
        if size == 0:
            return 1.0
        vector = image
    return 1.05 * size


@capability("estimator", papers=("ift-hyper",), cost="n products at once, O(n^3) time and O(n^2) memory")
@dataclass(frozen=True)
class ExactSolve:
    r"""The matrix itself, by one product with each unit vector, and a direct solve.

    Args:
        damping: :math:`\mu \ge 0`, added to the diagonal.

    Raises:
        InputError: ``damping`` is below 0.

    Example:
        >>> matrix = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
        >>> ExactSolve().solve(lambda v: matrix @ v, torch.tensor([2.0, 4.0])).tolist()
        [1.0, 1.0]

    Limit: exact.

    Cost: n products, O(n^3) time, O(n^2) memory: for small n, and to judge the others by.

    Source: Golub and Van Loan, "Matrix Computations", 2013, section 3.4.
    """

    damping: float = 0.0

    def __post_init__(self) -> None:
        check_number("damping", self.damping, low=0)

    def solve(self, product: Product, b: Tensor) -> Tensor:
        """Return x ``[n]`` for b ``[n]``."""
        identity = torch.eye(len(b), dtype=b.dtype, device=b.device)
        matrix = torch.vmap(product)(identity).T
        return torch.linalg.solve(matrix + self.damping * identity, b)


LinearSolver = ConjugateGradient | Neumann | ExactSolve
