"""Findings that follow from the records of the photos and the groups of twins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

from edge.images import Role
from train.dataset.examine import Examined, Record, Sample
from train.dataset.findings import Finding, Kind
from train.dataset.kept import find_kept
from train.dataset.twins import Group

MAX_RATIO = 3.0
"""Photos of the largest class over those of the smallest from which it is worth a word."""
TINY = 64
"""Short side below which a picture shows little, pixels."""
HUGE = 40_000_000
"""Pixels above which a picture is slow to decode: about half a second, every epoch."""
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Ending in lower case to the format that it promises."""


def find_oddities(examined: Examined, twins: Sequence[Group]) -> list[Finding]:
    """Return all but the shortcuts, which take a classifier, and the suspects, which take a network."""
    found = [Finding(Kind.UNREADABLE, (one.name,), one.reason) for one in examined.broken]
    for group in twins:
        found.extend(_of_group(examined.samples, group))
    found.extend(_too_few(examined, twins))
    found.extend(_imbalance(examined))
    found.extend(find_kept(examined))
    if examined.ignored:
        endings = Counter(PurePosixPath(name).suffix or "no ending" for name in examined.ignored)
        kinds = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))
        what = f"{len(examined.ignored)} files are not looked at, for their ending: {kinds}"
        found.append(Finding(Kind.IGNORED, examined.ignored, what))
    found.extend(_of_records(examined.samples))
    return found


def _of_group(samples: Sequence[Sample], group: Group) -> Iterator[Finding]:
    """A group that spoils a training is named for that alone; the others for what they are."""
    photos = [samples[index].photo for index in group.members]
    files = tuple(photo.name for photo in photos)
    labels = sorted({photo.label for photo in photos})
    roles = sorted({photo.role.value for photo in photos if photo.role})
    if len(labels) > 1:
        yield Finding(Kind.LABEL_CONFLICT, files, f"one picture in {' and '.join(labels)} ({group.detail})")
    if len(roles) > 1:
        yield Finding(Kind.SPLIT_LEAK, files, f"one picture in {' and '.join(roles)} ({group.detail})")
    if len(labels) > 1 or len(roles) > 1:
        return
    for exact in group.exact:
        names = tuple(samples[index].photo.name for index in exact)
        yield Finding(Kind.DUPLICATE, names, f"{len(names)} files of equal pixels")
    if group.members not in group.exact:
        yield Finding(Kind.NEAR_DUPLICATE, files, f"{len(files)} files of one picture ({group.detail})")


def _too_few(examined: Examined, twins: Sequence[Group]) -> Iterator[Finding]:
    """Classes that can't be split: what edge-train refuses."""
    samples = examined.samples
    aside = {
        index
        for group in twins
        if len({samples[index].photo.label for index in group.members}) > 1
        for index in group.members
    }
    given = {sample.photo.role for sample in samples}
    needed = 1 + len({Role.VAL, Role.TEST} - given)
    different: dict[str, set[str]] = {label: set() for label in examined.labels}
    for index, sample in enumerate(samples):
        if index not in aside and sample.photo.role in (None, Role.TRAIN):
            different[sample.photo.label].add(sample.digest)
    for label, photos in different.items():
        if len(photos) < needed:
            what = f"class {label} has {len(photos)} different photos to train on, where {needed} are needed"
            yield Finding(Kind.TOO_FEW, (), f"{what}; add photos, or remove the folder")


def _imbalance(examined: Examined) -> Iterator[Finding]:
    counts = Counter(sample.photo.label for sample in examined.samples)
    most = max(examined.labels, key=lambda label: counts[label])
    least = min(examined.labels, key=lambda label: counts[label])
    if counts[most] > MAX_RATIO * counts[least]:
        times = f", {counts[most] / counts[least]:.1f} times fewer" if counts[least] else ""
        what = f"{most} has {counts[most]} photos, {least} {counts[least]}{times}; see --imbalance"
        yield Finding(Kind.IMBALANCE, (), what)


def _of_records(samples: Sequence[Sample]) -> Iterator[Finding]:
    """One finding a kind, with all the files that it is about."""
    coloured = sum(not sample.record.grey for sample in samples)
    checks: tuple[tuple[Kind, Callable[[Record], bool], str], ...] = (
        (Kind.ANIMATED, lambda it: it.frames > 1, "of several frames, of which the first is used"),
        (Kind.TINY, lambda it: min(it.width, it.height) < TINY, f"with a short side under {TINY} pixels"),
        (Kind.HUGE, lambda it: it.width * it.height > HUGE, f"of over {HUGE // 1_000_000} million pixels"),
        (Kind.GREY, lambda it: it.grey and coloured > len(samples) / 2, "without colour, where most have some"),
    )
    lying = [sample for sample in samples if FORMATS[_ending(sample)] != sample.record.format]
    if lying:
        first = lying[0]
        what = f"of another format than the ending says; {first.photo.name} is {first.record.format}"
        yield Finding(Kind.WRONG_ENDING, _names(lying), f"{_count(lying)} {what}")
    for kind, check, what in checks:
        matching = [sample for sample in samples if check(sample.record)]
        if matching:
            yield Finding(kind, _names(matching), f"{_count(matching)} {what}")


def _ending(sample: Sample) -> str:
    return PurePosixPath(sample.photo.name).suffix.lower()


def _names(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(sample.photo.name for sample in samples)


def _count(samples: Sequence[Sample]) -> str:
    return f"{len(samples)} photo{'' if len(samples) == 1 else 's'}"
