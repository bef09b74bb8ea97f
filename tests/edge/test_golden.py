from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from edge import golden
from edge.backends import Graph, open_backend, open_graph
from edge.bundle import Bundle, write
from edge.errors import BundleError, GoldenError
from edge.golden import GOLDEN, TENSOR_TOLERANCE, Expected, pack, self_test
from edge.manifest import Precision
from edge.preprocess import InputSpec, Resize, preprocess
from tests.tiny import COLOURS, infer, make_bundle, make_graph, png, solid

Arrays = dict[str, npt.NDArray[np.generic]]
MODEL = "model.fp32.onnx"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("golden") / "bundle")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("strange") / "bundle"
    return make_bundle(folder, strangeness=True, stranger_threshold=0.25)


def arrays_of(bundle: Bundle) -> Arrays:
    with np.load(io.BytesIO(bundle.read(GOLDEN)), allow_pickle=False) as file:
        return dict(file)


def packed(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def altered(bundle: Bundle, folder: Path, **contents: bytes) -> Bundle:
    """Write the bundle anew with other contents, whose digests are right."""
    files = {"golden": GOLDEN, "model": MODEL}
    return write(
        folder, bundle.manifest, {**bundle.contents, **{files[key]: data for key, data in contents.items()}}
    )


def check_fails(bundle: Bundle, *words: str) -> None:
    with open_backend(bundle) as backend, pytest.raises(GoldenError) as caught:
        self_test(bundle, backend)
    for word in words:
        assert word in str(caught.value), caught.value


def with_weights(value: float) -> bytes:
    """The graph with other weights under the same names."""
    model = onnx.load_from_string(make_graph(tuple(COLOURS), 32))
    for tensor in model.graph.initializer:
        if tensor.name == "bias":
            shifted = numpy_helper.to_array(tensor) + np.array([value, 0, 0], dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(shifted, "bias"))
    data: bytes = model.SerializeToString()
    return data


class TestPasses:
    @pytest.mark.parametrize("resize", Resize)
    def test_on_the_device_that_made_it(self, tmp_path: Path, resize: Resize) -> None:
        bundle = make_bundle(tmp_path / "bundle", resize=resize, precisions=tuple(Precision))
        for precision in Precision:
            with open_backend(bundle, precision=precision) as backend:
                result = self_test(bundle, backend)
            assert result.images == 3
            assert result.max_difference < 1e-6

    def test_within_the_tolerances(self, made: Bundle, tmp_path: Path) -> None:
        arrays = arrays_of(made)
        arrays["tensors"] = np.clip(arrays["tensors"].astype(int) + TENSOR_TOLERANCE, 0, 255).astype(np.uint8)
        answers = infer(made.read(MODEL), arrays["tensors"])
        arrays[f"expected_{MODEL}"] = answers.probabilities + np.float32(0.0009)
        bundle = altered(made, tmp_path / "bundle", golden=packed(arrays))
        with open_backend(bundle) as backend:
            assert self_test(bundle, backend).max_difference == pytest.approx(0.0009, abs=1e-5)


class TestPreprocessing:
    @pytest.mark.parametrize("off", [TENSOR_TOLERANCE + 1, -(TENSOR_TOLERANCE + 1), 128, -200])
    def test_one_pixel_that_differs_is_caught(self, made: Bundle, tmp_path: Path, off: int) -> None:
        arrays = arrays_of(made)
        tensors = arrays["tensors"].copy()
        place = np.argwhere(tensors == (0 if off > 0 else 255))[7]
        tensors[tuple(place)] = int(tensors[tuple(place)]) + off
        bundle = altered(made, tmp_path / "bundle", golden=packed({**arrays, "tensors": tensors}))
        check_fails(bundle, "preprocessing", f"off by {abs(off)} levels")

    def test_another_way_to_resize_is_caught(self, made: Bundle, tmp_path: Path) -> None:
        picture = solid("red", size=64)
        picture[:, :20] = 0
        image = png(picture)
        spec = made.manifest.input
        answers = infer(made.read(MODEL), preprocess(image, spec)[None])
        arrays = dict(np.load(io.BytesIO(pack([image], spec, {MODEL: Expected(answers, 1e-3)}))))
        arrays["tensors"] = preprocess(image, InputSpec(32, 32, Resize.CROP, 40))[None]
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), "preprocessing")

    def test_tensors_of_another_size_are_caught(self, made: Bundle, tmp_path: Path) -> None:
        arrays = arrays_of(made)
        arrays["tensors"] = arrays["tensors"][:, :16]
        bundle = altered(made, tmp_path / "bundle", golden=packed(arrays))
        check_fails(bundle, "preprocessing", "[3, 32, 32, 3]", "[3, 16, 32, 3]")

    def test_swapped_images_are_caught(self, made: Bundle, tmp_path: Path) -> None:
        arrays = arrays_of(made)
        arrays["image_0"], arrays["image_1"] = arrays["image_1"], arrays["image_0"]
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), "preprocessing")


class TestDecoding:
    @pytest.mark.parametrize("kept", [0, 20, 60])
    def test_image_that_does_not_decode_is_caught(self, made: Bundle, tmp_path: Path, kept: int) -> None:
        arrays = arrays_of(made)
        arrays["image_1"] = arrays["image_1"][:kept]
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), "failed in decoding")


class TestEngine:
    @pytest.mark.parametrize("value", [3.0, -3.0, 50.0])
    def test_other_weights_under_the_same_names_are_caught(
        self, made: Bundle, tmp_path: Path, value: float
    ) -> None:
        bundle = altered(made, tmp_path / "bundle", model=with_weights(value))
        check_fails(bundle, "in the engine (CPUExecutionProvider)", MODEL, "allowed 0.001")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_answers_that_are_no_numbers_are_caught(self, made: Bundle, tmp_path: Path, value: float) -> None:
        bundle = altered(made, tmp_path / "bundle", model=with_weights(value))
        check_fails(bundle, "in the engine", "are no numbers")

    def test_labels_in_another_order_are_caught(self, made: Bundle, tmp_path: Path) -> None:
        bundle = altered(made, tmp_path / "bundle", model=make_graph(("red", "green", "blue"), 32))
        check_fails(bundle, "in the engine")

    def test_a_graph_of_more_classes_is_caught(self, made: Bundle, tmp_path: Path) -> None:
        graph = make_graph(("a", "b", "c", "d"), 32)
        check_fails(altered(made, tmp_path / "bundle", model=graph), "in the engine", "[3, 4]")

    def test_another_engine_than_the_bundles_is_caught(self, made: Bundle) -> None:
        graph = Graph(MODEL, Precision.FP32, with_weights(-3.0), (32, 32, 3))
        with open_graph(graph) as backend, pytest.raises(GoldenError, match="in the engine"):
            self_test(made, backend)


class TestStrangeness:
    """The second output is held to its record as the first is."""

    def test_what_was_recorded_is_answered(self, strange: Bundle) -> None:
        with open_backend(strange) as backend:
            assert self_test(strange, backend).images == 3

    @pytest.mark.parametrize(("off", "caught"), [(0.019, False), (0.021, True), (-0.021, True), (np.nan, True)])
    def test_another_strangeness_is_caught(
        self, strange: Bundle, tmp_path: Path, off: float, caught: bool
    ) -> None:
        arrays = arrays_of(strange)
        arrays[f"strangeness_{MODEL}"] = arrays[f"strangeness_{MODEL}"] + np.array([0, off, 0], dtype=np.float32)
        bundle = altered(strange, tmp_path / "bundle", golden=packed(arrays))
        if caught:
            check_fails(bundle, "in the engine", f"a strangeness of {MODEL} is off by", "allowed 0.02")
            return
        with open_backend(bundle) as backend:
            self_test(bundle, backend)

    def test_a_graph_that_answers_another_strangeness_is_caught(self, strange: Bundle, tmp_path: Path) -> None:
        model = onnx.load_from_string(strange.read(MODEL))
        model.graph.node[-1].op_type = "ReduceMax"  # the farthest label's distance in place of the nearest's
        check_fails(
            altered(strange, tmp_path / "bundle", model=model.SerializeToString()), "a strangeness", "is off by"
        )

    def test_a_strangeness_that_is_no_number_is_caught(self, strange: Bundle, tmp_path: Path) -> None:
        model = onnx.load_from_string(strange.read(MODEL))
        (palette,) = [tensor for tensor in model.graph.initializer if tensor.name == "palette"]
        values = numpy_helper.to_array(palette) * np.float32(np.nan)
        palette.CopyFrom(numpy_helper.from_array(values, "palette"))
        bundle = altered(strange, tmp_path / "bundle", model=model.SerializeToString())
        check_fails(bundle, "as strangeness it answered [3] with 3 values that are no numbers")

    @pytest.mark.parametrize("name", [f"strangeness_{MODEL}", f"strangeness_tolerance_{MODEL}"])
    def test_what_rejects_and_has_no_record_does_not_pass(
        self, strange: Bundle, tmp_path: Path, name: str
    ) -> None:
        arrays = arrays_of(strange)
        del arrays[name]
        check_fails(altered(strange, tmp_path / "bundle", golden=packed(arrays)), "lacks", name)

    def test_a_record_without_strangeness_is_enough_where_nothing_is_rejected_by_it(
        self, made: Bundle, tmp_path: Path
    ) -> None:
        model = make_graph(tuple(COLOURS), 32, strangeness=True)
        bundle = altered(made, tmp_path / "bundle", model=model)
        with open_backend(bundle) as backend:
            assert self_test(bundle, backend).images == 3

    def test_a_graph_that_lost_the_output_is_caught(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "made", strangeness=True)
        lost = altered(bundle, tmp_path / "bundle", model=make_graph(tuple(COLOURS), 32))
        check_fails(lost, "as strangeness it answered [0]", "expected [3]")


class TestRecord:
    @pytest.mark.parametrize("name", ["tensors", "image_0", "image_2", f"expected_{MODEL}", f"tolerance_{MODEL}"])
    def test_missing_array_is_named(self, made: Bundle, tmp_path: Path, name: str) -> None:
        arrays = arrays_of(made)
        del arrays[name]
        check_fails(
            altered(made, tmp_path / "bundle", golden=packed(arrays)), "lacks", name, "export the run again"
        )

    def test_missing_file_is_a_bundle_error(self, made: Bundle, tmp_path: Path) -> None:
        contents = {name: data for name, data in made.contents.items() if name != GOLDEN}
        bundle = write(tmp_path / "bundle", made.manifest, contents)
        with open_backend(bundle) as backend, pytest.raises(BundleError, match=r"has no golden.npz"):
            self_test(bundle, backend)

    @pytest.mark.parametrize("which", ["text", "empty", "truncated", "npy", "pickle"])
    def test_what_is_no_npz_is_a_golden_error(self, made: Bundle, tmp_path: Path, which: str) -> None:
        npy = io.BytesIO()
        np.save(npy, np.zeros(3))
        objects = arrays_of(made)
        objects["tensors"] = np.array([{"a": 1}, None], dtype=object)
        data = {
            "text": b"no archive",
            "empty": b"",
            "truncated": made.read(GOLDEN)[:-40],
            "npy": npy.getvalue(),
            "pickle": packed(objects),
        }[which]
        check_fails(altered(made, tmp_path / "bundle", golden=data), "can't be read")

    @pytest.mark.parametrize("name", [f"expected_{MODEL}", f"tolerance_{MODEL}"])
    def test_a_record_that_is_no_number_does_not_pass(self, made: Bundle, tmp_path: Path, name: str) -> None:
        arrays = arrays_of(made)
        arrays[name] = np.full_like(arrays[name], np.nan)
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), "in the engine")

    def test_a_record_of_no_images_does_not_pass(self, made: Bundle, tmp_path: Path) -> None:
        arrays = arrays_of(made)
        arrays["tensors"] = arrays["tensors"][:0]
        arrays[f"expected_{MODEL}"] = arrays[f"expected_{MODEL}"][:0]
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), "0 images")

    def test_a_record_for_other_labels_does_not_pass(self, made: Bundle, tmp_path: Path) -> None:
        # Graph and record agree on four classes, the manifest names three: an answer could have no label.
        labels = ("a", "b", "c", "d")
        graph, images = make_graph(labels, 32), [png(solid(label)) for label in COLOURS]
        answers = infer(graph, np.stack([preprocess(image, made.manifest.input) for image in images]))
        record = pack(images, made.manifest.input, {MODEL: Expected(answers, 1e-3)})
        check_fails(altered(made, tmp_path / "bundle", golden=record, model=graph), "3 labels", "[3, 4]")


def test_pack_loads_without_pickle_and_holds_the_images_as_they_came(made: Bundle) -> None:
    images = [png(solid(label)) for label in COLOURS]
    arrays = arrays_of(made)
    assert [arrays[f"image_{number}"].tobytes() for number in range(3)] == images
    assert arrays["tensors"].shape == (3, 32, 32, 3)
    assert arrays["tensors"].dtype == np.uint8
    assert float(arrays[f"tolerance_{MODEL}"]) == pytest.approx(golden.TOLERANCE[Precision.FP32])
