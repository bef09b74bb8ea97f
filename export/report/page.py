"""parity.html: one self-contained page that shows how each graph of a bundle answers against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge.backends import Answers
from edge.manifest import Artifact, Parity, Verdict
from edge.parity import MOST_CLASS_LOSS, ruined
from edge.preprocess import Pixels
from edge.scores import Truth
from export.report.axis import Axis, axis_over
from export.report.flips import Flip, Side, find_flips
from train.insight.words import points
from train.report.templates import environment
from train.report.thumbs import Thumb, draw_thumb

FEW_MARKS = 4
"""Steps of the axis in a table's column."""
PICTURES = 60
"""Photos shown of an artifact, at most."""

BACKENDS = {"onnxruntime": "ONNX Runtime on the CPU", "cuda": "ONNX Runtime on CUDA"}
"""What judged, in words; others go by the name that they have in --backend."""
ENGINES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT", "openvino": "OpenVINO"}
"""What takes a file, in words."""


@dataclass(frozen=True, eq=False)
class Judged:
    """An artifact and what it answered."""

    artifact: Artifact
    bytes: int
    """Of its file."""
    answers: Answers
    """To all photos, in their order."""


@dataclass(frozen=True, eq=False)
class Shown:
    """All that the page tells. Texts are plain: the page escapes them."""

    name: str
    """Of the bundle."""
    labels: tuple[str, ...]
    model: str
    """Name of the backbone."""
    truth: Truth
    """int64 [photos], one at least."""
    reference: Answers
    """PyTorch's, to all photos."""
    artifacts: tuple[Judged, ...]
    picture: Callable[[int], Pixels]
    """From the index of a photo to the tensor that all of them saw: uint8 [height, width, 3] BGR."""


@dataclass(frozen=True)
class _Group:
    """Flips of which the same can be said."""

    side: Side
    found: int
    shots: tuple[tuple[Flip, Thumb], ...]
    """Those that are shown, with their pictures."""

    @property
    def shown(self) -> int:
        return len(self.shots)


@dataclass(frozen=True)
class _Part:
    """What the page tells of one artifact."""

    artifact: Artifact
    parity: Parity
    bytes: int
    backend: str
    """What judged it, in words."""
    engines: tuple[str, ...]
    """What takes the file, in words."""
    unjudged: tuple[str, ...]
    """Those of them that did not judge it."""
    difference: float
    """Of the accuracies, artifact minus PyTorch, -1 to 1."""
    flips: int
    """Photos whose answers differ."""
    groups: tuple[_Group, ...]
    ruined: tuple[str, ...]
    """Labels whose recall is certainly worse by more than is allowed."""


def parity_page(shown: Shown) -> bytes:
    """Make the page, UTF-8, with its pictures inside and nothing fetched from elsewhere.

    All figures are those of the artifacts' Parity. Raises what `shown.picture` does.
    """
    templates = environment("export.report")
    templates.filters["points"] = points
    templates.filters["small"] = _small
    templates.filters["chance"] = _chance
    flips = [find_flips(shown.truth, shown.reference, one.answers, shown.labels) for one in shown.artifacts]
    thumbs = _draw(shown, flips)
    parts = [_part(one, its, thumbs) for one, its in zip(shown.artifacts, flips, strict=True)]
    text = templates.get_template("parity.html").render(
        shown=shown,
        parts=parts,
        axis=_axis(one.parity for one in parts),
        class_axis=_class_axis(one.parity for one in parts),
        class_loss=MOST_CLASS_LOSS,
        Verdict=Verdict,
    )
    return text.encode("utf-8", "replace")  # the name may hold lone surrogates


def _draw(shown: Shown, flips: Iterable[tuple[Flip, ...]]) -> dict[int, Thumb]:
    """Draw every photo that is shown, once."""
    wanted = {flip.index for its in flips for flip in its[:PICTURES]}
    return {index: draw_thumb(shown.picture(index)) for index in sorted(wanted)}


def _part(judged: Judged, flips: tuple[Flip, ...], thumbs: dict[int, Thumb]) -> _Part:
    artifact, parity = judged.artifact, judged.artifact.parity
    found = sum(one.flips for one in parity.per_class.values())
    numbers = {
        Side.LOST: parity.lost,
        Side.GAINED: parity.gained,
        Side.NEITHER: found - parity.lost - parity.gained,
    }
    pictured = flips[:PICTURES]
    return _Part(
        artifact=artifact,
        parity=parity,
        bytes=judged.bytes,
        backend=BACKENDS.get(parity.backend, ENGINES.get(parity.backend, parity.backend)),
        engines=tuple(ENGINES.get(one, one) for one in artifact.runtimes),
        unjudged=tuple(ENGINES.get(one, one) for one in artifact.runtimes if one != parity.backend),
        difference=parity.accuracy - parity.reference_accuracy,
        flips=found,
        groups=tuple(
            _Group(side, number, tuple((one, thumbs[one.index]) for one in pictured if one.side is side))
            for side, number in numbers.items()
            if number
        ),
        ruined=ruined(parity),
    )


def _axis(parities: Iterable[Parity]) -> Axis:
    return axis_over(end for one in parities for end in (*one.interval, one.lower_bound, -one.tolerance))


def _class_axis(parities: Iterable[Parity]) -> Axis:
    classes = [its for one in parities for its in one.per_class.values() if its.images]
    return axis_over([-MOST_CLASS_LOSS, *(end for its in classes for end in its.interval)], FEW_MARKS)


def _small(number: float) -> str:
    """Write a number from 0 to 1 that may be tiny: 0, 3.1e-06, 0.00042, 0.31."""
    return f"{number:.2g}"


def _chance(p: float) -> str:
    """Write a p-value."""
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"
