import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from edge.errors import WeightsError
from tests.conftest import TinyRun
from tests.made import command, one_line_error, shared, write_photos
from train.backbone import Classifier, make_classifier
from train.checkpoint import FORMAT
from train.weights import load_weights


def test_a_state_dict_of_torchvision_fills_all_but_the_head(tmp_path: Path) -> None:
    theirs = torchvision.models.resnet18(num_classes=1000)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    classifier = make_classifier("resnet18", 3)
    head = classifier.head.weight.clone()
    said = load_weights(classifier, "resnet18", str(tmp_path / "w.pth"))
    assert torch.equal(classifier.backbone.get_submodule("conv1").weight, theirs.conv1.weight)  # type: ignore[arg-type]
    assert torch.equal(classifier.head.weight, head)
    assert said.endswith("(new head)")


def test_a_run_gives_its_head_too_where_the_size_fits(tiny_run: TinyRun) -> None:
    classifier = make_classifier("resnet18", 3)
    assert load_weights(classifier, "resnet18", str(tiny_run.run)) == str(tiny_run.run)
    saved = torch.load(tiny_run.run / "weights/best.pt", weights_only=True)["weights"]
    assert torch.equal(classifier.head.weight, saved["fc.weight"])


def test_weights_of_another_architecture_are_named(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet34(num_classes=10).state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"does not fit mobilenet_v2: .* they are of resnet34: use --model resnet34"
    ):
        load_weights(make_classifier("mobilenet_v2", 3), "mobilenet_v2", str(tmp_path / "w.pth"))


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code ran",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"state_dict": _Code()}))
    with pytest.raises(WeightsError, match="no checkpoint of plain tensors"):
        load_weights(make_classifier("resnet18", 3), "resnet18", str(tmp_path / "w.pth"))
    torch.save({"weight": _Code()}, tmp_path / "v.pth")
    with pytest.raises(WeightsError, match="no checkpoint of plain tensors"):
        load_weights(make_classifier("resnet18", 3), "resnet18", str(tmp_path / "v.pth"))
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("text", ["a note", "hello", "Q", "", "{}", "\x80\x02"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.pth").write_text(text, encoding="latin-1")
    with pytest.raises(WeightsError, match="no checkpoint of plain tensors"):
        load_weights(make_classifier("resnet18", 3), "resnet18", str(tmp_path / "w.pth"))


def test_unknown_weights_offer_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"nearest: .*IMAGENET1K_V1"):
        load_weights(make_classifier("resnet18", 3), "resnet18", "IMAGENET1K_V3")


def test_no_network_for_imagenet_weights_says_what_to_do(tmp_path: Path) -> None:
    """A proxy that refuses is a network that is not there, on any machine."""
    data = write_photos(tmp_path / "photos", 4)
    away = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "TORCH_HOME": str(tmp_path)}
    done = command("edge-train", data, "-o", tmp_path / "run", env={**away, "no_proxy": "", "NO_PROXY": ""})
    one_line_error(done, "edge-train", "can't be fetched", "--weights FILE", "--weights none", "https://")
    assert not (tmp_path / "run").exists()


def test_the_real_imagenet_weights_fit_mobilenet_v2() -> None:
    said = load_weights(
        make_classifier("mobilenet_v2", 6), "mobilenet_v2", str(shared("weights/mobilenet_v2_imagenet.pth"))
    )
    assert said.endswith("(new head)")


def _resnet18(classes: int) -> dict[str, Tensor]:
    return {
        key: value.clone() for key, value in torchvision.models.resnet18(num_classes=classes).state_dict().items()
    }


@pytest.fixture
def net() -> Classifier:
    return make_classifier("resnet18", 3)


def _wrapped(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    ("holder", "prefix"),
    [
        ("", ""),
        ("state_dict", "module."),
        ("model", ""),
        ("model_state_dict", "_orig_mod."),
        ("state_dict", "module.backbone."),
    ],
)
def test_state_dicts_of_other_programs_are_read(tmp_path: Path, net: Classifier, holder: str, prefix: str) -> None:
    theirs = _resnet18(3)
    state = _wrapped(theirs, prefix)
    torch.save({holder: state, "epoch": 3} if holder else state, tmp_path / "w.pth")
    assert load_weights(net, "resnet18", str(tmp_path / "w.pth")) == str(tmp_path / "w.pth")
    ours = net.backbone.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


def test_safetensors_with_timms_names_fill_a_model_of_timm(tmp_path: Path) -> None:
    timm, safetensors = pytest.importorskip("timm"), pytest.importorskip("safetensors.torch")
    theirs = timm.create_model("tf_efficientnetv2_b0", num_classes=5).state_dict()
    safetensors.save_file(theirs, tmp_path / "w.safetensors")
    name = "timm:tf_efficientnetv2_b0"
    classifier = make_classifier(name, 5)
    load_weights(classifier, name, str(tmp_path / "w.safetensors"))
    assert all(torch.equal(value, theirs[key]) for key, value in classifier.backbone.state_dict().items())
    with pytest.raises(WeightsError, match=f"they are of {name}: use --model {name}"):
        load_weights(make_classifier("resnet18", 5), "resnet18", str(tmp_path / "w.safetensors"))
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="can't be read as safetensors"):
        load_weights(classifier, name, str(tmp_path / "broken.safetensors"))


def _run(folder: Path, state: dict[str, Tensor], labels: tuple[str, ...], model: str = "resnet18") -> str:
    (folder / "weights").mkdir(parents=True)
    content = {"format": FORMAT, "about": {"model": model, "labels": labels}, "weights": state}
    torch.save(content, folder / "weights/best.pt")
    return str(folder)


def test_a_run_with_other_labels_keeps_the_rows_of_those_in_both(tmp_path: Path) -> None:
    state = _resnet18(3)
    run = _run(tmp_path / "run", state, ("glass", "metal", "paper"))
    classifier = make_classifier("resnet18", 4)
    drawn = classifier.head.weight.detach().clone()
    said = load_weights(classifier, "resnet18", run, ("can", "metal", "glass", "hand"))
    assert said == f"{run} (head kept for glass, metal; new for can, hand)"
    head = classifier.head
    assert torch.equal(head.weight[[1, 2]], state["fc.weight"][[1, 0]])
    assert torch.equal(head.bias[[1, 2]], state["fc.bias"][[1, 0]])
    assert torch.equal(head.weight[[0, 3]], drawn[[0, 3]])
    assert torch.equal(classifier.backbone.get_parameter("conv1.weight"), state["conv1.weight"])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("glass", "metal", "paper"), ""),
        ((), ""),
        (("paper", "metal", "glass"), " (head kept for glass, metal, paper)"),
        (("cat", "dog", "hand"), " (new head)"),
    ],
)
def test_what_was_kept_of_a_head_of_the_same_size_is_said(
    tmp_path: Path, net: Classifier, labels: tuple[str, ...], words: str
) -> None:
    state = _resnet18(3)
    run = _run(tmp_path / "run", state, ("glass", "metal", "paper"))
    drawn = net.head.weight.detach().clone()
    assert load_weights(net, "resnet18", run, labels) == f"{run}{words}"
    reversed_rows, same = (
        torch.equal(net.head.weight, state["fc.weight"].flip(0)),
        torch.equal(net.head.weight, drawn),
    )
    assert (reversed_rows, same) == (labels[:1] == ("paper",), labels[:1] == ("cat",))


def test_a_run_of_another_architecture_names_it(tmp_path: Path, net: Classifier) -> None:
    state = torchvision.models.resnet34(num_classes=3).state_dict()
    run = _run(tmp_path / "run", state, ("a", "b", "c"), "resnet34")
    with pytest.raises(WeightsError, match=r"too many .*they are of resnet34: use --model resnet34"):
        load_weights(net, "resnet18", run)


def test_a_larger_network_does_not_pass_for_a_smaller_one(tmp_path: Path, net: Classifier) -> None:
    """All that ResNet-18 has, ResNet-34 has too, in the same shapes."""
    torch.save(torchvision.models.resnet34(num_classes=3).state_dict(), tmp_path / "w.pth")
    before = net.backbone.get_parameter("conv1.weight").clone()
    with pytest.raises(WeightsError, match="they are of resnet34"):
        load_weights(net, "resnet18", str(tmp_path / "w.pth"))
    assert torch.equal(net.backbone.get_parameter("conv1.weight"), before)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, net: Classifier) -> None:
    state = _resnet18(3)
    state["layer1.0.conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"no numbers \(first in layer1.0.conv1.weight\)"):
        load_weights(net, "resnet18", str(tmp_path / "w.pth"))


def _fetched(monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor]) -> list[str]:
    """Stand in for the download, and note which entry of the enum is asked for."""
    asked: list[str] = []

    def get_state_dict(entry: object, **options: object) -> dict[str, Tensor]:
        asked.append(str(entry))
        return state

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", get_state_dict)
    return asked


@pytest.mark.parametrize(
    ("weights", "entry"),
    [
        ("imagenet", "ResNet50_Weights.IMAGENET1K_V2"),
        ("IMAGENET1K_V1", "ResNet50_Weights.IMAGENET1K_V1"),
        ("ResNet50_Weights.IMAGENET1K_V2", "ResNet50_Weights.IMAGENET1K_V2"),
    ],
)
def test_torchvisions_names_choose_the_weights(monkeypatch: pytest.MonkeyPatch, weights: str, entry: str) -> None:
    asked = _fetched(monkeypatch, torchvision.models.resnet50().state_dict())
    said = load_weights(make_classifier("resnet50", 3), "resnet50", weights)
    assert asked == [entry]
    assert said == f"torchvision {entry} (new head)"


def test_another_models_enum_is_refused(net: Classifier) -> None:
    with pytest.raises(WeightsError, match="nor known for resnet18"):
        load_weights(net, "resnet18", "MobileNet_V2_Weights.IMAGENET1K_V1")


def test_published_squeezenet_and_densenet_fit_under_their_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A convolution as head; and names with a point that torch no longer allows."""
    squeeze = torchvision.models.squeezenet1_1().state_dict()
    _fetched(monkeypatch, squeeze)
    classifier = make_classifier("squeezenet1_1", 1000)
    assert "new head" not in load_weights(classifier, "squeezenet1_1", "imagenet")
    assert torch.equal(classifier.head.weight, squeeze["classifier.1.weight"].flatten(1))
    dense = torchvision.models.densenet121().state_dict()
    old = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for key, value in dense.items()}
    assert old.keys() != dense.keys()
    _fetched(monkeypatch, old)
    classifier = make_classifier("densenet121", 3)
    load_weights(classifier, "densenet121", "imagenet")
    key = "features.denseblock1.denselayer1.conv2.weight"
    assert torch.equal(classifier.backbone.get_parameter(key), dense[key])


def test_heads_that_only_help_training_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = torchvision.models.googlenet(init_weights=False).state_dict()
    assert any(key.startswith("aux1.") for key in theirs)
    _fetched(monkeypatch, theirs)
    assert load_weights(make_classifier("googlenet", 3), "googlenet", "imagenet").endswith("(new head)")


def test_position_embeddings_are_fitted_to_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = torchvision.models.vit_b_32().state_dict()
    position = theirs["encoder.pos_embedding"]
    position[:, 1:] = torch.arange(49.0)[:, None] // 7  # the row
    _fetched(monkeypatch, theirs)
    classifier = make_classifier("vit_b_32", 3, img_size=64)
    load_weights(classifier, "vit_b_32", "imagenet")
    ours = classifier.backbone.get_parameter("encoder.pos_embedding")
    assert torch.equal(ours[:, 0], position[:, 0])
    assert ours[0, 1:, 0].tolist() == pytest.approx([0, 0, 6, 6])


def test_timms_position_embeddings_too(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=3).state_dict()
    torch.save({"state_dict": theirs}, tmp_path / "w.pth")
    name = "timm:vit_tiny_patch16_224"
    classifier = make_classifier(name, 3, img_size=64)
    load_weights(classifier, name, str(tmp_path / "w.pth"))
    assert classifier.backbone.get_parameter("pos_embed").shape == (1, 17, 192)
    assert torch.equal(classifier.head.weight, theirs["head.weight"])


def test_timms_weights_without_a_network_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    name = "timm:tf_efficientnetv2_b0"
    classifier = make_classifier(name, 3)
    with pytest.raises(
        WeightsError, match=r"can't be fetched .*fetch https://\S+ .*--weights FILE.*--weights none"
    ):
        load_weights(classifier, name, "imagenet")
    with pytest.raises(WeightsError, match=r"other weights are other models: timm:tf_efficientnetv2_b0\.in1k"):
        load_weights(classifier, name, "IMAGENET1K_V1")


def test_timms_weights_are_those_of_the_models_name(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("resnet18")
    monkeypatch.setattr("train.published._knock", lambda repository, url: None)
    monkeypatch.setattr("train.published.build_pretrained_timm", lambda name: theirs)
    classifier = make_classifier("timm:resnet18.a1_in1k", 3)
    assert load_weights(classifier, "timm:resnet18.a1_in1k", "imagenet") == "timm resnet18.a1_in1k (new head)"
    key = "layer4.1.conv2.weight"
    assert torch.equal(classifier.backbone.get_parameter(key), theirs.get_parameter(key))
