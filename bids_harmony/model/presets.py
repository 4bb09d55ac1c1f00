"""Shapes and switches of the network, and the named presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from bids_harmony.exceptions import DataError, UsageError

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "RECURSIONS",
    "AANConfig",
    "NetworkConfig",
    "Recursion",
    "WeightStart",
    "preset",
]

#: Of the way back of a block, `coupling.IHFBlock`.
Recursion = Literal["convex", "mean", "hf", "repo"]
WeightStart = Literal["half", "uniform"]
RECURSIONS: tuple[Recursion, ...] = ("convex", "mean", "hf", "repo")

# As many as `imaging.texture.side_maps` makes.
N_MAPS = 8
# A description is not trusted with more: ten times what any preset has.
MOST_STAGES, MOST_COUPLINGS, MOST_WIDTH = 8, 16, 32768


@dataclass(frozen=True)
class AANConfig:
    """Artefact-aware normalisation.

    Attributes
    ----------
    mode : {"replace", "residual"}
        ``replace`` (the paper): the sample's statistics give way to calibrated ones, modulated.
        ``residual``: the sample's own statistics are modulated; no modulation is no change.
    relative : bool
        Modulate by the prediction for the target minus the prediction for the source.
    gated : bool
        Add a second, non-relative prediction times a gate that is 0 when source is target.
    grid : int
        g: gain and shift are predicted per cell of a g x g grid; 1 is the paper.
    n_maps : int
        Local-map channels per side (source, target); 0 for none.
    fuse : bool
        A non-linear layer between the joined embeddings and the two heads. Without it relative
        conditioning would cancel the content head.
    head_channels : int
        Channels of the content head's convolution.
    stride_unsqueezed : int
        Stride of that convolution in stages before any squeeze; 1 after one.
    embedding : int
        Length of the content and of the code embedding.
    projection : tuple of int
        Widths of the code projection shared by all stages.
    map_channels : int
        Length of the local-map embedding.
    clip : float
        Bound of the log gain.
    code_clip : float
        Bound of codes, in standard deviations of those that trained the network; 0 for none.
    """

    mode: Literal["replace", "residual"] = "residual"
    relative: bool = True
    gated: bool = True
    grid: int = 8
    n_maps: int = N_MAPS
    fuse: bool = True
    head_channels: int = 64
    stride_unsqueezed: int = 4
    embedding: int = 256
    projection: tuple[int, int] = (1024, 512)
    map_channels: int = 64
    clip: float = 3.0
    code_clip: float = 0.0

    def __post_init__(self) -> None:
        counts = (
            self.grid, self.n_maps, self.head_channels, self.stride_unsqueezed, self.embedding,
            self.map_channels, *self.projection,
        )  # fmt: skip
        _require_counts(counts, "AAN")
        switches = (self.relative, self.gated, self.fuse)
        _require(all(type(s) is bool for s in switches), "true or false", switches)
        _require(isinstance(self.clip, float | int), "clip, a number", self.clip)
        _require(
            isinstance(self.code_clip, float | int) and self.code_clip >= 0,
            "code_clip, a number >= 0",
            self.code_clip,
        )
        _require(self.mode in ("replace", "residual"), "mode replace or residual", self.mode)
        _require(self.grid >= 1 and self.n_maps >= 0, "grid >= 1, n_maps >= 0", self)
        _require(self.fuse or not self.relative, "fuse with relative conditioning", self)
        _require(len(self.projection) == 2, "two projection widths", self.projection)

    @property
    def needs_source(self) -> bool:
        """Whether the source's code is part of the condition."""
        return self.relative or self.gated


@dataclass(frozen=True)
class NetworkConfig:
    """Channel plan and switches of the whole network.

    Attributes
    ----------
    squeeze : tuple of int
        Space-to-depth factor at the start of each stage; 1 for none.
    splits : tuple of int
        n of each stage.
    hidden : tuple of int
        Width of the affine nets of each stage.
    couplings : int
        IHF blocks per stage (N in the paper's figure).
    recursion, w_init, shared_w, final_relu, normalize
        See `IHFBlock`.
    pad : int
        Reflection padding on all four sides, pixels.
    aan : AANConfig
    name : str
        Preset it came from.
    """

    squeeze: tuple[int, ...] = (2, 2)
    splits: tuple[int, ...] = (4, 2)
    hidden: tuple[int, ...] = (48, 96)
    couplings: int = 1
    recursion: Recursion = "convex"
    w_init: WeightStart = "half"
    shared_w: bool = False
    final_relu: bool = False
    normalize: bool = True
    pad: int = 8
    aan: AANConfig = field(default_factory=AANConfig)
    name: str = "custom"

    def __post_init__(self) -> None:
        lengths = {len(self.squeeze), len(self.splits), len(self.hidden)}
        _require(max(lengths) <= MOST_STAGES, f"at most {MOST_STAGES} stages", max(lengths))
        counts = (*self.squeeze, *self.splits, *self.hidden, self.couplings, self.pad)
        _require_counts(counts, "stages")
        switches = (self.shared_w, self.final_relu, self.normalize)
        _require(all(type(s) is bool for s in switches), "true or false", switches)
        _require(
            len(lengths) == 1 and 0 not in lengths,
            "squeeze, splits and hidden of one length",
            (self.squeeze, self.splits, self.hidden),
        )
        _require(min(self.squeeze) >= 1, "squeeze factors >= 1", self.squeeze)
        _require(self.recursion in RECURSIONS, ", ".join(RECURSIONS), self.recursion)
        _require(self.w_init in ("half", "uniform"), "w_init half or uniform", self.w_init)
        _require(self.couplings >= 1 and self.pad >= 0, "couplings >= 1, pad >= 0", self)
        _require(
            self.couplings <= MOST_COUPLINGS and max(self.channels) <= MOST_WIDTH,
            f"at most {MOST_COUPLINGS} couplings and {MOST_WIDTH} channels",
            self,
        )

    @property
    def stages(self) -> int:
        """L."""
        return len(self.splits)

    @property
    def multiple(self) -> int:
        """Product of the squeeze factors: padded sizes are multiples of it."""
        return math.prod(self.squeeze)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels at the end of each stage."""
        plan, current = [], 3
        for factor, splits in zip(self.squeeze, self.splits, strict=True):
            current = current * factor**2 * splits**self.couplings
            plan.append(current)
        return tuple(plan)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> NetworkConfig:
        """Undo `to_dict`, also after a trip through JSON.

        Raises
        ------
        DataError
            A field is unknown or its value makes no sense.
        """
        try:
            values = {name: _as_tuple(value) for name, value in table.items()}
            aan = {name: _as_tuple(value) for name, value in values.pop("aan", {}).items()}
            return cls(aan=AANConfig(**aan), **values)
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError("Not a network configuration", got=str(error)[:500]) from error


def preset(name: str, **changes: Any) -> NetworkConfig:
    """Return a preset, with changes to its fields or to those of its `aan`.

    >>> preset("paper").channels
    (48, 384)
    >>> preset("local", grid=4, hidden=(8, 8)).aan.grid
    4
    """
    if name not in PRESETS:
        raise UsageError("Unknown preset", expected=", ".join(PRESETS), got=name)
    inner = {key.name for key in fields(AANConfig)}
    outer = {key.name for key in fields(NetworkConfig)}
    unknown = sorted(set(changes) - inner - outer)
    _require(not unknown, f"fields among {sorted(inner | outer)}", unknown)
    config = PRESETS[name]
    aan = changes.pop("aan", config.aan)
    aan = replace(aan, **{key: value for key, value in changes.items() if key in inner})
    return replace(
        config, aan=aan, **{key: value for key, value in changes.items() if key in outer}
    )


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _require_counts(values: tuple[Any, ...], of: str) -> None:
    sound = all(type(value) is int and 0 <= value <= MOST_WIDTH for value in values)
    _require(sound, f"numbers of {of} between 0 and {MOST_WIDTH}", str(values)[:200])


def _require(condition: bool, expected: str, got: object) -> None:
    if not condition:
        raise UsageError("A network cannot be built this way", expected=expected, got=str(got))


_PAPER_AAN = AANConfig(mode="replace", relative=False, gated=False, grid=1, n_maps=0, fuse=False)

PRESETS: Mapping[str, NetworkConfig] = {
    # The paper's channel plan with spatial, relative and local conditioning. The affine nets are
    # half as wide as those of `paper`, and do not normalise: how large noise and edges are is what
    # they must know. Codes pass through a narrow projection, or some dozen scanners are learnt by
    # heart; and they are bounded: those of unseen scanners can lie 5 to 12 standard deviations
    # out, where the network has learnt nothing.
    "local": NetworkConfig(
        name="local",
        hidden=(24, 32),
        normalize=False,
        pad=4,
        aan=AANConfig(
            head_channels=16, embedding=32, projection=(32, 32), map_channels=32, code_clip=2.0
        ),
    ),
    # The literal reading of the paper's text and figure.
    "paper": NetworkConfig(name="paper", aan=_PAPER_AAN),
    # HierarchyFlow's published channel plan: no squeeze, hence no checkerboards.
    "flat": NetworkConfig(
        name="flat",
        squeeze=(1, 1),
        splits=(10, 4),
        hidden=(16, 60),
        aan=AANConfig(grid=1, n_maps=0, gated=False),
    ),
    # Channel plan and single fusion weight of the authors' repository, for comparison; its inexact
    # recursion is recursion="repo".
    "repo": NetworkConfig(
        name="repo",
        squeeze=(1, 1, 1),
        splits=(10, 4, 4),
        hidden=(30, 120, 256),
        shared_w=True,
        aan=_PAPER_AAN,
    ),
}
DEFAULT_PRESET = "local"
