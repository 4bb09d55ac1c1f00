"""Where the image lies inside its padded feature maps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

__all__ = ["Window"]


@dataclass(frozen=True)
class Window:
    """Rows and columns of a padded feature map that show the image, upper ends excluded.

    Statistics and content come from there, and the g x g cells cover exactly that part, so that
    cell (0, 0) sits in the corner of the image and not of its padding.
    """

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def of_image(cls, height: int, width: int, pad: int, factor: int) -> Window:
        """Window of a height x width image padded by `pad` and then squeezed by `factor`."""
        return cls(
            pad // factor,
            -(-(pad + height) // factor),
            pad // factor,
            -(-(pad + width) // factor),
        )

    def shrunk(self, stride: int) -> Window:
        """The same window after a convolution with a stride."""
        return Window(
            self.top // stride,
            -(-self.bottom // stride),
            self.left // stride,
            -(-self.right // stride),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def cut(self, x: Tensor) -> Tensor:
        """The window of a map."""
        return x[..., self.top : self.bottom, self.left : self.right]

    def grow(self, x: Tensor, height: int, width: int) -> Tensor:
        """Extend a map on the window to the padded size by its border values."""
        sides = (self.left, width - self.right, self.top, height - self.bottom)
        return F.pad(x, sides, mode="replicate") if any(sides) else x
