"""Train the `mri` encoder that the package ships: tissue maps and acquisition from phantom slices.

    python benchmarks/train_encoder.py --minutes 12

Two tasks share the trunk: every tap helps to segment grey matter, white matter and CSF, and the
code (channel statistics) must tell how the slice was acquired: noise, sharpness, receive field,
contrast between tissues, modality. So features know anatomy, and their statistics know the
scanner. People and scanners of the validation set are never seen in training. Writes the weights
into the package, prints the hash to put into `bids_harmony/model/encoder.py`, and leaves the
figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import (
    MRI_ENCODER_FILE,
    MRI_WIDTHS,
    build_mri_encoder,
    channel_statistics,
    save_mri_encoder,
)
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import acquire

MODALITIES = ("T1w", "T2w", "FLAIR")
CROP = 96
ACQUISITION = ("noise", "sharpness", "field", "grey/white", "csf/white", "T1w", "T2w", "FLAIR")


@dataclass(frozen=True)
class Slices:
    """Crops, tissue labels (0 outside, 1 GM, 2 WM, 3 CSF) and standardized acquisition numbers."""

    image: Tensor
    label: Tensor
    acquisition: Tensor


def draw(people: range, scanners: range, per_volume: int, voxel_mm: float, seed: int) -> Slices:
    """Scan every person on a handful of scanners and cut random crops, on the reference grid."""
    rng = np.random.default_rng(seed)
    grid = reference_grid(voxel_mm)
    images, labels, numbers = [], [], []
    for person in tqdm(people, desc=f"scans at {voxel_mm:g} mm", disable=None):
        anatomy = make_anatomy(grid, 500_000 + person)
        label = np.where(anatomy.mask, anatomy.fractions.argmax(0) + 1, 0)
        for scanner_seed in rng.choice(list(scanners), 9, replace=False):
            scanner = random_scanner(900_000 + int(scanner_seed))
            modality = MODALITIES[int(rng.integers(3))]
            data = acquire(anatomy, scanner, modality, scan_seed=int(rng.integers(1 << 30)))
            data = data / np.percentile(data[anatomy.mask], 99.5)
            grey, white, csf = (
                float(np.median(data[(label == t) & (anatomy.fractions[t - 1] > 0.8)]))
                for t in (1, 2, 3)
            )
            truth = [
                (scanner.noise - 0.04) / 0.02,
                scanner.sharpness_mm / 0.5,
                (scanner.bias_log_sd - 0.12) / 0.08,
                np.log(grey / white) / 0.3,
                np.log(max(csf, 0.02) / white) / 0.8,
                *[float(modality == m) for m in MODALITIES],
            ]
            for k in rng.integers(8, grid.shape[2] - 8, per_volume):
                low = [int(rng.integers(0, max(1, grid.shape[a] - CROP + 1))) for a in (0, 1)]
                cut = (slice(low[0], low[0] + CROP), slice(low[1], low[1] + CROP))
                if (label[(*cut, k)] > 0).mean() < 0.1:
                    continue
                stack = np.stack([data[(*cut, k + d)] for d in (-1, 0, 1)])
                pad = [(0, CROP - n) for n in stack.shape[1:]]
                images.append(np.pad(stack, [(0, 0), *pad]).astype(np.float16))
                labels.append(np.pad(label[(*cut, k)], pad).astype(np.uint8))
                numbers.append(truth)
    return Slices(
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack(labels)),
        torch.tensor(numbers, dtype=torch.float32),
    )


class Tasks(nn.Module):
    """Heads that are thrown away after training."""

    def __init__(self, code_length: int) -> None:
        super().__init__()
        self.side = nn.ModuleList([nn.Conv2d(width, 16, 1) for width in MRI_WIDTHS])
        self.tissue = nn.Sequential(nn.ReLU(), nn.Conv2d(16, 4, 3, padding=1))
        self.norm = nn.BatchNorm1d(code_length)
        self.acquisition = nn.Sequential(
            nn.Linear(code_length, 64), nn.ReLU(), nn.Linear(64, len(ACQUISITION))
        )

    def forward(self, taps: list[Tensor]) -> tuple[Tensor, Tensor]:
        size = taps[0].shape[-2:]
        merged = sum(
            F.interpolate(side(tap), size, mode="bilinear")
            for side, tap in zip(self.side, taps, strict=True)
        )
        code = torch.cat([channel_statistics(tap) for tap in taps], 1)
        return self.tissue(merged), self.acquisition(self.norm(code))


def loss_of(tissue: Tensor, numbers: Tensor, label: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of tissues plus squared error of the acquisition numbers."""
    return F.cross_entropy(tissue, label.long()) + 0.3 * F.mse_loss(numbers, truth)


@torch.no_grad()
def validate(trunk: nn.Module, tasks: Tasks, held_out: Slices) -> dict[str, float]:
    """Dice per tissue and explained variance per acquisition number on unseen people, scanners."""
    trunk.eval(), tasks.eval()
    tissue, numbers = [], []
    for start in range(0, len(held_out.image), 64):
        batch = held_out.image[start : start + 64].float()
        t, n = tasks(trunk(batch))
        tissue.append(t.argmax(1))
        numbers.append(n)
    predicted, regressed = torch.cat(tissue), torch.cat(numbers)
    row: dict[str, float] = {}
    for index, name in enumerate(("gm", "wm", "csf"), start=1):
        a, b = predicted == index, held_out.label == index
        row[f"dice_{name}"] = float(2 * (a & b).sum() / (a.sum() + b.sum()))
    residual = (regressed - held_out.acquisition).var(0) / held_out.acquisition.var(0)
    row |= {f"r2_{n}": float(1 - r) for n, r in zip(ACQUISITION, residual, strict=True)}
    trunk.train(), tasks.train()
    return row


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", type=Path, default=MRI_ENCODER_FILE)
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/encoder.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    sets = [
        draw(range(0, 40), range(0, 400), 6, 2.0, 1),
        draw(range(40, 48), range(0, 400), 12, 1.0, 2),
    ]
    training = Slices(
        *[torch.cat(parts) for parts in zip(*[vars(s).values() for s in sets], strict=True)]
    )
    held_out = draw(range(100, 108), range(500, 600), 4, 2.0, 3)
    trunk = build_mri_encoder()
    tasks = Tasks(trunk.code_length)
    parameters = [*trunk.parameters(), *tasks.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    generator = torch.Generator().manual_seed(options.seed)
    start, step = time.monotonic(), 0
    progress = tqdm(total=round(options.minutes * 60), desc="encoder", unit="s", disable=None)
    while (elapsed := time.monotonic() - start) < options.minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + np.cos(np.pi * elapsed / (options.minutes * 60)))
        picked = torch.randint(len(training.image), (16,), generator=generator)
        image = training.image[picked].float()
        label = training.label[picked]
        if step % 2:
            image, label = image.flip(2), label.flip(1)
        loss = loss_of(*tasks(trunk(image)), label, training.acquisition[picked])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        progress.update(int(time.monotonic() - start) - progress.n)
    progress.close()

    row = {"steps": step, "slices": len(training.image), **validate(trunk, tasks, held_out)}
    # Mean activation 1 in every channel-wise tap would need rescaling of weights; codes are
    # standardized by the model, so the weights stay as trained.
    digest = save_mri_encoder(trunk, options.weights)
    result = {
        "name": "encoder",
        "command": f"python benchmarks/train_encoder.py --minutes {options.minutes:g}",
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"processor": platform.machine(), "threads": options.threads},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "seeds": [options.seed],
        "sha256": digest,
        "rows": [row],
    }
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(row, indent=2))
    print(f"weights: {options.weights}\nsha256: {digest}\nresult: {options.result}")


if __name__ == "__main__":
    main()
