import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export.calibration import Method, Observed, find_range, observe
from export.qdq import tensors_of
from tests.export.nets import graph, photos


def test_extremes_and_means_are_those_of_all_values_of_all_photos() -> None:
    tensors = tensors_of(graph())[:4]
    seen = photos(23)  # the last batch is smaller
    observed = observe(graph(), tensors, seen)
    whole = _run(tensors, seen)
    for tensor in tensors:
        values = whole[tensor]
        assert observed[tensor].low == pytest.approx(values.min(), abs=1e-5)
        assert observed[tensor].high == pytest.approx(values.max(), rel=1e-5)
        np.testing.assert_allclose(observed[tensor].means, values.mean(axis=(0, 2, 3)), rtol=1e-3, atol=1e-4)


def test_the_sample_is_like_the_whole() -> None:
    tensor = tensors_of(graph())[2]
    sample = observe(graph(), [tensor], photos(40))[tensor].sample
    values = _run([tensor], photos(40))[tensor]
    assert 40 * 64 <= len(sample) <= 40 * 300
    assert sample.mean() == pytest.approx(values.mean(), rel=0.05)
    assert sample.std() == pytest.approx(values.std(), rel=0.05)


def test_a_range_holds_zero_and_is_symmetric_where_asked() -> None:
    observed = _observed(np.linspace(2, 5, 1000))
    assert find_range(observed, Method.MIN_MAX, symmetric=False) == (0.0, 5.0)
    assert find_range(observed, Method.MIN_MAX, symmetric=True) == (-5.0, 5.0)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_rare_outlier_is_cut_off_where_that_costs_least(*, symmetric: bool) -> None:
    values = np.random.default_rng(0).normal(size=1_000_000)
    values[0] = 30.0
    observed = _observed(values)
    ranges = {method: find_range(observed, method, symmetric=symmetric) for method in Method}
    errors = {method: _error(values, *ends) for method, ends in ranges.items()}
    assert ranges[Method.MIN_MAX][1] == 30.0
    assert ranges[Method.MSE][1] < 20
    assert errors[Method.MSE] < 0.6 * errors[Method.MIN_MAX]
    assert ranges[Method.PERCENTILE][1] < 5


def test_a_tensor_that_is_zero_everywhere_has_no_width() -> None:
    observed = _observed(np.zeros(10))
    assert all(find_range(observed, method, symmetric=False) == (0.0, 0.0) for method in Method)


def _observed(values: np.ndarray) -> Observed:
    return Observed(float(values.min()), float(values.max()), values.astype(np.float32), np.zeros(1, np.float32))


def _error(values: np.ndarray, low: float, high: float) -> float:
    scale = (high - low) / 255
    least = round(low / scale)
    return float(((np.clip(np.round(values / scale), least, least + 255) * scale - values) ** 2).mean())


def _run(tensors: list[str] | tuple[str, ...], seen: np.ndarray) -> dict[str, np.ndarray]:
    model = onnx.ModelProto()
    model.CopyFrom(graph())
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(tensors, session.run(list(tensors), {"image": seen}), strict=True))
