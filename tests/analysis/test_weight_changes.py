"""Is the change of weights taken apart rightly, and does its leading part recover what it should?"""

import numpy as np
import pytest

from neurornn import RateRNN
from neurornn.analysis import weight_change
from neurornn.vocabulary import InputError


def changed(n=30, strengths=(3.0, 2.0, 1.0), seed=0):
    rng = np.random.default_rng(seed)
    before = rng.standard_normal((n, n)) / np.sqrt(n)
    left, right = (np.linalg.qr(rng.standard_normal((n, len(strengths))))[0] for _ in range(2))
    return before, before + left * strengths @ right.T, left, right


def test_the_directions_that_were_added_are_found():
    before, after, left, right = changed()
    found = weight_change(before, after)
    np.testing.assert_allclose(found.singular_value[:3], [3, 2, 1], rtol=1e-12)
    np.testing.assert_allclose(found.singular_value[3:], 0, atol=1e-13)
    for k in range(3):
        assert abs(found.left_vector.values[k] @ left[:, k]) == pytest.approx(1, abs=1e-12)
        assert abs(found.right_vector.values[k] @ right[:, k]) == pytest.approx(1, abs=1e-12)
        # Both signs go together.
        both = (found.left_vector.values[k] @ left[:, k]) * (found.right_vector.values[k] @ right[:, k])
        assert both == pytest.approx(1, abs=1e-12)
    squares = np.array([9.0, 4.0, 1.0])
    assert float(found.participation_ratio) == pytest.approx(14**2 / (squares**2).sum())
    assert float(found.stable_rank) == pytest.approx(14 / 9)
    assert float(found.relative_change) == pytest.approx(np.sqrt(14) / np.linalg.norm(before))
    assert found.cut_rank.values.tolist() == [0, 1, 2, 4, 8, 16, 30]
    np.testing.assert_allclose(found.recovered_norm, [0, 9 / 14, 13 / 14, 1, 1, 1, 1], atol=1e-12)


def test_overlap_is_the_cosine_with_what_was_there():
    before = np.random.default_rng(1).standard_normal((20, 20))
    assert float(weight_change(before, 1.5 * before).overlap) == pytest.approx(1)
    assert float(weight_change(before, 0.5 * before).overlap) == pytest.approx(-1)
    assert abs(float(weight_change(*changed()[:2]).overlap)) < 0.1


def test_what_cut_changes_do_to_the_activity():
    before, after, _, right = changed()
    rng = np.random.default_rng(2)
    rates = rng.standard_normal((200, 30)) + 3 * right[:, 2]
    found = weight_change(before, after, ranks=[0, 1, 2, 3, 30], activity=rates)
    change = after - before
    left, singular, rows = np.linalg.svd(change)
    for rank, told in zip(found.cut_rank.values, found.recovered_effect.values, strict=True):
        cut = (left[:, :rank] * singular[:rank]) @ rows[:rank]
        missing = np.linalg.norm(rates @ (change - cut).T) ** 2 / np.linalg.norm(rates @ change.T) ** 2
        assert told == pytest.approx(1 - missing, abs=1e-12)


def test_scores_of_cut_changes():
    before, after, left, right = changed()
    seen = []

    def score(weights):
        seen.append(weights)
        # What the second direction is for.
        return float(left[:, 1] @ weights @ right[:, 1])

    found = weight_change(before, after, ranks=[0, 1, 2, 30], score=score)
    np.testing.assert_allclose(found.recovered_score, [0, 0, 1, 1], atol=1e-12)
    np.testing.assert_allclose(found.score, float(found.score[0]) + np.array([0, 0, 2, 2]), atol=1e-12)
    np.testing.assert_allclose(seen[3], after, atol=1e-12)
    flat = weight_change(before, after, ranks=[0], score=lambda weights: 1.0)
    assert np.isnan(flat.recovered_score).all()


def test_networks_and_matrices_that_are_not_square():
    first, second = RateRNN(2, 8, 1, seed=0), RateRNN(2, 8, 1, seed=1)
    found = weight_change(first, second)
    difference = (second.recurrent_weight - first.recurrent_weight).detach().double().numpy()
    assert float((found.singular_value**2).sum()) == pytest.approx(np.linalg.norm(difference) ** 2, rel=1e-6)
    inputs = weight_change(first.input_weight, second.input_weight)
    assert dict(inputs.sizes) == {"mode": 2, "unit": 8, "presynaptic_unit": 2, "cut_rank": 3}
    from_nothing = weight_change(np.zeros((2, 2)), np.eye(2, dtype=int))
    assert float(from_nothing.relative_change) == np.inf
    assert float(from_nothing.participation_ratio) == pytest.approx(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weight_change(np.eye(2), np.eye(3)), r"must have one shape, got \(2, 2\) and \(3, 3\)"),
        (lambda: weight_change(np.eye(2), np.eye(2)), "every weight is the same: nothing was learned"),
        (lambda: weight_change(np.eye(2), np.full((2, 2), np.nan)), "`after` must be finite, got nan"),
        (lambda: weight_change(np.ones(2), np.zeros(2)), "`before` must be a matrix"),
        (lambda: weight_change(np.eye(2), 2 * np.eye(2), ranks=[3]), r"from 0 to 2, got \[3\]"),
        (
            lambda: weight_change(np.eye(2), 2 * np.eye(2), activity=np.ones((4, 3))),
            "the 2 presynaptic units",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
