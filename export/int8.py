"""Int8 that holds its accuracy: remedies in order of cost, the first that does is taken.

What int8 loses is chosen against on the validation photos, so that the test photos judge once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from edge.backends import Answers, BackendInfo, Graph, Probabilities, open_graph
from edge.backends.base import join
from edge.manifest import Precision, Remedy, Verdict
from edge.parity import compare, judge
from edge.preprocess import Pixels
from edge.scores import Truth
from export.calibration import Method, Observed, find_range, observe
from export.layers import find_layers
from export.qdq import Plan, Scheme, quantize, tensors_of

LEAST_AGREEMENT, MOST_DIVERGENCE = 0.98, 0.005
"""What a remedy must reach on the validation photos: share of the same answers as fp32's, and nats by which its
probabilities diverge from them. At 0.005 about one answer in a hundred is another one, which few photos can't tell
from one in fifty."""
CORRECTED = ", biases corrected"
IN_FLOAT = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""How many of the most sensitive layers stay in float, tried in this order."""
MOST_IN_FLOAT = 0.5
"""Share of the layers: beyond it there is no int8 to speak of."""
PROBES = 48
"""Validation photos that tell how sensitive each layer is."""
BATCH = 16
LEAST_PROBABILITY = 1e-9


@dataclass(frozen=True, eq=False)
class Validation:
    """What remedies are chosen by."""

    tensors: Pixels
    """uint8 [photos, height, width, 3] BGR."""
    truth: Truth
    """int64 [photos]."""
    labels: tuple[str, ...]
    reference: Answers
    """Of the fp32 graph."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """An int8 graph, and how it came about."""

    model: onnx.ModelProto
    remedies: tuple[Remedy, ...]
    """In the order in which they were tried; the graph is that of the last where it passed, else of the one with
    the least divergence."""


class Quantizer:
    """Makes the int8 graphs of both schemes from one calibration."""

    def __init__(
        self,
        model: onnx.ModelProto,
        calibration: Pixels,
        validation: Validation,
        tolerance: float,
    ) -> None:
        """`calibration`: uint8 [photos, height, width, 3] BGR of the training split."""
        self._model = model
        self._validation = validation
        self._tolerance = tolerance
        self._observed: Mapping[str, Observed] = observe(model, tensors_of(model), calibration)

    def quantize(self, scheme: Scheme) -> Quantized:
        """Try remedies until one is enough; where none is, take the one whose answers are nearest to fp32's."""
        tried: list[tuple[Remedy, onnx.ModelProto]] = []
        for name, plan in self._plans(scheme, tried):
            model = quantize(self._model, plan)
            remedy = self._judge(name, model)
            tried.append((remedy, model))
            if remedy.passed:
                break
        best = tried[-1] if tried[-1][0].passed else min(tried, key=lambda one: one[0].divergence)
        return Quantized(best[1], tuple(one for one, _ in tried))

    def _plans(self, scheme: Scheme, tried: list[tuple[Remedy, onnx.ModelProto]]) -> Iterator[tuple[str, Plan]]:
        """Give the next plan, knowing what those before it gave."""
        ranges = {method: self._ranges(method, scheme) for method in Method}
        # Three channels in int8 cost a CPU more than in float: MobileNetV2 is 1.5 times as fast as fp32 with the
        # first layer in int8, 1.9 times without, and nearer to its answers.
        first = find_layers(self._model)[:1] if scheme is Scheme.CPU else ()
        always = frozenset(layer.node for layer in first)
        yield Method.MIN_MAX.value, Plan(scheme, ranges[Method.MIN_MAX], always)
        for method in Method:
            yield f"{method.value}{CORRECTED}", Plan(scheme, ranges[method], always, self._observed)
        best = min(zip(Method, tried[1:], strict=True), key=lambda one: one[1][0].divergence)[0]
        plan = Plan(scheme, ranges[best], observed=self._observed)
        order = [name for name in self._by_sensitivity(plan) if name not in always]
        for count in IN_FLOAT:
            if count <= MOST_IN_FLOAT * len(order):
                kept = Plan(scheme, ranges[best], always.union(order[:count]), self._observed)
                yield f"{best.value}{CORRECTED}, {count} layer{'s' if count > 1 else ''} in float", kept

    def _ranges(self, method: Method, scheme: Scheme) -> dict[str, tuple[float, float]]:
        return {name: find_range(one, method, symmetric=scheme.symmetric) for name, one in self._observed.items()}

    def _by_sensitivity(self, plan: Plan) -> list[str]:
        """Return the names of all layers, that first which alone in int8 moves the answers most.

        Each scheme has an order of its own: where outputs are int8 too, it is other layers that suffer.
        """
        names = [layer.node for layer in find_layers(self._model)]
        chosen = np.linspace(0, len(self._validation.tensors) - 1, PROBES).round().astype(np.int64)
        probes = self._validation.tensors[np.unique(chosen)]
        expected = self._validation.reference.probabilities[np.unique(chosen)]
        moved = {}
        for name in names:
            alone = Plan(plan.scheme, plan.ranges, frozenset(names) - {name}, plan.observed)
            answers = answer(quantize(self._model, alone), probes)
            moved[name] = divergence(expected, answers.probabilities)
        return sorted(names, key=lambda name: -moved[name])

    def _judge(self, name: str, model: onnx.ModelProto) -> Remedy:
        its = self._validation
        got = answer(model, its.tensors)
        info = BackendInfo("onnxruntime", name, Precision.INT8, "", 0, ())
        parity = compare(info, its.reference, got, its.truth, its.labels, self._tolerance)
        verdict, _ = judge(parity, Precision.INT8)
        # Few photos can show nothing; where none of them is lost, more layers in float would not show more.
        enough = verdict is Verdict.PASS or (verdict is Verdict.INCONCLUSIVE and not parity.lost)
        off = divergence(its.reference.probabilities, got.probabilities)
        return Remedy(
            name=name,
            images=parity.images,
            agreement=parity.agreement,
            accuracy=parity.accuracy,
            divergence=off,
            passed=enough and parity.agreement >= LEAST_AGREEMENT and off <= MOST_DIVERGENCE,
        )


def divergence(expected: Probabilities, got: Probabilities) -> float:
    """Mean Kullback-Leibler divergence, nats, of `got` from `expected`: float32 [photos, classes] each.

    It tells two remedies apart on far fewer photos than flipped answers would.
    """
    true, other = (np.maximum(one.astype(np.float64), LEAST_PROBABILITY) for one in (expected, got))
    return float((true * np.log(true / other)).sum(axis=1).mean())


def answer(model: onnx.ModelProto, tensors: Pixels) -> Answers:
    """Return what ONNX Runtime on the CPU answers with a graph to uint8 [n, height, width, 3]."""
    graph = Graph("int8", Precision.INT8, model.SerializeToString(), tensors.shape[1:])
    with open_graph(graph, "onnxruntime") as backend:
        parts = [backend.infer(tensors[at : at + BATCH]) for at in range(0, len(tensors), BATCH)]
    return join(parts)
