import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurornn import InputError
from neurornn.tasks import Timeline


@st.composite
def lengths(draw):
    n_trials = draw(st.integers(1, 6))
    names = ("fixation", "stimulus", "delay", "response")[: draw(st.integers(1, 4))]
    steps = st.lists(st.integers(0, 5), min_size=n_trials, max_size=n_trials)
    return {name: np.array(draw(steps)) for name in names}


@given(lengths())
def test_epochs_follow_one_another_as_in_a_plain_loop(given_lengths):
    timeline = Timeline.of_lengths(given_lengths)
    n_trials = timeline.n_trials
    total = sum(given_lengths.values())
    assert timeline.n_steps == total.max()
    for trial in range(n_trials):
        written = [name for name, own in given_lengths.items() for _ in range(own[trial])]
        for step in range(timeline.n_steps):
            here = written[step] if step < len(written) else None
            assert timeline.valid[trial, step] == (here is not None)
            for name in given_lengths:
                assert timeline.during(name)[trial, step] == (here == name)
                assert timeline.before(name)[trial, step] == (step < timeline.start[name][trial])
                since = step >= timeline.start[name][trial] and here is not None
                assert timeline.since(name)[trial, step] == since
                assert timeline.steps_since(name)[trial, step] == step - timeline.start[name][trial]
    for name, own in given_lengths.items():
        assert np.array_equal(timeline.length(name), own)


@given(lengths())
def test_epochs_give_the_timeline_back(given_lengths):
    timeline = Timeline.of_lengths(given_lengths)
    again = Timeline.of_epochs(timeline.epochs, timeline.n_trials, timeline.n_steps)
    for name in given_lengths:
        assert np.array_equal(again.during(name), timeline.during(name))
    assert np.array_equal(again.valid, timeline.valid)


def test_epochs_that_all_trials_share_are_whole_numbers():
    shared = Timeline.of_lengths({"stimulus": np.array([2, 2]), "response": np.array([1, 1])})
    assert shared.epochs == {"stimulus": (0, 2), "response": (2, 3)}
    differing = Timeline.of_lengths({"stimulus": np.array([2, 3]), "response": np.array([1, 1])})
    assert differing.epochs["stimulus"][1].tolist() == [2, 3]


def test_from_one_epoch_through_another():
    timeline = Timeline.of_lengths({name: np.array([2]) for name in ("stimulus", "delay", "response")})
    assert timeline.during("stimulus", "delay").astype(int).tolist() == [[1, 1, 1, 1, 0, 0]]


def test_an_unknown_epoch_and_trials_without_any_are_told():
    timeline = Timeline.of_lengths({"stimulus": np.array([2])})
    with pytest.raises(InputError, match=r"there is no epoch 'delay': these trials have \('stimulus',\)"):
        timeline.during("delay")
    with pytest.raises(InputError, match="these trials have no epochs, so there is no timeline"):
        Timeline.of_epochs({}, 3, 10)
