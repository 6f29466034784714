import hashlib
import math
import random
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from neurornn import InputError
from neurornn.tasks import SequentialDigits
from neurornn.tasks.digits import SPLITS, digit_images, images_of
from neurornn.testing import check_task

# What NumPy drew when the splits were made: a change would turn training into test pictures.
SIZES = [1259, 179, 359]
DIGEST = "541342268d0fa860"
PIXELS = [61, 24, 37, 25, 58, 30, 35, 27]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_every_form_passes_the_checker(permuted, split):
    check_task(SequentialDigits(permuted=permuted, split=split))


@pytest.mark.parametrize("permuted", [False, True])
def test_a_trial_is_a_picture_pixel_by_pixel(permuted):
    task = SequentialDigits(permuted=permuted)
    trials = task.draw(50, rng())
    data = load_digits()
    order = task.pixel_order
    assert sorted(order.tolist()) == list(range(64))
    assert (order.tolist() == list(range(64))) != permuted
    for k in range(50):
        picture = data.images[trials.conditions["image"][k]].ravel()
        for t in range(64):
            assert trials.inputs[k, t, 0] == picture[order[t]] / 16
        assert data.target[trials.conditions["image"][k]] == trials.conditions["digit"][k]
        assert trials.targets[k, -1] == trials.conditions["digit"][k]
    assert not trials.mask[:, :-1].any()
    assert (trials.mask[:, -1] == 1).all()
    assert trials.epochs == {"stimulus": (0, 64)}


def test_the_order_of_the_pixels_is_the_same_for_ever():
    assert SequentialDigits(permuted=True).pixel_order[:8].tolist() == PIXELS
    one, two = (SequentialDigits(permuted=True, split=split).pixel_order for split in ("train", "test"))
    np.testing.assert_array_equal(one, two)


def test_every_picture_is_in_one_split_and_all_digits_in_every_split():
    digits = digit_images()[1]
    everything = np.concatenate([np.concatenate(images_of(split)) for split in SPLITS])
    np.testing.assert_array_equal(np.sort(everything), np.arange(1797))
    for split, share in zip(SPLITS, (0.7, 0.1, 0.2), strict=True):
        for digit, own in enumerate(images_of(split)):
            assert (digits[own] == digit).all()
            assert len(own) == pytest.approx(share * (digits == digit).sum(), abs=1)


def test_the_split_is_the_same_for_ever():
    told = ";".join(",".join(map(str, np.concatenate(images_of(split)))) for split in SPLITS)
    assert [len(np.concatenate(images_of(split))) for split in SPLITS] == SIZES
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == DIGEST


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_draws_all_of_its_pictures_and_no_others(split):
    trials = SequentialDigits(split=split).draw(20_000, rng(1))
    own = np.sort(np.concatenate(images_of(split)))
    np.testing.assert_array_equal(np.unique(trials.conditions["image"]), own)
    counts = np.bincount(trials.conditions["digit"], minlength=10)
    assert np.abs(counts - 2000).max() < 5 * math.sqrt(2000)
    within = np.bincount(trials.conditions["image"], minlength=1797)[images_of(split)[3]]
    expected = counts[3] / within.size
    assert np.abs(within - expected).max() < 5 * math.sqrt(expected)


def test_what_is_held_out_are_other_pictures():
    task = SequentialDigits(permuted=True)
    assert task.held_out() == SequentialDigits(permuted=True, split="test")
    assert task.held_out("validation") == SequentialDigits(permuted=True, split="validation")
    assert task.held_out().held_out() == task.held_out()
    seen = {split: set(np.concatenate(images_of(split)).tolist()) for split in SPLITS}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


def test_the_last_step_decides_and_chance_is_a_tenth():
    task = SequentialDigits()
    trials = task.draw(20_000, rng(2))
    outputs = np.zeros((20_000, 64, 10), np.float32)
    outputs[:, :-1] = trials.ideal_outputs()[:, :-1]
    outputs[:, -1, 4] = 1
    score = task.score(outputs, trials)
    np.testing.assert_array_equal(score, trials.conditions["digit"] == 4)
    assert score.mean() == pytest.approx(task.chance_score, abs=3 * 0.3 / math.sqrt(20_000))
    assert task.chance_loss == math.log(10)


def test_the_pictures_cannot_be_changed_and_no_generator_is_advanced(random_states):
    digit_images.cache_clear()
    random.seed(5)
    before = random_states()
    images, digits = digit_images()
    assert random_states() == before
    assert images.min() == 0
    assert images.max() == 1
    for array in (images, digits):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert digit_images()[0] is images


def test_the_first_draw_of_a_session_advances_no_generator_either():
    # In a process of its own: what the import of scikit-learn draws, it draws once.
    code = """
import random
import numpy as np
from neurornn.tasks import SequentialDigits
task, before = SequentialDigits(), (random.getstate(), repr(np.random.get_state()))
task.draw(1, np.random.default_rng(0))
assert (random.getstate(), repr(np.random.get_state())) == before
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_balanced_batch_shows_every_digit():
    assert (
        SequentialDigits().factorial(n_repeats=2).conditions["digit"].tolist()
        == np.repeat(np.arange(10), 2).tolist()
    )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"split": "tests"}, "unknown split 'tests'.*did you mean 'test'"),
        ({"permuted": 1}, "`permuted` must be True or False, got 1"),
        ({"dt": -1.0}, r"`dt` must be a positive number of ms, got -1\.0"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        SequentialDigits(**parameters)
    with pytest.raises(InputError, match="unknown split 'all'"):
        SequentialDigits().held_out("all")
