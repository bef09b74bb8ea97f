"""Does a graph answer as the trained model did? The figures, and a verdict that says what they can show."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from edge.backends.base import Answers, BackendInfo, Strangeness
from edge.errors import BundleError
from edge.intervals import Z_95
from edge.manifest import ClassParity, Parity, Precision, Verdict
from edge.paired import mcnemar, photos_needed, tango_lower, tango_upper
from edge.scores import Truth, calibration_error

log = logging.getLogger(__name__)

TOLERANCE = {Precision.FP32: 0.01, Precision.FP16: 0.01, Precision.INT8: 0.03}
"""Share of the photos by which a graph may be less often right than PyTorch, 0 to 1."""

SAME = {Precision.FP32: 1e-3, Precision.FP16: 1e-2, Precision.INT8: 0.0}
"""Where no answer differs and no probability by more than this, so few photos as there are will do."""

MOST_CLASS_LOSS = 0.05
"""Share of a class's photos by which its recall may be worse, 0 to 1: one ruined class can't hide in a mean."""

LEAST_SPREAD = 0.01
"""Of strangeness, over its size."""

MOST_STRANGENESS_DIFFERENCE = 1.0
"""Of the spread of PyTorch's strangeness: a photo off by 1 is as far from where it was as the usual photos are
from the oddest. Less is no fault, since each artifact has a threshold of its own."""


def compare(
    info: BackendInfo,
    reference: Answers,
    got: Answers,
    truth: Truth,
    labels: tuple[str, ...],
    tolerance: float | None = None,
) -> Parity:
    """Compare what `info` answered with what PyTorch did, against int64 [images], one image at least.

    `tolerance`: share of the photos, 0 to 1; None: the precision's.
    """
    sound = got.sound
    # An answer that is no number agrees with nothing, is never right, and is off by as much as can be.
    off = np.abs(got.probabilities.astype(np.float64) - reference.probabilities)
    difference = np.where(sound[:, None], off, 1.0)
    answers = np.where(sound, got.probabilities.argmax(axis=1), -1)
    expected = reference.probabilities.argmax(axis=1)
    right, wanted = answers == truth, expected == truth
    lost, gained = int((wanted & ~right).sum()), int((right & ~wanted).sum())
    if tolerance is None:
        tolerance = TOLERANCE[info.precision]
    return Parity(
        backend=info.name,
        images=len(truth),
        agreement=float(np.mean(answers == expected)),
        accuracy=float(np.mean(right)),
        reference_accuracy=float(np.mean(wanted)),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        lost=lost,
        gained=gained,
        interval=_interval(lost, gained, len(truth)),
        lower_bound=tango_lower(lost, gained, len(truth)),
        tolerance=tolerance,
        mcnemar=mcnemar(lost, gained),
        calibration_error=calibration_error(truth[sound], got.probabilities[sound]) if sound.any() else 1.0,
        reference_calibration_error=calibration_error(truth, reference.probabilities),
        per_class={
            label: _compare_class(right[its], wanted[its], (answers != expected)[its])
            for label, its in ((label, truth == index) for index, label in enumerate(labels))
        },
        unanswered=int((~sound).sum()),
        max_strangeness_difference=_strangeness_difference(reference.strangeness, got.strangeness, sound),
    )


def judge(parity: Parity, precision: Precision) -> tuple[Verdict, str]:
    """Return the verdict, and the reason for it as one sentence.

    FAIL: an answer is no number; strangeness is another altogether; a class is certainly worse by more than 5
    points; or more photos of the same kind would only confirm a loss of the tolerance or more. PASS: the loss of
    accuracy is below the tolerance with 95 % confidence, or all answers are the same. INCONCLUSIVE: neither.
    """
    if parity.unanswered:
        return Verdict.FAIL, f"{parity.unanswered} of {parity.images} answers are no numbers"
    strange = parity.max_strangeness_difference or 0.0
    if strange > MOST_STRANGENESS_DIFFERENCE:
        allowed = f"{MOST_STRANGENESS_DIFFERENCE:g}"
        return Verdict.FAIL, f"strangeness is off by {strange:.1f} times its spread, allowed {allowed}"
    if worse := ruined(parity):
        return Verdict.FAIL, f"{', '.join(worse)}: certainly worse by more than {MOST_CLASS_LOSS * 100:g} points"
    loss = (parity.lost - parity.gained) / parity.images
    if loss >= parity.tolerance:
        return Verdict.FAIL, f"{loss * 100:.2f} points of accuracy are lost, allowed {parity.tolerance * 100:.2f}"
    if parity.lower_bound > -parity.tolerance:
        return Verdict.PASS, (
            f"at most {max(0.0, -parity.lower_bound) * 100:.2f} points of accuracy are lost, with 95 % confidence"
        )
    if parity.agreement == 1.0 and parity.max_difference <= SAME[precision]:
        return Verdict.PASS, f"no answer differs, and no probability by more than {SAME[precision]:g}"
    needed = photos_needed(parity.lost, parity.gained, parity.images, parity.tolerance)
    return Verdict.INCONCLUSIVE, (
        f"{parity.images} photos can't show that less than {parity.tolerance * 100:.2f} points of accuracy are "
        f"lost; {'no number of photos' if needed is None else needed} like them would"
    )


def check_verdict(where: str, verdict: Verdict, reason: str, allow_failed: bool) -> None:
    """Warn of a graph that is not proven. Raises BundleError where it failed, unless `allow_failed`."""
    what = f"{where}: parity with PyTorch is {verdict.value} ({reason})"
    if verdict is Verdict.FAIL and not allow_failed:
        raise BundleError(
            f"{what}; take another --precision, export the run again, or run it all the same with "
            "--allow-failed-parity"
        )
    if verdict is not Verdict.PASS:
        log.warning("%s", what)


def ruined(parity: Parity) -> tuple[str, ...]:
    """Return the labels whose recall is certainly worse by more than 5 points: the 95 % interval ends below."""
    return tuple(label for label, one in parity.per_class.items() if one.interval[1] < -MOST_CLASS_LOSS)


def spread(strangeness: Strangeness) -> float:
    """Return the distance of its 5th and 95th percentile: the unit in which strangeness is compared.

    Where all photos are equally strange, as to a network that sees no difference between them, it is a hundredth
    of how strange they are: what differs then is rounding.
    """
    low, middle, high = np.percentile(strangeness.astype(np.float64), (5, 50, 95))
    return float(max(high - low, LEAST_SPREAD * max(1.0, abs(middle))))


def _compare_class(
    right: npt.NDArray[np.bool_], wanted: npt.NDArray[np.bool_], flipped: npt.NDArray[np.bool_]
) -> ClassParity:
    lost, gained = int((wanted & ~right).sum()), int((right & ~wanted).sum())
    return ClassParity(len(right), int(flipped.sum()), lost, gained, _interval(lost, gained, len(right)))


def _interval(lost: int, gained: int, images: int) -> tuple[float, float]:
    return tango_lower(lost, gained, images, Z_95), tango_upper(lost, gained, images, Z_95)


def _strangeness_difference(
    reference: Strangeness | None, got: Strangeness | None, sound: npt.NDArray[np.bool_]
) -> float | None:
    """Return the largest, over the spread of the reference's; of rows that are no numbers `unanswered` tells."""
    if reference is None or got is None:
        return None
    off = np.abs(got[sound].astype(np.float64) - reference[sound])
    return float(off.max() / spread(reference)) if len(off) else 0.0
