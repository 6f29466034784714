import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurornn import InputError
from neurornn.tasks import Choice, Exponential, Fixed, Uniform
from neurornn.tasks.distributions import as_distribution

numbers = st.floats(-1e4, 1e4, allow_nan=False).map(lambda value: round(value, 3))


@st.composite
def distributions(draw):
    low, span = draw(numbers), draw(st.floats(0.5, 1e4).map(lambda value: round(value, 3)))
    mean = draw(st.floats(0.5, 1e4).map(lambda value: round(value, 3)))
    return draw(
        st.sampled_from(
            [
                Fixed(low),
                Uniform(low, low + span),
                Choice(low, low + span, low),
                Exponential(mean, low, low + span),
                Exponential(mean, low),
            ]
        )
    )


@given(distributions())
def test_text_gives_the_same_distribution_back(own):
    assert as_distribution(repr(own), "delay") == own


@given(distributions(), st.integers(1, 50), st.integers(0, 2**32))
def test_draws_lie_within_the_bounds_and_repeat(own, n_trials, seed):
    drawn = own.draw(n_trials, np.random.default_rng(seed))
    low, high = own.bounds()
    assert drawn.shape == (n_trials,)
    # The logarithm of a small share may end a rounding error outside.
    slack = 1e-9 * (1 + abs(low))
    assert ((drawn >= low - slack) & (drawn <= high + slack)).all()
    assert np.array_equal(drawn, own.draw(n_trials, np.random.default_rng(seed)))
    assert all(low - slack <= level <= high + slack for level in own.levels())


def test_uniform_has_the_moments_of_its_range():
    drawn = Uniform(300, 700).draw(100_000, np.random.default_rng(0))
    # Standard errors: .37 for the mean, .5 % for the variance; four of them.
    assert abs(drawn.mean() - 500) < 1.5
    assert abs(drawn.var() / (400**2 / 12) - 1) < 0.02


def test_a_value_that_stands_twice_is_drawn_twice_as_often():
    drawn = Choice(1, 2, 2).draw(90_000, np.random.default_rng(0))
    assert abs((drawn == 2).mean() - 2 / 3) < 4 * np.sqrt(2 / 9 / 90_000)
    assert Choice(1, 2, 2).levels() == (1, 2)


@pytest.mark.parametrize("high", [400.0, 1000.0, np.inf])
def test_a_cut_exponential_is_what_drawing_again_gives(high):
    rng = np.random.default_rng(1)
    drawn = Exponential(200, 100, high).draw(100_000, rng)
    free = 100 + rng.exponential(200, 400_000)
    again = free[free <= high]
    from scipy.stats import ks_2samp

    # Never touched by development; a p-value of 1e-4 would come once in ten thousand runs.
    assert ks_2samp(drawn, again).pvalue > 1e-4


def test_the_hazard_of_an_exponential_is_flat():
    drawn = Exponential(200, 0, np.inf).draw(200_000, np.random.default_rng(2))
    hazards = [((drawn >= t) & (drawn < t + 50)).sum() / (drawn >= t).sum() for t in (0, 200, 400)]
    # 1 - exp(-1/4); the rarest of the three is known within .2 %.
    np.testing.assert_allclose(hazards, 1 - np.exp(-0.25), atol=0.01)


def test_levels_stand_for_equal_shares():
    assert Uniform(0, 10).levels() == (1.0, 3.0, 5.0, 7.0, 9.0)
    own = Exponential(200, 100, 1000)
    drawn = own.draw(100_000, np.random.default_rng(3))
    below = [(drawn <= level).mean() for level in own.levels()]
    np.testing.assert_allclose(below, [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.007)
    assert Fixed(5).levels() == (5,)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Uniform(700, 300), r"Uniform needs low < high, got Uniform\(700, 300\): swap them"),
        (lambda: Uniform(300, 300), r"or write Fixed\(300\)"),
        (lambda: Uniform(0, np.inf), r"Uniform needs finite numbers, got inf"),
        (lambda: Fixed("long"), r"Fixed needs finite numbers, got 'long'"),
        (lambda: Fixed(True), r"Fixed needs finite numbers, got True"),
        (lambda: Choice(), r"Choice needs at least one value, got none: write Choice\(200, 400\)"),
        (lambda: Choice(1, np.nan), r"Choice needs finite numbers, got nan"),
        (lambda: Exponential(0, 0, 1), r"Exponential needs a mean above 0 and low < high, got Exponential"),
        (lambda: Exponential(100, 500, 200), r"mean above 0 and low < high.*give mean, low, high"),
        (lambda: Exponential(100, -np.inf), r"mean above 0 and low < high"),
        (
            lambda: as_distribution([200], "delay"),
            r"`delay` must be a number or one of Fixed, Uniform, Choice, Exponential, got \[200\]: write",
        ),
        (lambda: as_distribution(True, "delay"), r"`delay` must be a number or one of .*got True"),
        (lambda: as_distribution("Unifrom(3, 7)", "delay"), r"got 'Unifrom\(3, 7\)': did you mean Uniform\?"),
        (lambda: as_distribution("xyz", "delay"), r"got 'xyz': write for example Uniform\(300, 700\)"),
        (
            lambda: as_distribution("Uniform(3)", "delay"),
            r"`delay`, got 'Uniform\(3\)': its values could not",
        ),
        (lambda: as_distribution("Uniform(3, f())", "delay"), r"its values could not be read"),
        (lambda: as_distribution("Uniform(7, 3)", "delay"), r"`delay`, got .*: Uniform needs low < high"),
        (lambda: as_distribution("Choice()", "delay"), r"Choice needs at least one value"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)
