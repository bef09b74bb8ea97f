"""Photos as pixels and batches: the bin's own view, every photo once, and the same whoever loads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge.errors import DataError, TrainError
from edge.preprocess import Resize, decode, fit, preprocess
from tests.made import draw, write_photos
from train.augment import CANVAS_SHARE, Augment
from train.dataset.cache import Limits
from train.loaders import TrainBatch, auto_workers, plain_loader, train_loader
from train.photos import FOLDER, LabelledFile, Pictures, canvas_spec, open_pictures
from train.recipe import Augmentation, Imbalance, Recipe

RECIPE = Recipe(img_size=32, seed=3)
NOTHING = Limits(total=0)


def _files(folder: Path, per_class: int = 5) -> list[LabelledFile]:
    paths = sorted(write_photos(folder / "photos", per_class).rglob("*.jpg"))
    return [LabelledFile(path, number % 3) for number, path in enumerate(paths)]


def _open(folder: Path, recipe: Recipe = RECIPE, per_class: int = 5, limits: Limits = Limits()) -> Pictures:  # noqa: B008
    return open_pictures(_files(folder, per_class), recipe, folder / "cache", training=True, limits=limits)


def _numbers(batches: list[TrainBatch]) -> list[int]:
    return [int(number) for batch in batches for number in batch.keys[:, 2]]


def _same(first: list[TrainBatch], second: list[TrainBatch]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(np.asarray(a), np.asarray(b))
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


class TestPictures:
    @pytest.mark.parametrize("resize", list(Resize))
    @pytest.mark.parametrize("limits", [Limits(), NOTHING], ids=["cached", "decoded"])
    def test_validation_sees_what_the_bin_sees(self, tmp_path: Path, resize: Resize, limits: Limits) -> None:
        recipe = replace(RECIPE, resize=resize)
        files = _files(tmp_path)
        pictures = open_pictures(files, recipe, tmp_path / "cache", training=False, limits=limits)
        images = torch.cat([batch for batch, _ in plain_loader(pictures, 4)]).numpy()
        expected = np.stack([preprocess(file.path.read_bytes(), recipe.input) for file in files])
        assert images.dtype == np.uint8
        assert np.array_equal(images, expected)
        assert np.array_equal(pictures.inputs([7, 2, 2]), expected[[7, 2, 2]])
        assert pictures.targets.tolist() == [file.target for file in files]

    @pytest.mark.parametrize("limits", [Limits(), NOTHING], ids=["cached", "decoded"])
    def test_a_canvas_is_the_whole_photo_stretched(self, tmp_path: Path, limits: Limits) -> None:
        import cv2

        files = _files(tmp_path)
        cv2.imwrite(str(files[3].path), cv2.resize(draw("disc", 1), (90, 60)))
        pictures = open_pictures(files, RECIPE, tmp_path / "cache", training=True, limits=limits)
        canvases, aspects = pictures.canvases(np.array([3, 0]))
        side = round(CANVAS_SHARE * 32)
        assert canvases.shape == (2, side, side, 3)
        assert aspects.dtype == np.float32
        assert aspects.tolist() == [1.5, 1.0]
        for canvas, file in zip(canvases, (files[3], files[0]), strict=True):
            assert np.array_equal(canvas, fit(decode(file.path.read_bytes()), canvas_spec(RECIPE)))

    def test_canvases_follow_the_size_that_trains(self, tmp_path: Path) -> None:
        pictures = _open(tmp_path, replace(RECIPE, train_size=64))
        assert pictures.canvases([0])[0].shape[1] == round(CANVAS_SHARE * 64)
        assert pictures.inputs([0]).shape[1] == 32

    def test_subsets_are_numbered_anew(self, tmp_path: Path) -> None:
        pictures = _open(tmp_path)
        part = pictures.subset([9, 4, 11]).subset(np.array([2, 0]))
        assert len(part) == 2
        assert part.targets.tolist() == [11 % 3, 9 % 3]
        assert np.array_equal(part.inputs([0, 1]), pictures.inputs([11, 9]))
        assert np.array_equal(part.canvases([1])[0], pictures.canvases([9])[0])

    def test_equal_photos_are_kept_once_and_have_their_own_labels(self, tmp_path: Path) -> None:
        files = _files(tmp_path)
        files[1].path.write_bytes(files[0].path.read_bytes())
        pictures = open_pictures(files, RECIPE, tmp_path / "cache", training=False)
        assert np.array_equal(pictures.inputs([0]), pictures.inputs([1]))
        assert pictures.targets[:2].tolist() == [0, 1]
        (sheet,) = (tmp_path / "cache" / FOLDER).glob("*.pixels")
        assert sheet.stat().st_size == 4096 + 14 * (32 * 32 * 3 + 4)

    def test_without_training_there_are_no_canvases(self, tmp_path: Path) -> None:
        pictures = open_pictures(_files(tmp_path), RECIPE, tmp_path / "cache", training=False)
        with pytest.raises(ValueError, match="training=True"):
            pictures.canvases([0])

    def test_no_photos_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no photos"):
            open_pictures([], RECIPE, tmp_path, training=False)

    def test_a_photo_that_is_gone_is_named(self, tmp_path: Path) -> None:
        files = _files(tmp_path)
        files[6].path.unlink()
        with pytest.raises(DataError, match=files[6].path.name):
            open_pictures(files, RECIPE, tmp_path / "cache", training=False)


class TestTrainLoader:
    def test_gives_what_augmenting_takes(self, tmp_path: Path) -> None:
        pictures = _open(tmp_path)
        for batch in train_loader(pictures, RECIPE, 4):
            canvases, aspects = pictures.canvases(batch.keys[:, 2])
            assert np.array_equal(batch.canvases.numpy(), canvases)
            assert np.array_equal(batch.aspects, aspects)
            assert batch.targets.tolist() == pictures.targets[batch.keys[:, 2]].tolist()
            assert batch.keys[:, 0].tolist() == [3] * len(batch.keys)
            views = Augment(RECIPE)(batch.canvases, batch.aspects, batch.keys)
            assert views.shape == (len(batch.keys), 32, 32, 3)

    @pytest.mark.parametrize("limits", [Limits(), NOTHING], ids=["cached", "decoded"])
    def test_workers_do_not_change_what_is_seen(self, tmp_path: Path, limits: Limits) -> None:
        pictures = _open(tmp_path, limits=limits)
        alone, helped = (list(train_loader(pictures, RECIPE, 4, workers=workers)) for workers in (0, 2))
        assert _same(alone, helped)

    def test_a_resumed_epoch_is_the_one_that_was_stopped(self, tmp_path: Path) -> None:
        pictures = _open(tmp_path)
        first = train_loader(pictures, RECIPE, 4)
        epochs = []
        for epoch in range(3):
            first.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]  where Lightning looks for it
            epochs.append(list(first))
        later = train_loader(pictures, RECIPE, 4)
        later.batch_sampler.sampler.set_epoch(2)  # type: ignore[union-attr]  as Lightning does
        resumed = list(later)
        assert _same(resumed, epochs[2])
        assert not _same(resumed, epochs[1])
        assert all(sorted(_numbers(epoch)) == list(range(15)) for epoch in epochs)
        assert {int(key) for batch in resumed for key in batch.keys[:, 1]} == {2}

    def test_another_seed_is_another_order(self, tmp_path: Path) -> None:
        pictures = _open(tmp_path)
        orders = [_numbers(list(train_loader(pictures, replace(RECIPE, seed=seed), 4))) for seed in (0, 1)]
        assert orders[0] != orders[1]

    def test_lightning_sets_the_epoch(self, tmp_path: Path) -> None:
        seen: list[np.ndarray] = []

        class Watch(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(1, 1)

            def training_step(self, batch: TrainBatch, index: int) -> Tensor:
                assert isinstance(batch, TrainBatch)
                seen.append(batch.keys)
                return self.layer(batch.targets[:, None].float()).sum()

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), lr=0.0)

        loader = train_loader(_open(tmp_path), RECIPE, 8)
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=3,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=tmp_path,
        )
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(Watch(), loader)
        assert [int(keys[0, 1]) for keys in seen] == [0, 0, 1, 1, 2, 2]

    @pytest.mark.parametrize(
        ("size", "sizes"), [(7, [7, 7]), (4, [4, 4, 4, 3]), (15, [15]), (20, [15]), (1, [1] * 15)]
    )
    def test_a_last_batch_of_one_is_left_out(self, tmp_path: Path, size: int, sizes: list[int]) -> None:
        loader = train_loader(_open(tmp_path), RECIPE, size)
        assert [len(batch.targets) for batch in loader] == sizes
        assert len(loader) == len(sizes)

    @pytest.mark.parametrize("world", [2, 3, 4])
    def test_processes_share_every_photo_once(self, tmp_path: Path, world: int) -> None:
        pictures = _open(tmp_path, per_class=8)
        shares = [list(train_loader(pictures, RECIPE, 4, rank=rank, world=world)) for rank in range(world)]
        numbers = [number for share in shares for number in _numbers(share)]
        assert sorted(numbers) == list(range(24))
        assert len({len(share) for share in shares}) == 1

    @pytest.mark.parametrize("photos", range(4, 16))
    def test_processes_get_as_many_batches_and_no_photo_twice(self, tmp_path: Path, photos: int) -> None:
        """Or one of them would wait for ever for the others' gradients."""
        pictures = _open(tmp_path).subset(np.arange(photos))
        for size in range(1, 6):
            for world in (2, 3, 4):
                loaders = [train_loader(pictures, RECIPE, size, rank=rank, world=world) for rank in range(world)]
                shares = [list(loader) for loader in loaders]
                assert len({len(share) for share in shares}) == 1
                assert len(shares[0]) == len(loaders[0])
                numbers = [number for share in shares for number in _numbers(share)]
                assert len(set(numbers)) == len(numbers)
                assert len(numbers) >= photos - 2 * world + 1

    def test_more_processes_than_photos_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TrainError, match="2 photos can't be shared by 3 processes"):
            train_loader(_open(tmp_path).subset([0, 1]), RECIPE, 4, world=3)

    def test_small_classes_are_drawn_more_often_and_look_different(self, tmp_path: Path) -> None:
        recipe = replace(RECIPE, imbalance=Imbalance.SAMPLING)
        pictures = _open(tmp_path)
        targets = np.where(np.arange(15) == 4, 1, 0)
        pictures = Pictures(targets, pictures._rows, pictures._inputs, pictures._canvases)
        (batch,) = train_loader(pictures, recipe, 15)
        rare = batch.targets == 1
        assert 3 <= int(rare.sum()) <= 14
        views = Augment(recipe)(batch.canvases, batch.aspects, batch.keys)[rare]
        assert len(torch.unique(views.flatten(1), dim=0)) == len(views)

    def test_without_augmentation_inputs_are_what_trains(self, tmp_path: Path) -> None:
        recipe = replace(RECIPE, augment=Augmentation.NONE, train_size=64)
        pictures = _open(tmp_path, recipe)
        assert len(list((tmp_path / "cache" / FOLDER).glob("*.pixels"))) == 1
        for batch in train_loader(pictures, recipe, 4):
            views = Augment(recipe)(batch.canvases, batch.aspects, batch.keys)
            assert np.array_equal(views.numpy(), pictures.inputs(batch.keys[:, 2]))

    def test_leaves_the_others_randomness_alone(self, tmp_path: Path) -> None:
        loader, state = train_loader(_open(tmp_path), RECIPE, 4), torch.get_rng_state()
        list(loader)
        assert torch.equal(torch.get_rng_state(), state)


def test_a_cpu_needs_no_workers() -> None:
    assert auto_workers(on_gpu=False) == 0
    assert 1 <= auto_workers(on_gpu=True) <= 4
