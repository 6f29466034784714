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
    shared = st.integers(0, 5).map(lambda own: [own] * n_trials)
    return {name: np.array(draw(steps | shared)) for name in names}


@given(lengths())
def test_epochs_follow_one_another_as_in_a_plain_loop(given_lengths):
    timeline = Timeline.of_lengths(given_lengths, len(next(iter(given_lengths.values()))))
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


@given(lengths(), st.integers(0, 3), st.integers(0, 3))
def test_what_is_filled_and_added_is_what_truth_values_tell(given_lengths, first, last):
    names = list(given_lengths)
    n_trials = len(given_lengths[names[0]])
    timeline = Timeline.of_lengths(given_lengths, n_trials)
    epoch, through = names[min(first, len(names) - 1)], names[min(max(first, last), len(names) - 1)]
    during = timeline.during(epoch, through)
    values, chosen = np.arange(1.0, n_trials + 1), np.arange(n_trials) % 2 == 0
    filled = np.full(during.shape, -1.0)
    timeline.fill(filled, values, epoch, through)
    assert np.array_equal(filled, np.where(during, values[:, None], -1))
    timeline.fill(filled, 7, epoch, through)
    assert np.array_equal(filled, np.where(during, 7, -1))
    timeline.fill_before(filled, 5, epoch)
    assert np.array_equal(filled, np.where(timeline.before(epoch), 5, np.where(during, 7, -1)))
    turned = np.empty((*during.shape, 2))
    timeline.turn(turned, np.array([1.0, 2.0]), np.stack([values, -values], axis=1), epoch)
    held = np.where(timeline.before(epoch), 1, values[:, None])
    assert np.array_equal(turned[..., 0], held)
    vectors = np.stack([values, -values], axis=1)
    for trials in (None, chosen):
        added = np.ones((*during.shape, 2))
        timeline.add(added, vectors, epoch, through, trials=trials)
        here = during if trials is None else during & chosen[:, None]
        assert np.array_equal(added, 1 + here[..., None] * vectors[:, None])


@given(lengths())
def test_epochs_give_the_timeline_back(given_lengths):
    timeline = Timeline.of_lengths(given_lengths, len(next(iter(given_lengths.values()))))
    again = Timeline.of_epochs(timeline.epochs, timeline.n_trials, timeline.n_steps)
    for name in given_lengths:
        assert np.array_equal(again.during(name), timeline.during(name))
    assert np.array_equal(again.valid, timeline.valid)


def test_epochs_that_all_trials_share_are_whole_numbers():
    shared = Timeline.of_lengths({"stimulus": np.array([2, 2]), "response": np.array([1, 1])}, 2)
    assert shared.epochs == {"stimulus": (0, 2), "response": (2, 3)}
    differing = Timeline.of_lengths({"stimulus": np.array([2, 3]), "response": np.array([1, 1])}, 2)
    assert differing.epochs["stimulus"][1].tolist() == [2, 3]


def test_from_one_epoch_through_another():
    timeline = Timeline.of_lengths({name: np.array([2]) for name in ("stimulus", "delay", "response")}, 1)
    assert timeline.during("stimulus", "delay").astype(int).tolist() == [[1, 1, 1, 1, 0, 0]]


def test_an_unknown_epoch_and_trials_without_any_are_told():
    timeline = Timeline.of_lengths({"stimulus": np.array([2])}, 1)
    with pytest.raises(InputError, match=r"there is no epoch 'delay': these trials have \('stimulus',\)"):
        timeline.during("delay")
    with pytest.raises(InputError, match="these trials have no epochs, so there is no timeline"):
        Timeline.of_epochs({}, 3, 10)
