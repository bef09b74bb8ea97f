import itertools

import cv2
import numpy as np
import pytest

from edge.errors import UsageError
from edge.scene import QUIET_END, QUIET_START, SceneSettings, frames, script
from edge.waste import (
    FILL,
    LABELS,
    draw_background,
    draw_item,
    draw_photo,
    encode_photo,
    write_dataset,
)

SMALL = SceneSettings(seed=5, deposits=7, width=160, height=120, fps=15.0)


def photos(seed, per_class, size=64):
    """Photos uint8 [n, size, size, 3] and the indices of their labels."""
    keys = [(index, number) for index in range(len(LABELS)) for number in range(per_class)]
    drawn = [draw_photo(LABELS[i], np.random.default_rng([seed, i, n]), size) for i, n in keys]
    return np.stack(drawn), np.array([index for index, _ in keys])


def raw(pictures):
    """32 x 32 pixels of colour and grey, one row a picture."""
    small = [cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA) for picture in pictures]
    grey = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[:, :, None] for picture in small]
    return np.concatenate([np.stack(small), np.stack(grey)], axis=3).reshape(len(small), -1).astype(np.float64)


def change(picture, empty):
    """Share of the pixels that differ plainly, once flicker, drift and noise are averaged out."""
    size = (40, 30)
    a, b = (cv2.resize(p, size, interpolation=cv2.INTER_AREA).astype(np.float64) for p in (picture, empty))
    return (
        np.abs(a - b * (a.mean() / b.mean() if abs(a.mean() / b.mean() - 1) < 0.1 else 1)).max(axis=2) > 15
    ).mean()


@pytest.fixture(scope="module")
def film():
    """All frames of SMALL: (seconds, uint8 [120, 160, 3])."""
    return list(frames(SMALL))


def test_labels_are_sorted_and_each_is_drawn():
    assert list(LABELS) == sorted(LABELS)
    for label, seed in itertools.product(LABELS, range(8)):
        item = draw_item(label, np.random.default_rng(seed), 96)
        assert item.colour.shape == (96, 96, 3)
        assert item.alpha.shape == (96, 96)
        assert item.colour.dtype == item.alpha.dtype == np.uint8
        x, y, width, height = cv2.boundingRect((item.alpha > 127).astype(np.uint8))
        assert FILL - 0.12 < max(width, height) / 96 <= 1
        assert min(x, y) >= 0
        assert (item.alpha > 0).mean() > 0.1


def test_an_unknown_label_names_the_nearest():
    with pytest.raises(UsageError, match="bottle"):
        draw_item("botle", np.random.default_rng(0), 64)


@pytest.mark.parametrize("size", [48, 128, 131])
def test_photos_and_grounds_have_the_size_asked_for(size):
    for label in LABELS:
        photo = draw_photo(label, np.random.default_rng(1), size)
        assert photo.shape == (size, size, 3)
        assert photo.dtype == np.uint8
    for seed in range(10):
        ground = draw_background(np.random.default_rng(seed), size)
        assert ground.shape == (size, size, 3)
        assert ground.dtype == np.uint8


def test_a_photo_follows_from_its_generator_alone():
    for label in LABELS:
        first, again, other = (draw_photo(label, np.random.default_rng(seed)) for seed in (3, 3, 4))
        assert np.array_equal(first, again)
        assert np.abs(first.astype(int) - other).mean() > 5


def test_drawing_leaves_the_global_random_numbers_alone():
    cv2.setRNGSeed(1)
    np.random.seed(1)
    before = draw_photo("can", np.random.default_rng(3))
    cv2.setRNGSeed(2)
    np.random.seed(2)
    assert np.array_equal(before, draw_photo("can", np.random.default_rng(3)))


def test_a_jpeg_stays_near_its_photo():
    photo = draw_photo("box", np.random.default_rng(2))
    data = encode_photo(photo, np.random.default_rng(0))
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert data[:2] == b"\xff\xd8"
    assert np.abs(decoded.astype(int) - photo).mean() < 12


def test_a_dataset_is_the_same_each_time_and_grows_at_its_end(tmp_path):
    write_dataset(tmp_path / "small", 2, seed=1, size=64)
    write_dataset(tmp_path / "large", 3, seed=1, size=64)
    write_dataset(tmp_path / "other", 2, seed=2, size=64)
    names = sorted(str(path.relative_to(tmp_path / "small")) for path in (tmp_path / "small").rglob("*.jpg"))
    assert names == [f"{label}/{label}_{number:04d}.jpg" for label in LABELS for number in (1, 2)]
    for name in names:
        data = (tmp_path / "small" / name).read_bytes()
        assert data == (tmp_path / "large" / name).read_bytes()
        assert data != (tmp_path / "other" / name).read_bytes()
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (64, 64, 3)
    assert len(list((tmp_path / "large").rglob("*.jpg"))) == 3 * len(LABELS)


def test_raw_pixels_tell_something_but_not_enough():
    known, labels = photos(1, 100)
    asked, truth = photos(2, 30)
    a, b = raw(known), raw(asked)
    distance = (b**2).sum(axis=1)[:, None] - 2 * b @ a.T + (a**2).sum(axis=1)
    accuracy = (labels[distance.argmin(axis=1)] == truth).mean()
    assert 1.4 / len(LABELS) < accuracy < 0.6


def test_the_script_is_ordered_mixed_and_follows_the_seed():
    settings = SceneSettings(seed=3, deposits=20)
    deposits = script(settings)
    assert deposits == script(settings)
    assert deposits != script(SceneSettings(seed=4, deposits=20))
    assert len(deposits) == 20
    assert deposits[0].appears >= QUIET_START
    for first in range(0, 18, len(LABELS)):
        assert sorted(d.label for d in deposits[first : first + len(LABELS)]) == list(LABELS)
    for deposit in deposits:
        assert 0.3 <= deposit.settles - deposit.appears <= 0.6
        assert 1.0 <= deposit.leaves - deposit.settles <= 1.6
        assert 0.2 <= deposit.gone - deposit.leaves <= 0.4
    for before, after in itertools.pairwise(deposits):
        assert 0.8 <= after.appears - before.gone <= 1.4


def test_frames_come_at_the_rate_and_size_asked_for(film):
    times = np.array([time for time, _ in film])
    assert np.allclose(np.diff(times), 1 / SMALL.fps)
    assert times[0] == 0
    end = script(SMALL)[-1].gone + QUIET_END
    assert end - 1 / SMALL.fps <= times[-1] < end
    assert all(frame.shape == (120, 160, 3) and frame.dtype == np.uint8 for _, frame in film)


def test_frames_follow_from_the_seed(film):
    again = list(itertools.islice(frames(SMALL), 60))
    for (time, frame), (time_again, frame_again) in zip(film, again, strict=False):
        assert time == time_again
        assert np.array_equal(frame, frame_again)
    other = next(frames(SceneSettings(seed=6, deposits=7, width=160, height=120)))[1]
    assert np.abs(film[0][1].astype(int) - other).mean() > 5


def test_the_picture_shows_what_the_script_says(film):
    empty = film[0][1]
    deposits = script(SMALL)
    for time, frame in film:
        if any(d.settles <= time < d.leaves for d in deposits):
            assert change(frame, empty) > 0.03, time
        elif not any(d.appears <= time < d.gone for d in deposits):
            assert change(frame, empty) < 0.005, time


def test_no_two_frames_of_the_empty_bin_are_equal(film):
    start = script(SMALL)[0].appears
    quiet = [frame for time, frame in film if time < start]
    means = np.array([frame.mean() for frame in quiet])
    assert 0 < np.ptp(means) / means.mean() < 0.06
    assert not np.array_equal(quiet[0], quiet[1])


def test_a_thing_at_rest_lies_within_the_central_square():
    tall = SceneSettings(seed=2, deposits=6, width=240, height=120, fps=5.0)
    film = list(frames(tall))
    empty = film[0][1].astype(np.float64)
    for deposit in script(tall):
        frame = next(f for time, f in film if time >= deposit.settles)
        moved = cv2.blur(np.abs(frame - empty).max(axis=2), (7, 7)) > 25
        inside = moved[:, 60:180].sum()
        assert inside > 0.03 * 120 * 120
        assert moved.sum() - inside < 0.1 * inside


def test_a_single_deposit_and_odd_sizes_work():
    settings = SceneSettings(seed=1, deposits=1, width=97, height=131, fps=4.5)
    film = list(frames(settings))
    assert film[-1][1].shape == (131, 97, 3)
    assert film[-1][0] > script(settings)[0].gone


@pytest.mark.parametrize(
    "wrong", [{"deposits": 0}, {"width": 8}, {"height": 0}, {"fps": 0.0}, {"fps": float("nan")}, {"seed": -1}]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(UsageError):
        SceneSettings(**wrong)
