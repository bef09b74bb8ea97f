"""What tells the classes apart without a look at the object: size, compression, format, camera, brightness.

A network takes the easiest way. Where all glass was photographed with one camera and all metal with another, it
learns the cameras, scores well on its test photos, and fails on the bin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.dataset.examine import Record, Sample
from train.dataset.findings import Finding, Kind

FOLDS = 5
DEPTH = 4
"""Of the decision tree: at most 16 cases, a rule that a person could write down."""
MOST = 20_000
"""Photos that are looked at; of more, evenly spread ones."""
GAIN = 0.1
"""Share of the way from chance to certainty below which a tree's answer is not worth a word."""
SIGMAS = 3.0
"""Standard errors by which it must beat chance."""
DESCRIBED = 8
"""Classes of which the typical value is told."""


@dataclass(frozen=True)
class Trait:
    """Something that a file has whatever it shows."""

    name: str
    read: Callable[[Record], Sequence[float | str]]
    """Its values: numbers, or names of which each is one case."""
    tell: Callable[[Record], str]
    """The same for people."""


TRAITS = (
    Trait("size", lambda it: (it.width, it.height), lambda it: f"{it.width} x {it.height}"),
    Trait(
        "compression",
        lambda it: (it.bytes / (it.width * it.height),),
        lambda it: f"{8 * it.bytes / (it.width * it.height):.1f} bits a pixel",
    ),
    Trait("format", lambda it: (it.format,), lambda it: it.format),
    Trait("camera", lambda it: (it.camera,), lambda it: it.camera or "unnamed"),
    Trait("brightness", lambda it: (it.brightness, it.contrast), lambda it: f"{it.brightness:.0f} of 255"),
)


def find_shortcuts(samples: Sequence[Sample], labels: Sequence[str]) -> tuple[Finding, ...]:
    """Report each trait by which a small decision tree, cross-validated, tells the classes better than chance.

    Better: mean recall over classes beyond 1 / classes by 3 standard errors and a tenth of the way to 1.
    Classes with fewer photos than folds are left out.
    """
    spread = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), MOST)).astype(int)) if samples else ()
    looked = [samples[index] for index in spread]
    counts = Counter(sample.photo.label for sample in looked)
    usable = [sample for sample in looked if counts[sample.photo.label] >= FOLDS]
    classes = sorted({sample.photo.label for sample in usable}, key=list(labels).index)
    if len(classes) < 2:
        return ()
    targets = np.array([classes.index(sample.photo.label) for sample in usable])
    found = []
    for trait in TRAITS:
        table = _table([trait.read(sample.record) for sample in usable])
        if not len(table) or (table == table[0]).all():
            continue
        recall, error = _judge(table, targets)
        chance = 1 / len(classes)
        if recall > chance + max(SIGMAS * error, GAIN * (1 - chance)):
            found.append(Finding(Kind.SHORTCUT, (), _sentence(trait, recall, chance, usable, classes)))
    return tuple(found)


def _table(rows: Sequence[Sequence[float | str]]) -> npt.NDArray[np.float64]:
    """Numbers as they are, names as a column for each of the 20 most frequent: float64 [photos, columns]."""
    if not isinstance(rows[0][0], str):
        return np.array(rows, dtype=np.float64)
    names = [name for name, _ in Counter(str(row[0]) for row in rows).most_common(20)]
    return np.array([[row[0] == name for name in names] for row in rows], dtype=np.float64)


def _judge(table: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean recall of a cross-validated tree over the classes, and its standard error."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415  a second to import
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415

    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=5, class_weight="balanced", random_state=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    right = cross_val_predict(tree, table, targets, cv=folds) == targets
    recalls = np.array([right[targets == index].mean() for index in np.unique(targets)])
    counts = np.bincount(targets)
    chance = 1 / len(counts)
    # Under chance each class is right at 1 / classes: the error of a mean of independent shares.
    return float(recalls.mean()), float(np.sqrt((chance * (1 - chance) / counts).sum()) / len(counts))


def _sentence(
    trait: Trait, recall: float, chance: float, samples: Sequence[Sample], classes: Sequence[str]
) -> str:
    text = f"{trait.name} alone tells the class of {recall:.0%} of the photos, where chance is {chance:.0%}"
    if len(classes) > DESCRIBED:
        return text
    typical = []
    for label in classes:
        records = [sample.record for sample in samples if sample.photo.label == label]
        if isinstance(trait.read(records[0])[0], str):
            value = Counter(trait.tell(record) for record in records).most_common(1)[0][0]
        else:
            value = trait.tell(sorted(records, key=lambda record: trait.read(record)[0])[len(records) // 2])
        typical.append(f"{label} {value}")
    return f"{text} (typical: {', '.join(typical)})"
