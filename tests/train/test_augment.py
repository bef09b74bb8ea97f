"""What training shows: decided by keys alone, true in its proportions, and something else every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from edge.preprocess import InputSpec, Resize, fit
from tests.made import KINDS, draw
from train.augment import BLANK, CANVAS_SHARE, LEAST_AREA, Augment, crop_sizes, mean_luma
from train.chance import Chance, Keys
from train.rand_augment import OPERATIONS, rand_augment
from train.recipe import Augmentation, Recipe

RECIPE = Recipe(img_size=48, resize=Resize.CROP)
SIDE = round(CANVAS_SHARE * 48)
SPEC = InputSpec(SIDE, SIDE, Resize.STRETCH)


def _keys(count: int, seed: int = 0, epoch: int = 0) -> Keys:
    zeros = np.zeros(count, dtype=np.int64)
    return np.stack((zeros + seed, zeros + epoch, np.arange(count), zeros), axis=1)


def _canvases(count: int) -> Tensor:
    return torch.from_numpy(np.stack([fit(draw(KINDS[one % 3], one), SPEC) for one in range(count)]))


def _square(count: int) -> np.ndarray:
    return np.ones(count, dtype=np.float32)


def _plain(level: int, count: int = 1) -> Tensor:
    return torch.full((count, SIDE, SIDE, 3), level, dtype=torch.uint8)


ALL = replace(RECIPE, rand_augment=20, erasing=0.5)


class TestChance:
    def test_is_even_and_unrelated(self) -> None:
        chance = Chance(_keys(20_000))
        first, second = chance.uniform(0), chance.uniform(1)
        for draws in (first, second):
            assert draws.min() >= 0
            assert draws.max() < 1
            counts = np.bincount((draws * 10).astype(int), minlength=10)
            # 2,000 in each tenth with a standard deviation of 42: five of them.
            assert np.abs(counts - 2000).max() < 212
        for other in (second, first[np.r_[1 : len(first), 0]]):
            assert abs(np.corrcoef(first, other)[0, 1]) < 5 / np.sqrt(len(first))

    @pytest.mark.parametrize("column", range(4))
    def test_every_part_of_the_key_matters(self, column: int) -> None:
        keys, others = _keys(100), _keys(100)
        others[:, column] += 1
        expected = 99 if column == 2 else 0  # the next number is the next photo's
        assert (np.isin(Chance(keys).uniform(0), Chance(others).uniform(0))).sum() == expected

    def test_swapped_parts_of_a_key_are_another_key(self) -> None:
        keys = np.array([[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 4, 3]], dtype=np.int64)
        assert len(set(Chance(keys).uniform(0))) == 3

    def test_is_splitmix64(self) -> None:
        """The first number of the published generator seeded with 0: 0xE220A8397B1DCDAF."""
        chance = Chance(np.zeros((1, 0), dtype=np.int64))
        assert chance.uniform(0)[0] == (0xE220A8397B1DCDAF >> 11) * 2.0**-53


class TestKeys:
    @pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, augment=Augmentation.LIGHT), ALL])
    def test_one_by_one_is_as_in_a_batch(self, recipe: Recipe) -> None:
        augment, canvases, aspects, keys = Augment(recipe), _canvases(13), _square(13) * 1.4, _keys(13)
        together = augment(canvases, aspects, keys)
        apart = torch.cat([augment(canvases[[i]], aspects[[i]], keys[[i]]) for i in range(13)])
        assert together.shape == (13, 48, 48, 3)
        assert together.dtype == torch.uint8
        assert together.is_contiguous()
        assert torch.equal(together, apart)

    @pytest.mark.parametrize("recipe", [RECIPE, ALL])
    def test_order_and_threads_do_not_matter(self, recipe: Recipe) -> None:
        augment, canvases, aspects, keys = Augment(recipe), _canvases(13), _square(13) * 0.7, _keys(13)
        expected, before = augment(canvases, aspects, keys), torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            turned = augment(canvases.flip(0), aspects[::-1].copy(), keys[::-1].copy())
        finally:
            torch.set_num_threads(before)
        assert torch.equal(turned.flip(0), expected)

    def test_leaves_the_canvases_and_the_others_randomness_alone(self) -> None:
        canvases, state = _canvases(5), torch.get_rng_state()
        before = canvases.clone()
        Augment(ALL)(canvases, _square(5), _keys(5))
        assert torch.equal(canvases, before)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}])
    def test_every_seed_and_epoch_shows_something_else(self, other: dict[str, int]) -> None:
        augment, canvases = Augment(RECIPE), _canvases(6)
        first, second = (augment(canvases, _square(6), keys) for keys in (_keys(6), _keys(6, **other)))
        assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))


class TestCrop:
    @pytest.mark.parametrize("aspect", [0.5, 0.75, 1.0, 4 / 3, 16 / 9])
    def test_has_true_proportions(self, aspect: float) -> None:
        width, height = crop_sizes(np.full(5000, aspect), Chance(_keys(5000)))
        ratio, area = width * aspect / height, width * height
        assert ratio.min() >= 0.75 - 1e-9
        assert ratio.max() <= 4 / 3 + 1e-9
        assert area.min() >= LEAST_AREA - 1e-9
        assert max(width.max(), height.max()) <= 1
        if 0.75 <= aspect <= 4 / 3:
            assert area.mean() == pytest.approx((1 + LEAST_AREA) / 2, abs=0.02)
            assert area.max() > 0.99

    @pytest.mark.parametrize("aspect", [6.0, 1 / 6])
    def test_of_a_very_long_photo_is_as_large_as_it_can_be(self, aspect: float) -> None:
        width, height = crop_sizes(np.full(100, aspect), Chance(_keys(100)))
        assert np.maximum(width, height) == pytest.approx(1)
        assert width * aspect / height == pytest.approx(4 / 3 if aspect > 1 else 3 / 4)

    def test_undoes_the_stretching(self) -> None:
        """A disc in a wide photo is stretched to a canvas; what is shown is as round as its crop is square."""
        wide = np.zeros((300, 600, 3), dtype=np.uint8)
        rows, columns = np.mgrid[:300, :600]
        wide[(rows - 150) ** 2 + (columns - 300) ** 2 < 60**2] = 255
        canvas = torch.from_numpy(fit(wide, SPEC))[None].expand(200, -1, -1, -1)
        aspects, keys = np.full(200, 2.0, dtype=np.float32), _keys(200)
        views = Augment(RECIPE)(canvas, aspects, keys)[..., 1].float()
        lit = views > views.amax((1, 2), keepdim=True) / 2
        tall, broad = lit.any(dim=2).sum(dim=1).numpy(), lit.any(dim=1).sum(dim=1).numpy()
        width, height = crop_sizes(aspects.astype(np.float64), Chance(keys))
        whole = (lit[:, 0].sum(1) + lit[:, -1].sum(1) + lit[:, :, 0].sum(1) + lit[:, :, -1].sum(1) == 0).numpy()
        assert whole.sum() > 50
        assert broad[whole] / tall[whole] == pytest.approx((height / (2 * width))[whole], rel=0.12)

    def test_keeps_the_stretching_where_validation_stretches_too(self) -> None:
        """The proportions of the photo then play no part: a crop is as square on the canvas as one of a square."""
        canvas, keys = torch.from_numpy(draw("ring", 3, 62))[None].expand(20, -1, -1, -1), _keys(20)
        stretching = Augment(replace(RECIPE, resize=Resize.STRETCH))
        wide, square = (stretching(canvas, np.full(20, aspect, dtype=np.float32), keys) for aspect in (2.0, 1.0))
        assert torch.equal(wide, square)
        assert torch.equal(square, Augment(RECIPE)(canvas, np.ones(20, dtype=np.float32), keys))

    def test_a_crop_is_where_it_should_be(self) -> None:
        """A canvas whose levels are its coordinates tells where each pixel came from."""
        ramp = torch.arange(SIDE, dtype=torch.uint8) * 4
        columns, rows = ramp[None].expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE)
        canvas = torch.stack((columns, rows, rows), dim=-1)
        augment = Augment(RECIPE)
        chance = Chance(_keys(50))
        views = augment._crop(canvas[None].expand(50, -1, -1, -1), _square(50), chance) / 4
        width, height = crop_sizes(np.ones(50), Chance(_keys(50)))
        spans = (views[:, 0, 0, -1] - views[:, 0, 0, 0]).abs(), (views[:, 1, -1, 0] - views[:, 1, 0, 0]).abs()
        for span, share in zip(spans, (width, height), strict=True):
            assert span.numpy() == pytest.approx(share * SIDE * 47 / 48, abs=1.0)
        assert views.min() >= 0
        assert views.max() <= SIDE - 1


class TestFlips:
    @pytest.mark.parametrize(
        ("augment", "vertical"), [(Augmentation.FULL, (70, 130)), (Augmentation.LIGHT, (0, 0))]
    )
    def test_half_are_mirrored_as_the_recipe_allows(
        self, augment: Augmentation, vertical: tuple[int, int]
    ) -> None:
        canvas = torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)
        canvas[:, : SIDE // 2, : SIDE // 2] = 200  # the upper left quarter is lit
        views = Augment(replace(RECIPE, augment=augment))(canvas.expand(200, -1, -1, -1), _square(200), _keys(200))
        level = views[..., 1].float()
        right = level[:, :, -1].mean(1) > level[:, :, 0].mean(1)
        down = level[:, -1].mean(1) > level[:, 0].mean(1)
        assert 70 <= int(right.sum()) <= 130  # 100 with a standard deviation of 7
        assert vertical[0] <= int(down.sum()) <= vertical[1]

    def test_none_gives_the_inputs_themselves(self) -> None:
        recipe = replace(RECIPE, augment=Augmentation.NONE, rand_augment=9, erasing=1.0)
        inputs = _canvases(3)
        assert torch.equal(Augment(recipe)(inputs, _square(3), _keys(3)), inputs)


class TestLight:
    def test_keeps_the_colour_order(self) -> None:
        blue = _plain(0, 20)
        blue[..., 0] = 200
        out = Augment(RECIPE)(blue, _square(20), _keys(20)).float().mean(dim=(1, 2))
        assert (out[:, 0] > out[:, 2] + 50).all()

    def test_varies_by_three_tenths(self) -> None:
        """A grey picture has no contrast and no colour: what is left is brightness."""
        out = Augment(RECIPE)(_plain(120, 400), _square(400), _keys(400)).float()
        assert out.flatten(1).std(dim=1).max() == 0
        levels = out[:, 0, 0, 0]
        assert 84 <= levels.min() < 88
        assert 152 < levels.max() <= 156
        assert levels.mean() == pytest.approx(120, abs=4.7)  # five standard deviations of the mean

    def test_is_torchvisions_in_one(self) -> None:
        """Brightness, contrast, saturation one after the other, where none of them runs out of levels."""
        from train.augment import Draw, _jitter

        rng = np.random.default_rng(0)
        views = torch.from_numpy(rng.integers(90, 140, (1, 3, 32, 32))).float().repeat(30, 1, 1, 1)
        chance = Chance(_keys(30))
        found = _jitter(views.clone(), chance) - 0.5
        factors = [chance.between(draw, 0.7, 1.3) for draw in (Draw.BRIGHTNESS, Draw.CONTRAST, Draw.SATURATION)]
        for one in range(30):
            rgb = views[one].flip(0) / 255
            rgb = reference.adjust_brightness(rgb, float(factors[0][one]))
            rgb = reference.adjust_contrast(rgb, float(factors[1][one]))
            rgb = reference.adjust_saturation(rgb, float(factors[2][one]))
            assert torch.allclose(found[one], rgb.flip(0) * 255, atol=0.7)  # its mean is of every pixel

    def test_mean_brightness_is_exact_at_any_size(self) -> None:
        white = torch.full((1, 3, 700, 700), 255.0)
        assert float(mean_luma(white)) == pytest.approx(255, abs=1e-3)


class TestErasing:
    def test_blanks_a_rectangle_of_as_many_as_asked(self) -> None:
        recipe = replace(RECIPE, erasing=0.4)
        plain, erased = (Augment(one)(_plain(200, 300), _square(300), _keys(300)) for one in (RECIPE, recipe))
        blank = (erased == torch.tensor(BLANK, dtype=torch.uint8)).all(-1)
        assert torch.equal(erased[~blank], plain[~blank])
        shares = blank.float().mean((1, 2))
        hit = shares > 0
        assert 78 <= int(hit.sum()) <= 162  # 120, with a standard deviation of 8.5: five of them
        assert shares[hit].min() > 0.01
        assert 0.3 < shares.max() < 0.36
        for one in blank[hit]:
            assert int(one.any(0).sum()) * int(one.any(1).sum()) == int(one.sum()), "not a rectangle"


class TestRandAugment:
    @pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "identity"])
    def test_every_operation_changes_pictures_and_keeps_their_shape(self, name: str) -> None:
        views = _canvases(6).permute(0, 3, 1, 2).float()
        strength = torch.tensor([0.5, -0.5] * 3)
        out = OPERATIONS[name](views.clone(), strength)
        assert out.shape == views.shape
        assert out.isfinite().all()
        changed = [not torch.equal(a, b) for a, b in zip(out, views, strict=True)]
        assert sum(changed) >= 4

    @pytest.mark.parametrize(
        ("name", "apply"),
        [
            ("brightness", lambda rgb, s: reference.adjust_brightness(rgb, 1 + 0.9 * s)),
            ("colour", lambda rgb, s: reference.adjust_saturation(rgb, 1 + 0.9 * s)),
            ("contrast", lambda rgb, s: reference.adjust_contrast(rgb, 1 + 0.9 * s)),
            ("sharpness", lambda rgb, s: reference.adjust_sharpness(rgb, 1 + 0.9 * s)),
            ("posterize", lambda rgb, s: reference.posterize(rgb, 8 - round(4 * abs(s)))),
            ("solarize", lambda rgb, s: reference.solarize(rgb, 255 * (1 - abs(s)))),
            ("autocontrast", lambda rgb, s: reference.autocontrast(rgb)),
            ("equalize", lambda rgb, s: reference.equalize(rgb)),
        ],
    )
    @pytest.mark.parametrize("strength", [0.5, -0.5])
    def test_levels_are_torchvisions(self, name: str, apply: object, strength: float) -> None:
        views = _canvases(4).permute(0, 3, 1, 2)
        found = OPERATIONS[name](views.float(), torch.full((4,), strength)).round().clamp(0, 255)
        assert callable(apply)
        expected = torch.stack([apply(one.flip(0), strength).flip(0) for one in views]).float()
        whole = name in ("posterize", "solarize", "equalize")
        assert (found - expected).abs().max() <= (0 if whole else 1 + (name in ("colour", "contrast")))

    def test_equalize_leaves_a_plain_picture_alone(self) -> None:
        plain = torch.full((2, 3, 8, 8), 77.0)
        for name in ("equalize", "autocontrast"):
            assert torch.equal(OPERATIONS[name](plain.clone(), torch.ones(2)), plain)

    @pytest.mark.parametrize("name", ["turn", "shear_x", "shear_y", "shift_x", "shift_y"])
    def test_no_strength_moves_nothing_and_opposite_strengths_are_opposite(self, name: str) -> None:
        views = _canvases(2).permute(0, 3, 1, 2).float()
        assert torch.allclose(OPERATIONS[name](views, torch.zeros(2)), views, atol=0.05)
        smooth = torch.nn.functional.avg_pool2d(views, 5, 1, 2)
        back = OPERATIONS[name](OPERATIONS[name](smooth, torch.full((2,), 0.2)), torch.full((2,), -0.2))
        inner = slice(SIDE // 4, -SIDE // 4)
        assert (back - smooth)[:, :, inner, inner].abs().mean() < 4

    def test_a_shift_is_as_far_as_published(self) -> None:
        views = torch.zeros(1, 3, 331, 331)
        views[..., 165] = 255
        moved = OPERATIONS["shift_x"](views, torch.ones(1))
        assert int(moved[0, 0, 0].argmax()) == 165 - 150

    def test_all_operations_are_drawn_as_often(self) -> None:
        kinds = (Chance(_keys(14_000)).uniform(32) * len(OPERATIONS)).astype(int)
        # 1,000 each with a standard deviation of 30: five of them.
        assert np.abs(np.bincount(kinds, minlength=len(OPERATIONS)) - 1000).max() < 152

    def test_gives_whole_levels(self) -> None:
        out = rand_augment(_canvases(30).permute(0, 3, 1, 2).float() + 0.3, Chance(_keys(30)), 32, 30)
        assert torch.equal(out, out.round())
        assert out.min() >= 0
        assert out.max() <= 255
