from pathlib import Path

import numpy as np
import torch

from edge.preprocess import InputSpec, preprocess
from tests.made import draw, write_photos
from train.augment import Augment
from train.photos import EpochOrder, LabelledFile, plain_loader, train_loader

SPEC = InputSpec(32, 32)


def _files(folder: Path) -> list[LabelledFile]:
    return [LabelledFile(path, 0) for path in sorted(write_photos(folder, 5).rglob("*.jpg"))]


def test_validation_sees_what_the_bin_sees(tmp_path: Path) -> None:
    files = _files(tmp_path)
    images = torch.cat([batch for batch, _ in plain_loader(files, SPEC, 4, 0)]).numpy()
    assert np.array_equal(images, np.stack([preprocess(file.path.read_bytes(), SPEC) for file in files]))


def test_augmentation_is_decided_by_its_key_alone() -> None:
    augment, picture = Augment(SPEC), draw("disc", 0)
    first = augment(picture, 7)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(augment(picture, 7), first)
    assert torch.equal(torch.get_rng_state(), state)  # and it leaves the others' randomness alone
    assert not torch.equal(augment(picture, 8), first)
    assert first.shape == (32, 32, 3)
    assert first.dtype == torch.uint8


def test_augmentation_keeps_the_colour_order() -> None:
    """A blue picture stays bluer than red: BGR in, BGR out."""
    blue = np.zeros((48, 48, 3), dtype=np.uint8)
    blue[..., 0] = 200
    out = Augment(SPEC)(blue, 1).float().mean(dim=(0, 1))
    assert out[0] > out[2] + 50


def test_workers_do_not_change_what_is_seen(tmp_path: Path) -> None:
    files = _files(tmp_path)
    alone, helped = (list(train_loader(files, SPEC, 4, 3, workers)) for workers in (0, 2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(alone, helped, strict=True))


def test_every_epoch_has_an_order_of_its_own() -> None:
    order = EpochOrder(50, seed=1)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert [number for _, number, _ in first] != [number for _, number, _ in second]
    assert sorted(number for _, number, _ in second) == list(range(50))
    assert {epoch for epoch, _, _ in second} == {1}


def test_a_last_batch_of_one_is_left_out(tmp_path: Path) -> None:
    sizes = [len(targets) for _, targets in train_loader(_files(tmp_path), SPEC, 7, 0, 0)]
    assert sizes == [7, 7]
