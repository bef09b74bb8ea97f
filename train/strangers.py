"""How strange an object is to a network: a score of its own for what belongs to no class.

Two things give a stranger away, and each misses strangers that the other sees: no class is answered strongly (the
largest logit: D. Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022),
and the features lie off the plane that the known photos fill (the residual of H. Wang et al., "ViM", CVPR 2022).
The residual is taken as it is and as a share of the features' length, since strangers are as often fainter than
known things as they are louder. Each is told in units of its spread over known photos, and they are added. The
choice among energy, maximum logit, Mahalanobis, nearest neighbours and others was made by measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edge.errors import ExportError, TrainError
from train.insight.features import Features

RANK = 56
"""Directions of the plane, at most: at 1,280 features 287 KB."""
MOST_CONSTANTS = 75_000
"""Numbers that the plane may take in the exported graph: 300 KB."""
PHOTOS_A_DIRECTION = 4
"""Known photos that each direction takes at least: a plane through all of them would tell nothing."""
SHARES = (1.0, 0.5, 0.25)
"""Weights of minus the largest logit, of the residual, and of the residual over the features' length.

MobileNetV2 with one class of TrashNet left out, mean AUROC of the six: 0.818, with each residual weighted
0.25 to 0.75 at least 0.805; max-softmax 0.754, largest logit 0.762, energy 0.755, residual alone 0.694.
"""
FAINT = 1e-6
"""Length of features below which they have no direction."""
ITERATIONS, SEED = 4, 0
"""Of the randomized search for the plane (N. Halko, P. Martinsson and J. Tropp 2011)."""
BUFFERS = ("basis", "centre", "scale")


class StrangerScore(nn.Module):
    """Strangeness float32 [n], larger is stranger, from features [n, d] and logits [n, k].

    It takes MatMul, Sub, Mul, Div, Clip, Relu, Sqrt, Concat, ReduceSum and ReduceMax. All of it stays in float32,
    in a graph of half precision too: the residual is the difference of two sums of squares, which float16
    neither holds nor tells apart.
    """

    def __init__(self, features: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("basis", torch.zeros(features, rank))
        """Orthonormal columns: the plane through the origin that known photos fill."""
        self.register_buffer("centre", torch.zeros(len(SHARES)))
        """Median of each part over known photos."""
        self.register_buffer("scale", torch.ones(len(SHARES)))
        """What each is multiplied by: weight over spread."""

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Answer float32 [n, d] and [n, k] with float32 [n]."""
        centre, scale = self.get_buffer("centre"), self.get_buffer("scale")
        return ((self.parts(features, logits) - centre) * scale).sum(dim=1)

    def parts(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return what SHARES weighs: float32 [n, 3]."""
        seen = features.float()
        within = seen @ self.get_buffer("basis")
        squared = (seen * seen).sum(dim=1)
        residual = torch.sqrt(torch.relu(squared - (within * within).sum(dim=1)))
        length = torch.sqrt(squared).clamp_min(FAINT)
        return torch.stack((-logits.float().amax(dim=1), residual, residual / length), dim=1)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> StrangerScore:
        """Return the score that `state_dict` came from. Raises ExportError where it is none."""
        try:
            features, rank = state["basis"].shape
            score = cls(features, rank)
            score.load_state_dict(dict(state))
        except (KeyError, ValueError, AttributeError, RuntimeError) as why:
            what = str(why).splitlines()[0]
            raise ExportError(
                f"the checkpoint's stranger score has not the tensors {', '.join(BUFFERS)} that belong together "
                f"({what}); train again"
            ) from why
        return score.eval()


def fit_strangers(
    features: Features,
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    held_out: Features | None = None,
) -> StrangerScore:
    """Fit the score on what reached the last layer from known photos.

    `features` float32 [n, d] of the photos that trained, `weight` [k, d] and `bias` [k] of that layer. The spread
    of the parts is taken over `held_out` float32 [m, d], known photos that did not train, where there are any:
    photos that trained are answered too well. No label is looked at. Raises TrainError: no photo, features that
    are no numbers or of another width.
    """
    known = features if held_out is None or not len(held_out) else held_out
    _check(features, weight, bias)
    _check(known, weight, bias)
    photos = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    width = photos.shape[1]
    score = StrangerScore(width, _rank(len(photos), width))
    with torch.inference_mode():
        score.get_buffer("basis").copy_(_plane(photos, score.get_buffer("basis").shape[1]))
        judged = torch.from_numpy(np.ascontiguousarray(known, dtype=np.float32))
        parts = score.parts(judged, judged @ torch.from_numpy(weight).T + torch.from_numpy(bias))
        score.get_buffer("centre").copy_(parts.median(dim=0).values)
        score.get_buffer("scale").copy_(torch.tensor(SHARES) / _spread(parts))
    return score.eval()


def strangeness(
    score: StrangerScore,
    features: Features,
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return the strangeness, float32 [n], of features float32 [n, d] before a last layer [k, d] and [k]."""
    with torch.inference_mode():
        seen = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
        logits = seen @ torch.from_numpy(weight).T + torch.from_numpy(bias)
        return cast("npt.NDArray[np.float32]", score(seen, logits).numpy())


def stranger_threshold(known: npt.ArrayLike, rejects: float) -> float:
    """Return the strangeness above which an object is a stranger, from float [n] of known photos held out.

    Of known objects to come at most a share `rejects` lies above, on the mean over such sets of photos: the split
    conformal quantile (V. Vovk, A. Gammerman and G. Shafer 2005), the ceil((n + 1) (1 - rejects))-th smallest.
    Infinite, so that nothing is a stranger, where n is too small for that: 49 photos for 2 %. Raises TrainError:
    what is no number, or a share outside 0 to 1.
    """
    values = np.asarray(known, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise TrainError(f"strangeness of shape {values.shape} or no numbers, expected a finite one a photo")
    if not 0 <= rejects <= 1:
        raise TrainError(f"the share of known objects to reject is {rejects}, expected 0 to 1")
    place = math.ceil((len(values) + 1) * (1 - rejects) - 1e-9)
    if place > len(values):
        return math.inf
    return float(np.sort(values)[place - 1]) if place > 0 else -math.inf


def _check(features: Features, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> None:
    if features.ndim != 2 or features.shape[1:] != weight.shape[1:] or bias.shape != weight.shape[:1]:
        raise TrainError(
            f"features of shape {features.shape} for a last layer of {weight.shape} and {bias.shape}, expected "
            "[photos, features], [classes, features] and [classes]"
        )
    if not len(features):
        raise TrainError("no photo to learn from what is known, expected at least one")
    if not all(np.isfinite(its).all() for its in (features, weight, bias)):
        raise TrainError("features or a last layer that are no numbers, expected finite ones; train again")


def _rank(photos: int, width: int) -> int:
    return max(1, min(RANK, MOST_CONSTANTS // width, photos // PHOTOS_A_DIRECTION, width - 1))


def _plane(photos: Tensor, rank: int) -> Tensor:
    """Return orthonormal columns [d, rank] that hold most of `photos` [n, d], and zeros where nothing is left."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        _, strength, basis = torch.pca_lowrank(photos, q=min(rank, *photos.shape), center=False, niter=ITERATIONS)
    kept = basis * (strength > 1e-6 * strength[0].clamp_min(FAINT))
    return nn.functional.pad(kept, (0, rank - kept.shape[1]))


def _spread(parts: Tensor) -> Tensor:
    """Half the width of the middle 68 % of each column: a standard deviation that outliers don't move. Never 0."""
    low, high = np.quantile(parts.numpy(), (0.16, 0.84), axis=0)
    least = 1e-3 * np.maximum(np.abs(parts.numpy()).mean(axis=0), 1e-3)  # of photos that are all alike
    return torch.from_numpy(np.maximum((high - low) / 2, least).astype(np.float32))
