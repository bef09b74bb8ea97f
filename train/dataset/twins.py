"""Files that show one picture: equal pixels, or the picture encoded again, resized, cropped, mirrored, turned.

Candidates are the nearest neighbours by a description that mirroring and turning do not change. Each pair of
them is then laid on one another: first as thumbs, and what is left as pictures of 128 pixels, decoded anew.
Compared are details and not light: on a desk every photo has the same soft shadow.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge.errors import DataError, ImageError
from edge.preprocess import Pixels, decode
from edge.progress import Progress
from train.dataset.align import SAME_THUMB, match, thumb_score
from train.dataset.describe import candidates
from train.dataset.examine import Examined, Sample, on_all_cores

CHUNK = 64
"""Pairs of thumbs that a thread takes at once."""

NEAR_COLOUR = 16.0
"""Difference of the means of a channel, levels of 255, up to which two pictures may be one: a cut changes them."""
TURNED = (3, 5, 6)
"""Positions of describe.turned that are a turn by 180, 90 and 270 degrees; the others but 0 mirror."""
RESIZED = 0.02
"""Relative difference of the sizes from which a copy is called resized; less comes from rounding."""


@dataclass(frozen=True)
class Group:
    """Files that show one picture."""

    members: tuple[int, ...]
    """Indices into Examined.samples, at least 2, rising."""
    exact: tuple[tuple[int, ...], ...]
    """Those of them whose decoded pixels are equal, at least 2 each."""
    detail: str
    """How the copies differ, in words."""


class Sets:
    """Disjoint sets of indices that grow together (union-find)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, index: int) -> int:
        """Return the index that stands for the set of `index`."""
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, first: int, second: int) -> None:
        """Make one set of the sets of both. The smaller index stands for it."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parent[high] = low

    def numbers(self) -> npt.NDArray[np.int64]:
        """Return the index that stands for the set of each index, int64: equal numbers belong together."""
        return np.array([self.find(index) for index in range(len(self._parent))], dtype=np.int64)

    def groups(self) -> list[list[int]]:
        """Return the sets of two and more, in order of their smallest index."""
        sets = defaultdict(list)
        for index in range(len(self._parent)):
            sets[self.find(index)].append(index)
        return [members for members in sets.values() if len(members) > 1]


@dataclass(frozen=True)
class _Pair:
    """Two samples that may show one picture."""

    first: int
    second: int
    position: int
    """Of describe.turned, in which the second looks like the first."""
    score: float = 0.0
    """Correlation of the details of their thumbs."""


def _equal(samples: Sequence[Sample]) -> list[list[int]]:
    """Return the sets of two and more samples whose decoded pixels are equal, each rising."""
    alike = defaultdict(list)
    for index, sample in enumerate(samples):
        alike[sample.record.key].append(index)
    doubtful = [index for indices in alike.values() if len(indices) > 1 for index in indices]
    digests = on_all_cores(lambda index: _digest(_decode(samples[index])), doubtful)
    equal = defaultdict(list)
    for index, digest in zip(doubtful, digests, strict=True):
        equal[digest].append(index)
    return [indices for indices in equal.values() if len(indices) > 1]


def _decode(sample: Sample) -> Pixels:
    """Decode a photo again. Raises DataError: what would be concluded without it would be kept, and be wrong."""
    try:
        return decode(sample.photo.path.read_bytes())
    except (ImageError, OSError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"{sample.photo.path} could be read a moment ago, and now can't: {what}; try again"
        ) from error


def _digest(picture: Pixels) -> str:
    """SHA-256 of a picture's pixels and shape."""
    return hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest()


def _alike(
    samples: Sequence[Sample], pairs: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
) -> list[_Pair]:
    """Return the pairs whose mean colours are near."""
    colours = np.array([sample.record.colour for sample in samples], dtype=np.float32).reshape(-1, 3)
    near = (np.abs(colours[pairs[:, 0]] - colours[pairs[:, 1]]) <= NEAR_COLOUR).all(axis=1)
    rows = zip(pairs[near].tolist(), positions[near].tolist(), strict=True)
    return [_Pair(first, second, position) for (first, second), position in rows]


def _likely(thumbs: npt.NDArray[np.uint8], pairs: Sequence[_Pair]) -> list[_Pair]:
    """Return the pairs whose thumbs agree, the surest first."""

    def look(chunk: Sequence[_Pair]) -> list[_Pair]:
        scored = [
            replace(pair, score=thumb_score(thumbs[pair.first], thumbs[pair.second], pair.position))
            for pair in chunk
        ]
        return [pair for pair in scored if pair.score >= SAME_THUMB]

    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    found = [pair for chunk in on_all_cores(look, chunks) for pair in chunk]
    return sorted(found, key=lambda pair: (-pair.score, pair.first, pair.second))


def _confirm(samples: Sequence[Sample], pair: _Pair) -> set[str]:
    """Compare two pictures closely, and say how they differ; nothing where they are not the same."""
    first, second = samples[pair.first], samples[pair.second]
    found = match(_decode(first), _decode(second), pair.position)
    if not found.same:
        return set()
    words = {"turned"} if pair.position in TURNED else {"mirrored"} if pair.position else set()
    words |= {"cropped"} if found.cropped else set()
    sizes = [max(sample.record.width, sample.record.height) for sample in (first, second)]
    if not found.cropped and max(sizes) > (1 + RESIZED) * min(sizes):
        words.add("resized")
    return words or {"encoded again"}


def _group(members: Sequence[int], exact: Mapping[int, tuple[int, ...]], how: Mapping[int, set[str]]) -> Group:
    words = sorted({word for index in members for word in how.get(index, ())})
    mine = tuple(exact[index] for index in members if index in exact)
    return Group(tuple(members), mine, ", ".join(words) if words else "equal pixels")


def tie(count: int, ties: Iterable[Sequence[int]]) -> Sets:
    """Make sets of `count` indices, those of each of the `ties` (none empty) in one."""
    sets = Sets(count)
    for first, *others in ties:
        for other in others:
            sets.join(first, other)
    return sets


def find_twins(examined: Examined, progress: Progress | None = None) -> tuple[Group, ...]:
    """Find the groups of files that show one picture. `progress` is told (done, total) pairs looked at closely.

    No sample is in two groups. Each pair is confirmed on pixels; groups are what pairs connect.
    """
    samples = examined.samples
    equal = _equal(samples)
    same = tie(len(samples), equal)
    again = {index for indices in equal for index in indices[1:]}
    firsts = np.array([index for index in range(len(samples)) if index not in again], dtype=np.int64)
    pairs, positions = candidates(examined.thumbs[firsts])
    found = _alike(samples, firsts[pairs], positions)
    likely = _likely(examined.thumbs, found)
    # The surest first, and none within a group already: a video of one scene would have millions of pairs.
    todo = (pair for pair in likely if same.find(pair.first) != same.find(pair.second))
    how = defaultdict[int, set[str]](set)
    for done, (pair, words) in enumerate(
        on_all_cores(lambda pair: (pair, _confirm(samples, pair)), todo), start=1
    ):
        if words:
            same.join(pair.first, pair.second)
            how[pair.first] |= words
        if progress:
            progress(done, len(likely))
    exact = {indices[0]: tuple(indices) for indices in equal}
    return tuple(_group(members, exact, how) for members in same.groups())
