from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from edge import golden, golden_record, preprocess
from edge.backends import Graph, open_backend, open_graph
from edge.bundle import Bundle, write
from edge.diagnosis import match
from edge.errors import BundleError, GoldenError, Stage
from edge.golden import GOLDEN, TENSOR_TOLERANCE, Expected, Fault, pack, self_test
from edge.manifest import Precision
from edge.preprocess import InputSpec, Pixels, Resize
from tests.made import command, draw, one_line_error
from tests.tiny import COLOURS, infer, make_bundle, make_graph, png, solid

Arrays = dict[str, npt.NDArray[np.generic]]
MODEL = "model.fp32.onnx"
PLAIN = ("black", "blue", "green")
"""Labels of a bundle whose classes are no longer what they were once red and blue change places."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("golden") / "bundle")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("strange") / "bundle"
    return make_bundle(folder, strangeness=True, stranger_threshold=0.25)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("plain") / "bundle", labels=PLAIN)


@pytest.fixture(scope="module")
def photos(made: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose golden images are JPEG photos of 100 x 100 pixels."""
    images = [jpeg(draw(kind, 1, 100)) for kind in ("bars", "disc", "ring")]
    tensors = np.stack([preprocess.preprocess(image, made.manifest.input) for image in images])
    expected = {MODEL: Expected(infer(made.read(MODEL), tensors), 1e-3)}
    record = pack(images, made.manifest.input, expected)
    return altered(made, tmp_path_factory.mktemp("photos") / "bundle", golden=record)


def jpeg(picture: Pixels) -> bytes:
    return cv2.imencode(".jpg", picture)[1].tobytes()


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


def check_fails(bundle: Bundle, stage: Stage | None, *words: str) -> None:
    with open_backend(bundle) as backend, pytest.raises(GoldenError) as caught:
        self_test(bundle, backend)
    assert caught.value.stage is stage, caught.value
    assert "\n" not in str(caught.value)
    for word in (*words, f"self-test failed in {stage.value}: " if stage else "export the run again"):
        assert word in str(caught.value), caught.value


def edited(bundle: Bundle, name: str, change: Callable[[npt.NDArray[np.float32]], object]) -> bytes:
    """The bundle's graph with one of its constants changed in place."""
    model = onnx.load_from_string(bundle.read(MODEL))
    (tensor,) = [one for one in model.graph.initializer if one.name == name]
    values = numpy_helper.to_array(tensor).copy()
    change(values)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    data: bytes = model.SerializeToString()
    return data


def add(place: int, value: float) -> Callable[[npt.NDArray[np.float32]], object]:
    def change(values: npt.NDArray[np.float32]) -> None:
        values[..., place] += np.float32(value)

    return change


def scale(place: int | slice, factor: float) -> Callable[[npt.NDArray[np.float32]], object]:
    def change(values: npt.NDArray[np.float32]) -> None:
        values[..., place] *= np.float32(factor)

    return change


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


class TestDecoding:
    """Faults are planted in edge.preprocess itself: bundle and self-test are as shipped."""

    @pytest.mark.parametrize("kept", [0, 20, 60])
    def test_an_image_that_does_not_decode_is_caught(self, made: Bundle, tmp_path: Path, kept: int) -> None:
        arrays = arrays_of(made)
        arrays["image_1"] = arrays["image_1"][:kept]
        bundle = altered(made, tmp_path / "bundle", golden=packed(arrays))
        check_fails(bundle, Stage.DECODE, "image_1 of golden.npz can't be decoded here")

    def test_swapped_images_are_caught(self, made: Bundle, tmp_path: Path) -> None:
        arrays = arrays_of(made)
        arrays["image_0"], arrays["image_1"] = arrays["image_1"], arrays["image_0"]
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), Stage.DECODE, "off by 255 levels")

    def test_rgb_for_bgr(self, photos: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        original = preprocess._to_bgr
        monkeypatch.setattr(preprocess, "_to_bgr", lambda image: np.ascontiguousarray(original(image)[..., ::-1]))
        check_fails(photos, Stage.COLOUR_ORDER, "and by 0 once", "decode gives RGB here, expected BGR")

    def test_rgb_for_bgr_is_caught_though_all_photos_are_grey(
        self, made: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        grey = jpeg(np.repeat(draw("disc", 1)[..., :1], 3, axis=2))
        tensor = preprocess.preprocess(grey, made.manifest.input)[None]
        record = pack([grey], made.manifest.input, {MODEL: Expected(infer(made.read(MODEL), tensor), 1e-3)})
        bundle = altered(made, tmp_path / "bundle", golden=record)
        original = preprocess._to_bgr
        monkeypatch.setattr(preprocess, "_to_bgr", lambda image: np.ascontiguousarray(original(image)[..., ::-1]))
        check_fails(bundle, Stage.COLOUR_ORDER, "the probe")

    def test_reduced_size(self, photos: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        original = preprocess._upright

        def reduced(image: Image.Image) -> Pixels:
            image.draft("RGB", (50, 50))
            return original(image)

        monkeypatch.setattr(preprocess, "_upright", reduced)
        check_fails(photos, Stage.DECODE, "image_0 of golden.npz is 50 x 50 pixels here, 100 x 100 at export")

    def test_reduced_size_enlarged_again(self, photos: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        original = preprocess._upright

        def blurred(image: Image.Image) -> Pixels:
            picture = original(image)
            half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            return np.asarray(cv2.resize(half, picture.shape[1::-1]), dtype=np.uint8)

        monkeypatch.setattr(preprocess, "_upright", blurred)
        check_fails(photos, Stage.DECODE, "a decoded pixel")

    def test_exif_left_out_is_caught_though_no_photo_is_turned(
        self, photos: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(preprocess, "_turned", lambda image: False)
        check_fails(photos, Stage.DECODE, "the probe of golden.npz is 80 x 120 pixels here, 120 x 80 at export")

    def test_grey_with_no_channels_is_caught(self, photos: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preprocess, "_to_bgr", lambda image: np.asarray(image.convert("L")))
        check_fails(photos, Stage.DECODE, "expected uint8 [height, width, 3]")

    @pytest.mark.parametrize("off", [TENSOR_TOLERANCE, TENSOR_TOLERANCE + 1])
    def test_rounding_is_allowed_and_no_more(self, photos: Bundle, tmp_path: Path, off: int) -> None:
        arrays = arrays_of(photos)
        samples = arrays["samples"].copy()
        samples[1, 7, 7] = samples[1, 7, 7] + np.where(samples[1, 7, 7] < 128, off, -off)
        bundle = altered(photos, tmp_path / "bundle", golden=packed({**arrays, "samples": samples}))
        if off > TENSOR_TOLERANCE:
            check_fails(bundle, Stage.DECODE, "image_1", "off by 4 levels, allowed 3")
            return
        with open_backend(bundle) as backend:
            self_test(bundle, backend)


class TestFitting:
    @pytest.mark.parametrize("off", [TENSOR_TOLERANCE + 1, -(TENSOR_TOLERANCE + 1), 128, -200])
    def test_one_pixel_that_differs_is_caught(self, made: Bundle, tmp_path: Path, off: int) -> None:
        arrays = arrays_of(made)
        tensors = arrays["tensors"].copy()
        place = np.argwhere(tensors == (0 if off > 0 else 255))[7]
        tensors[tuple(place)] = int(tensors[tuple(place)]) + off
        bundle = altered(made, tmp_path / "bundle", golden=packed({**arrays, "tensors": tensors}))
        check_fails(bundle, Stage.RESIZE, f"off by {abs(off)} levels, allowed 3")

    def test_rgb_for_bgr(self, photos: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        original = preprocess._resample
        monkeypatch.setattr(preprocess, "_resample", lambda *arguments: original(*arguments)[..., ::-1])
        check_fails(photos, Stage.COLOUR_ORDER, "and by 0 once", "resize gives RGB here, expected BGR")

    @pytest.mark.parametrize("solid_photos", [False, True])
    @pytest.mark.parametrize("how", [cv2.INTER_NEAREST, cv2.INTER_LINEAR])
    def test_another_filter(
        self, photos: Bundle, made: Bundle, monkeypatch: pytest.MonkeyPatch, how: int, solid_photos: bool
    ) -> None:
        """Nearest, and linear without a filter: both alias. Photos of one colour don't show it, the probe does."""

        def resample(frame: Pixels, width: int, height: int) -> Pixels:
            return np.asarray(cv2.resize(frame, (width, height), interpolation=how), dtype=np.uint8)

        monkeypatch.setattr(preprocess, "_resample", resample)
        check_fails(made if solid_photos else photos, Stage.RESIZE, "a resized pixel")

    @pytest.mark.parametrize(("asked", "done"), list(itertools.permutations(Resize, 2)))
    def test_another_geometry(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Resize, done: Resize
    ) -> None:
        """Stretch for crop, and every other mistake of that kind."""
        bundle = make_bundle(tmp_path / "bundle", resize=asked)
        monkeypatch.setattr(
            golden_record, "fit", lambda frame, spec: preprocess.fit(frame, replace(spec, resize=done))
        )
        check_fails(bundle, Stage.RESIZE, "the probe")

    def test_another_margin(self, photos: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            golden_record, "fit", lambda frame, spec: preprocess.fit(frame, replace(spec, resize_short=36))
        )
        check_fails(photos, Stage.RESIZE, "a resized pixel")

    def test_a_picture_left_as_it_is(self, photos: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(golden_record, "fit", lambda frame, spec: frame)
        check_fails(photos, Stage.RESIZE, "image_0", "became [100, 100, 3], expected [32, 32, 3]")


class TestEngine:
    @pytest.mark.parametrize("value", [3.0, -3.0, 50.0])
    def test_other_weights_under_the_same_names_are_caught(
        self, made: Bundle, tmp_path: Path, value: float
    ) -> None:
        bundle = altered(made, tmp_path / "bundle", model=edited(made, "bias", add(0, value)))
        check_fails(bundle, Stage.ENGINE, f"{MODEL} on CPUExecutionProvider is off by", "allowed 0.001")

    @pytest.mark.parametrize("place", range(3))
    def test_one_class_with_its_weights_negated_is_caught(self, made: Bundle, tmp_path: Path, place: int) -> None:
        bundle = altered(made, tmp_path / "bundle", model=edited(made, "weights", scale(place, -1)))
        check_fails(bundle, Stage.ENGINE)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_answers_that_are_no_numbers_are_caught(self, made: Bundle, tmp_path: Path, value: float) -> None:
        bundle = altered(made, tmp_path / "bundle", model=edited(made, "bias", add(0, value)))
        check_fails(bundle, Stage.ENGINE, "answered [3, 3] as probability", "of them no numbers")

    def test_a_graph_of_more_classes_is_caught(self, made: Bundle, tmp_path: Path) -> None:
        graph = make_graph(("a", "b", "c", "d"), 32)
        check_fails(altered(made, tmp_path / "bundle", model=graph), Stage.ENGINE, "[3, 4]", "expected [3, 3]")

    def test_another_engine_than_the_bundles_is_caught(self, made: Bundle) -> None:
        graph = Graph(MODEL, Precision.FP32, edited(made, "bias", add(0, -3)), (32, 32, 3))
        with open_graph(graph) as backend, pytest.raises(GoldenError) as caught:
            self_test(made, backend)
        assert caught.value.stage is Stage.ENGINE


class TestLabels:
    @pytest.mark.parametrize("order", list(itertools.permutations(PLAIN))[1:])
    def test_another_order_is_caught(self, plain: Bundle, tmp_path: Path, order: tuple[str, ...]) -> None:
        places = [PLAIN.index(label) for label in order]

        def change(values: npt.NDArray[np.float32]) -> None:
            values[...] = values[..., places]

        model = edited(plain, "weights", change)
        bundle = altered(plain, tmp_path / "weights", model=model)
        bundle = altered(plain, tmp_path / "bundle", model=edited(bundle, "bias", change))
        first = next(place for place in range(3) if order[place] != PLAIN[place])
        check_fails(
            bundle,
            Stage.LABELS,
            f"{sum(a != b for a, b in zip(order, PLAIN, strict=True))} of the 3 classes",
            f"{order[first]!r} stands where the manifest has {PLAIN[first]!r}",
        )

    @pytest.mark.parametrize(
        ("program", "arguments"), [("edge-run", ["demo://"]), ("edge-eval", ["."]), ("edge-predict", ["."])]
    )
    def test_every_command_that_answers_refuses_with_one_line(
        self, made: Bundle, tmp_path: Path, program: str, arguments: list[str]
    ) -> None:
        graph = make_graph(("green", "red", "blue"), 32)
        bundle = altered(made, tmp_path / "bundle", model=graph)
        (tmp_path / "picture.png").write_bytes(png(solid("red")))
        done = command(program, bundle.folder, *arguments, cwd=tmp_path)
        one_line_error(done, program, "self-test failed in labels", "export the run again")
        assert done.stdout == ""


class TestColourOrderInTheGraph:
    def test_a_graph_that_takes_rgb_is_caught(self, plain: Bundle, tmp_path: Path) -> None:
        def change(values: npt.NDArray[np.float32]) -> None:
            values[...] = values[::-1].copy()  # a row for each of blue, green, red

        bundle = altered(plain, tmp_path / "bundle", model=edited(plain, "weights", change))
        check_fails(bundle, Stage.COLOUR_ORDER, "takes RGB, not BGR")


class TestNormalization:
    """More faults are planted in a trained network, in tests/export."""

    def test_levels_up_to_255_are_caught(self, plain: Bundle, tmp_path: Path) -> None:
        bundle = altered(plain, tmp_path / "bundle", model=make_graph(PLAIN, 32, white=1.0))
        check_fails(bundle, Stage.NORMALIZATION, "levels went in as 0 to 255, without mean and std")

    def test_without_signatures_it_is_caught_all_the_same(self, plain: Bundle, tmp_path: Path) -> None:
        arrays = {name: array for name, array in arrays_of(plain).items() if not name.startswith("signature_")}
        graph = make_graph(PLAIN, 32, white=1.0)
        check_fails(altered(plain, tmp_path / "bundle", golden=packed(arrays), model=graph), Stage.ENGINE)

    def test_a_signature_of_no_numbers_names_nothing(self, plain: Bundle, tmp_path: Path) -> None:
        arrays = arrays_of(plain)
        name = f"signature_{Fault.RAW.value}"
        arrays[name] = np.full_like(arrays[name], np.nan)
        graph = make_graph(PLAIN, 32, white=1.0)
        check_fails(altered(plain, tmp_path / "bundle", golden=packed(arrays), model=graph), Stage.ENGINE)

    def test_an_engine_sure_of_one_class_is_not_taken_for_it(self, made: Bundle, tmp_path: Path) -> None:
        """The signature is as sure of that class wherever it is bright; the dark pictures tell them apart."""
        arrays = arrays_of(made)
        name = f"signature_{Fault.RAW.value}"
        arrays[name][0] = np.eye(3)[0]
        graph = edited(made, "bias", add(0, 50))
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays), model=graph), Stage.ENGINE)


class TestMatch:
    """Against all permutations, tried one by one."""

    def test_finds_an_order_wherever_there_is_one(self) -> None:
        rng = np.random.default_rng(0)
        found = 0
        for number in range(400):
            size = 2 + number % 4
            near = rng.random((size, size)) < 0.5
            orders = [
                order
                for order in itertools.permutations(range(size))
                if all(near[label, column] for column, label in enumerate(order))
            ]
            order = match(near)
            assert (order is None) == (not orders), near
            assert order is None or tuple(order) in orders, (near, order)
            found += order is not None
        assert 100 < found < 300

    def test_leaves_alone_what_need_not_move(self) -> None:
        near = np.ones((40, 40), dtype=np.bool_)  # all alike, but for two that changed places
        near[[3, 7]] = near[:, [3, 7]] = False
        near[3, 7] = near[7, 3] = True
        assert match(near) == [{3: 7, 7: 3}.get(place, place) for place in range(40)]

    def test_of_a_thousand_classes(self) -> None:
        order = np.random.default_rng(0).permutation(1000)
        near = np.zeros((1000, 1000), dtype=np.bool_)
        near[order, np.arange(1000)] = True
        assert match(near) == order.tolist()


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
            check_fails(bundle, Stage.ENGINE, f"a strangeness of {MODEL} on CPU", "is off by", "allowed 0.02")
            return
        with open_backend(bundle) as backend:
            self_test(bundle, backend)

    def test_a_graph_that_answers_another_strangeness_is_caught(self, strange: Bundle, tmp_path: Path) -> None:
        model = onnx.load_from_string(strange.read(MODEL))
        model.graph.node[-1].op_type = "ReduceMax"  # the farthest label's distance in place of the nearest's
        bundle = altered(strange, tmp_path / "bundle", model=model.SerializeToString())
        check_fails(bundle, Stage.ENGINE, "a strangeness", "is off by")

    def test_a_strangeness_that_is_no_number_is_caught(self, strange: Bundle, tmp_path: Path) -> None:
        model = edited(strange, "palette", scale(slice(None), np.nan))
        bundle = altered(strange, tmp_path / "bundle", model=model)
        check_fails(bundle, Stage.ENGINE, "answered [3] as strangeness, 3 of them no numbers")

    @pytest.mark.parametrize("name", [f"strangeness_{MODEL}", f"strangeness_tolerance_{MODEL}"])
    def test_what_rejects_and_has_no_record_does_not_pass(
        self, strange: Bundle, tmp_path: Path, name: str
    ) -> None:
        arrays = arrays_of(strange)
        del arrays[name]
        check_fails(altered(strange, tmp_path / "bundle", golden=packed(arrays)), None, "lacks", name)

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
        check_fails(lost, Stage.ENGINE, "answered [0] as strangeness", "expected [3]")


class TestRecord:
    @pytest.mark.parametrize(
        "name",
        [
            *("tensors", "image_0", "image_2", f"expected_{MODEL}", f"tolerance_{MODEL}"),
            *("probe", "probe_tensor", "sizes", "samples"),
        ],
    )
    def test_missing_array_is_named(self, made: Bundle, tmp_path: Path, name: str) -> None:
        arrays = arrays_of(made)
        del arrays[name]
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), None, "lacks", name)

    @pytest.mark.parametrize(
        ("name", "cut", "words"),
        [
            ("tensors", np.s_[:, :16], "tensors of shape [16, 32, 3], expected [32, 32, 3]"),
            ("probe_tensor", np.s_[:16], "the tensor of the probe of shape [16, 32, 3], expected [32, 32, 3]"),
            ("samples", np.s_[:, 1:], "samples of shape [15, 16, 3], expected [16, 16, 3]"),
            ("samples", np.s_[1:], "can't be read"),
            ("sizes", np.s_[1:], "can't be read"),
            ("signature_raw", np.s_[:2], "the signature raw of shape [2, 3, 3], expected [3, 3, 3]"),
        ],
    )
    def test_an_array_of_another_shape_is_named(
        self, made: Bundle, tmp_path: Path, name: str, cut: slice, words: str
    ) -> None:
        arrays = arrays_of(made)
        arrays[name] = arrays[name][cut]
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), None, words)

    def test_a_signature_of_a_fault_not_known_here_does_no_harm(self, made: Bundle, tmp_path: Path) -> None:
        arrays = {**arrays_of(made), "signature_of_later_days": np.zeros(3)}
        bundle = altered(made, tmp_path / "bundle", golden=packed(arrays))
        with open_backend(bundle) as backend:
            assert self_test(bundle, backend).images == 3

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
        check_fails(altered(made, tmp_path / "bundle", golden=data), None, "can't be read")

    @pytest.mark.parametrize("name", [f"expected_{MODEL}", f"tolerance_{MODEL}"])
    def test_a_record_that_is_no_number_does_not_pass(self, made: Bundle, tmp_path: Path, name: str) -> None:
        arrays = arrays_of(made)
        arrays[name] = np.full_like(arrays[name], np.nan)
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), Stage.ENGINE)

    def test_a_record_of_no_images_does_not_pass(self, made: Bundle, tmp_path: Path) -> None:
        arrays = arrays_of(made)
        for name in ("tensors", f"expected_{MODEL}"):
            arrays[name] = arrays[name][:0]
        for name in ("samples", "sizes"):
            arrays[name] = arrays[name][-1:]
        check_fails(altered(made, tmp_path / "bundle", golden=packed(arrays)), None, "holds no images")

    def test_a_record_for_other_labels_does_not_pass(self, made: Bundle, tmp_path: Path) -> None:
        # Graph and record agree on four classes, the manifest names three: an answer could have no label.
        labels = ("a", "b", "c", "d")
        graph, images = make_graph(labels, 32), [png(solid(label)) for label in COLOURS]
        answers = infer(graph, np.stack([preprocess.preprocess(image, made.manifest.input) for image in images]))
        record = pack(images, made.manifest.input, {MODEL: Expected(answers, 1e-3)})
        check_fails(altered(made, tmp_path / "bundle", golden=record, model=graph), None, "3 labels", "[3, 4]")


def test_pack_loads_without_pickle_and_holds_the_images_as_they_came(made: Bundle) -> None:
    images = [png(solid(label)) for label in COLOURS]
    arrays = arrays_of(made)
    assert [arrays[f"image_{number}"].tobytes() for number in range(3)] == images
    assert arrays["tensors"].shape == (3, 32, 32, 3)
    assert arrays["tensors"].dtype == np.uint8
    assert float(arrays[f"tolerance_{MODEL}"]) == pytest.approx(golden.TOLERANCE[Precision.FP32])
    assert arrays["sizes"].tolist() == [[32, 32], [32, 32], [32, 32], [80, 120]]
    assert arrays["samples"].shape == (4, 16, 16, 3)


@pytest.mark.parametrize("spec", [InputSpec(224, 224, Resize.CROP, 256), InputSpec(96, 160), InputSpec(1, 7)])
def test_the_probe_is_larger_than_the_input_turned_and_small_on_the_disk(spec: InputSpec) -> None:
    probe = golden_record.draw_probe(spec)
    height, width, _ = preprocess.decode(probe).shape
    assert (height, width) == (5 * spec.height // 2, 15 * spec.width // 4)
    with Image.open(io.BytesIO(probe)) as image:
        assert image.size == (height, width)  # which are width and height: it lies on its side
    assert len(probe) < 10_000
