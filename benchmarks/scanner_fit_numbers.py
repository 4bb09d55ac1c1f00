"""The numbers that `phantom.real_scanners` draws from: fitted to tables and to simulated scans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from bids_harmony.phantom.real_scanners import features
from bids_harmony.quality.image_quality import QUALITY_MEASURES

__all__ = ["NUMBERS", "ask_again", "fit"]

NUMBERS = (
    Path(__file__).resolve().parent.parent / "bids_harmony" / "data" / "scanner_differences.json"
)
_PROBABILITIES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
#: How far what is asked for moves towards what is missing.
_DAMPED = 0.8

Array = np.ndarray


def fit(real: Array, calibration: list[tuple[Array, Array, Array]]) -> None:
    """Write quantiles, correlations and the response of measures to properties."""
    scores = norm.ppf(rankdata(real, axis=0) / (len(real) + 1))
    properties, gains, measures = (np.array(part) for part in zip(*calibration, strict=True))
    terms = features(properties.T, gains.T).T
    measures[:, 2:4] **= 2
    measures[:, 4] = np.log(measures[:, 4])
    # Noise and range should be right in proportion.
    trust = np.ones_like(measures)
    trust[:, 2:4] = np.square(1 / (1 + measures[:, 2:4] / np.median(measures[:, 2:4], axis=0)))
    pairs = zip(measures.T, trust.T, strict=True)
    response = np.array([_robust(terms, own, weights) for own, weights in pairs])
    left = measures - terms @ response.T
    shares = 1 - left.var(axis=0) / measures.var(axis=0)
    print("explained by the response:", dict(zip(QUALITY_MEASURES, shares.round(3), strict=True)))
    content = {
        "source": "MRIQC measures of T1w scans of one man on about 115 scanners: Frequently "
        "Traveling Human Phantom (Opfer et al. 2022, Eur Radiol), measures by Korbmacher "
        "(BBSC_BrainAge). Aggregates over 119 protocols; response of simulated scans.",
        "measures": list(QUALITY_MEASURES),
        "scores": np.round(norm.ppf(_PROBABILITIES), 4).tolist(),
        "quantiles": np.round(np.quantile(real, _PROBABILITIES, axis=0).T, 4).tolist(),
        "correlation": np.round(np.corrcoef(scores.T), 3).tolist(),
        "response": [[float(f"{v:.4g}") for v in row] for row in response],
    }
    _write(content | {f"asked_{n}": content[n] for n in ("quantiles", "correlation")})


def _write(content: dict[str, Any]) -> None:
    NUMBERS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def ask_again(simulated: Array) -> None:
    """Ask for more where scans have less than the tables: the response is not exact."""
    content = json.loads(NUMBERS.read_text(encoding="utf-8"))
    asked, wanted = (np.array(content[n]) for n in ("asked_quantiles", "quantiles"))
    asked += _DAMPED * (wanted - np.quantile(simulated, _PROBABILITIES, axis=0).T)
    # Noise, range and width stay above nothing; quantiles rise.
    asked[2:] = np.maximum(asked[2:], 0.2 * wanted[2:])
    asked = np.maximum.accumulate(asked, axis=1) + 1e-4 * np.arange(len(_PROBABILITIES))
    scores = norm.ppf(rankdata(simulated, axis=0) / (len(simulated) + 1))
    correlation = np.array(content["asked_correlation"]) + _DAMPED * (
        np.array(content["correlation"]) - np.corrcoef(scores.T)
    )
    values, vectors = np.linalg.eigh(correlation)
    correlation = vectors * np.maximum(values, 0.02) @ vectors.T
    size = np.sqrt(np.diag(correlation))
    content["asked_quantiles"] = np.round(asked, 4).tolist()
    content["asked_correlation"] = np.round(correlation / np.outer(size, size), 3).tolist()
    _write(content)


def _robust(terms: Array, values: Array, trust: Array) -> Array:
    """Weighted least squares with Huber's weights and a slight ridge."""
    weights = trust
    ridge = 1e-3 * len(values) * np.diag(np.square(terms).mean(axis=0))
    for _ in range(10):
        weighed = terms * weights[:, None]
        found = np.linalg.solve(weighed.T @ terms + ridge, weighed.T @ values)
        left = np.sqrt(trust) * np.abs(values - terms @ found)
        weights = trust * np.minimum(1, 2 * np.median(left) / np.maximum(left, 1e-12))
    return found
