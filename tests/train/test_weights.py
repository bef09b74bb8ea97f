import pickle
from pathlib import Path

import pytest
import torch
import torchvision

from edge.errors import WeightsError
from tests.conftest import TinyRun
from tests.made import command, one_line_error, shared, write_photos
from train.backbone import make_classifier
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
