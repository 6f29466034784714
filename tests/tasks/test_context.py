from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from neurornn import InputError
from neurornn.tasks import (
    NO_CHOICE,
    ContextDecisionMaking,
    HierarchicalReasoning,
    MultisensoryIntegration,
    PostDecisionWager,
    Uniform,
)
from neurornn.testing import check_task


def agrees(task, trials, these=slice(None)):
    """Whether the ideal observer is as often right as the formula says, within 3 standard errors."""
    right = (task.ideal_choices(trials) == trials.conditions["target_choice"])[these]
    share = task.ideal_accuracy(trials.conditions)[these]
    assert share.shape == right.shape
    error = np.sqrt((share * (1 - share)).sum()) / len(share)
    return abs(right.mean() - share.mean()) <= 3 * error + 1e-12


@pytest.mark.parametrize(
    "task",
    [
        ContextDecisionMaking(),
        ContextDecisionMaking(stimulus=Uniform(200, 800), fixation=Uniform(60, 200), delay=200),
        MultisensoryIntegration(),
        MultisensoryIntegration(rates=(12.0, 12.5, 13.0), catch_probability=0.2, stimulus=Uniform(200, 900)),
        PostDecisionWager(),
        PostDecisionWager(catch_probability=0.1, sure_reward=0.9, stimulus=300, coherences=(0, 6.4)),
        PostDecisionWager(noise_std=0.0),
    ],
    ids=repr,
)
def test_each_passes_the_checker_and_its_observer_does_as_the_formula_says(task):
    check_task(task)
    assert agrees(task, task.draw(20_000, np.random.default_rng(1)))


@pytest.mark.parametrize(
    "task",
    [
        HierarchicalReasoning(),
        HierarchicalReasoning(n_attempts=3, switches=(0, 2), interval_noise=0.0, dt=50.0),
        HierarchicalReasoning(feedback="Choice(100, 200)", fixation=Uniform(100, 500)),
    ],
    ids=repr,
)
def test_sequences_of_attempts_pass_the_checker(task):
    check_task(task)


# Context


def test_only_the_stream_that_the_context_names_decides():
    trials = ContextDecisionMaking(noise_std=0).draw(300, np.random.default_rng(0))
    for trial in range(300):
        own = {name: values[trial] for name, values in trials.conditions.items()}
        cue = trials.inputs[trial, :, 2:]
        assert (cue == ([1, 0] if own["context"] == "motion" else [0, 1])).all()
        relevant = own[f"{own['context']}_coherence"]
        other = own["color_coherence" if own["context"] == "motion" else "motion_coherence"]
        assert (own["relevant_coherence"], own["irrelevant_coherence"]) == (relevant, other)
        assert own["coherence"] == abs(relevant)
        assert own["target_choice"] == (2 if relevant > 0 else 1)
        for step in range(55):
            shown = (own["motion_coherence"], own["color_coherence"]) if 5 <= step < 45 else (0, 0)
            np.testing.assert_allclose(trials.inputs[trial, step, :2], np.array(shown) / 100, rtol=1e-6)
            answer = np.sign(relevant) if step >= 45 else 0
            assert trials.targets[trial, step, 0] == answer
            assert trials.mask[trial, step, 0] == (step < 5 or step >= 45)


def test_context_and_both_coherences_are_independent():
    trials = ContextDecisionMaking().draw(20_000, np.random.default_rng(4))
    drawn = trials.conditions
    cells = [
        ((drawn["context"] == c) & (drawn["motion_coherence"] == m) & (drawn["color_coherence"] == k)).mean()
        for c, m, k in product(("motion", "color"), (-50, -15, -5, 5, 15, 50), (-50, -15, -5, 5, 15, 50))
    ]
    assert sum(cells) == pytest.approx(1)
    np.testing.assert_allclose(cells, 1 / 72, atol=5 * np.sqrt(1 / 72 / 20_000))


def test_the_noise_of_both_streams_is_point_six_per_step():
    trials = ContextDecisionMaking().draw(20_000, np.random.default_rng(4))
    for channel, name in enumerate(("motion", "color")):
        signed = trials.conditions[f"{name}_coherence"][:, None] / 100
        noise = trials.inputs[:, 5:45, channel] - signed
        assert noise.std() == pytest.approx(0.6, rel=4 / np.sqrt(2 * noise.size))
        assert abs(noise.mean()) < 4 * 0.6 / np.sqrt(noise.size)
    assert not trials.inputs[:, :5, :2].any()
    assert not trials.inputs[:, 45:, :2].any()


def test_the_ideal_accuracies_of_the_published_context_task():
    task = ContextDecisionMaking()
    share = task.ideal_accuracy({"relevant_coherence": np.array([5, -15, 50, 0])})
    np.testing.assert_allclose(
        share, [*norm.cdf(np.array([0.05, 0.15, 0.5]) * np.sqrt(40) / 0.6), 0.5], rtol=1e-12
    )
    assert share[:3].round(3).tolist() == [0.701, 0.943, 1.0]
    assert share[:3].mean() == pytest.approx(0.881, abs=5e-4)
    trials = task.draw(20_000, np.random.default_rng(5))
    for strength in task.coherences:
        assert agrees(task, trials, trials.conditions["coherence"] == strength)


def test_a_choice_in_a_context_is_the_sign_of_the_mean_output_of_the_response():
    task = ContextDecisionMaking()
    trials = task.draw(4, np.random.default_rng(0))
    outputs = np.zeros((4, 55, 1))
    outputs[:, :45] = 50  # before the response nothing counts
    outputs[0, 45:] = 0.1
    outputs[1, 45:, 0] = [1] * 4 + [-1] * 6
    outputs[2, 45] = 1e-3
    np.testing.assert_array_equal(task.choose(outputs, trials), [2, 1, 2, NO_CHOICE])
    right = trials.conditions["target_choice"]
    np.testing.assert_array_equal(
        task.score(outputs, trials), [right[0] == 2, right[1] == 1, right[2] == 2, 0]
    )


def test_the_chance_loss_is_that_of_an_output_at_zero():
    task = ContextDecisionMaking()
    trials = task.draw(10, np.random.default_rng(0))
    loss = (trials.mask * trials.targets**2).sum() / trials.mask.sum()
    assert task.chance_loss == pytest.approx(loss)
    assert ContextDecisionMaking(response="Fixed(100)").chance_loss == pytest.approx(0.5)
    assert ContextDecisionMaking(fixation=Uniform(100, 200)).chance_loss is None


def test_without_evidence_either_answer_is_right():
    trials = ContextDecisionMaking(coherences=(0.0,)).draw(20_000, np.random.default_rng(0))
    assert (trials.conditions["target_choice"] == 1).mean() == pytest.approx(
        0.5, abs=4 * 0.5 / np.sqrt(20_000)
    )


# Two senses


@given(rate=st.floats(0, 30), modality=st.sampled_from(["visual", "auditory", "both"]))
def test_each_sense_shows_the_rate_on_its_two_channels(rate, modality):
    task = MultisensoryIntegration(rates=(rate,), noise_std=0.0)
    trials = task.draw(12, np.random.default_rng(0)).select(slice(None))
    these = trials.conditions["modality"] == modality
    distance = (rate - 12.5) / 12.5
    pair = [(1 - distance) / 2, (1 + distance) / 2]
    visual = pair if modality != "auditory" else [0, 0]
    auditory = pair if modality != "visual" else [0, 0]
    during = trials.in_epoch("stimulus")[0]
    shown = trials.inputs[these][:, during]
    np.testing.assert_allclose(shown, np.broadcast_to([1, *visual, *auditory], shown.shape), atol=1e-6)
    assert not trials.inputs[:, ~during, 1:].any()
    if rate != 12.5:
        assert (trials.conditions["target_choice"] == (2 if rate > 12.5 else 1)).all()


def test_noise_is_only_in_the_senses_that_are_served():
    trials = MultisensoryIntegration().draw(20_000, np.random.default_rng(0))
    modality = trials.conditions["modality"]
    during = trials.in_epoch("stimulus")[0]
    assert not trials.inputs[modality == "visual"][..., 3:].any()
    assert not trials.inputs[modality == "auditory"][..., 1:3].any()
    both = trials.inputs[modality == "both"][:, during, 1:]
    distance = trials.conditions["rate_difference"][modality == "both"][:, None, None] / 12.5
    noise = both - 0.5 * (1 + distance * np.array([-1, 1, -1, 1]))
    assert noise.std() == pytest.approx(3 / np.sqrt(20), rel=4 / np.sqrt(2 * noise.size))
    correlation = np.corrcoef(noise.reshape(-1, 4).T)
    assert np.abs(correlation - np.eye(4)).max() < 5 / np.sqrt(noise.size / 4)


def test_two_senses_are_better_than_one_by_the_root_of_two():
    task = MultisensoryIntegration()
    trials = task.draw(20_000, np.random.default_rng(6))
    for modality, n_senses in (("visual", 1), ("auditory", 1), ("both", 2)):
        assert agrees(task, trials, trials.conditions["modality"] == modality)
        share = task.ideal_accuracy({"modality": np.array([modality]), "event_rate": np.array([14.0])})
        assert share[0] == pytest.approx(norm.cdf(1.5 / 12.5 * np.sqrt(n_senses * 1000 / 2) / 3))
    alone, _, together = task.ideal_accuracy(task.factorial().conditions).reshape(3, 8).mean(axis=1)
    assert (alone, together) == (pytest.approx(0.8363, abs=1e-4), pytest.approx(0.8853, abs=1e-4))


def test_the_boundary_has_no_right_answer():
    trials = MultisensoryIntegration(rates=(12.5,)).draw(20_000, np.random.default_rng(0))
    assert (trials.conditions["target_choice"] == 1).mean() == pytest.approx(
        0.5, abs=4 * 0.5 / np.sqrt(20_000)
    )


# Confidence


def test_the_sure_target_is_offered_in_half_of_the_trials_after_the_first_delay():
    trials = PostDecisionWager().draw(20_000, np.random.default_rng(0))
    offered = trials.conditions["offered"]
    assert offered.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(20_000))
    assert not trials.inputs[~offered][..., 3].any()
    late = trials.in_epoch("delay_2") | trials.in_epoch("response")
    np.testing.assert_array_equal(trials.inputs[..., 3], late & offered[:, None])
    first, second = trials.conditions["delay_1_duration"], trials.conditions["delay_2_duration"]
    assert set(first) == set(second) == {500.0, 550.0, 600.0, 650.0, 700.0}


def test_sure_is_right_where_the_posterior_of_the_shown_evidence_is_below_the_sure_reward():
    task = PostDecisionWager()
    trials = task.draw(2000, np.random.default_rng(1))
    step_variance = task.noise_std**2 / task.dt
    for trial in range(2000):
        during = trials.in_epoch("stimulus")[trial]
        shown = trials.inputs[trial, during].astype(float)
        likelihood = np.zeros(2)
        for side, strength in product((-1, 1), task.coherences):
            # Every step of both streams, not their sum only.
            means = 0.5 * (1 + side * strength / 100 * np.array([-1, 1]))
            squared = ((shown[:, 1:3] - means) ** 2).sum()
            likelihood[(side + 1) // 2] += np.exp(-squared / (2 * step_variance))
        confidence = likelihood.max() / likelihood.sum()
        assert trials.conditions["confidence"][trial] == pytest.approx(confidence, abs=1e-5)
        sure = trials.conditions["offered"][trial] and confidence < 0.7
        expected = 3 if sure else trials.conditions["direction"][trial]
        assert trials.conditions["target_choice"][trial] == expected
        assert trials.targets[trial, trials.valid[trial]][-1] == expected
        difference = (shown[:, 2] - shown[:, 1]).sum()
        assert trials.conditions["evidence"][trial] == pytest.approx(difference, abs=1e-5)


def test_confidence_is_how_often_the_likelier_side_is_right():
    trials = PostDecisionWager().draw(60_000, np.random.default_rng(2))
    confidence = trials.conditions["confidence"]
    right = np.where(trials.conditions["evidence"] > 0, 2, 1) == trials.conditions["direction"]
    for low in np.arange(0.5, 1.0, 0.1):
        these = (confidence >= low) & (confidence < low + 0.1)
        error = 0.5 / np.sqrt(these.sum())
        assert right[these].mean() == pytest.approx(confidence[these].mean(), abs=4 * error)


def test_the_wager_pays_only_where_the_ideal_observer_takes_it():
    task = PostDecisionWager()
    trials = task.draw(20_000, np.random.default_rng(3))
    conditions = trials.conditions
    choices = task.ideal_choices(trials)
    assert set(choices) == {1, 2, 3}
    taken = choices == task.SURE
    assert not taken[~conditions["offered"]].any()
    likelier = np.where(conditions["evidence"] > 0, 2, 1)
    reward = (likelier == conditions["direction"]).astype(float)
    best = np.where(taken, task.sure_reward, reward)[conditions["offered"]].mean()
    assert best > reward[conditions["offered"]].mean() + 0.03
    assert best > task.sure_reward + 0.03
    # The better the evidence, the less is the sure target taken; waived, accuracy is higher than unasked.
    shares = [
        taken[conditions["offered"] & (conditions["coherence"] == c)].mean() for c in (0, 6.4, 12.8, 51.2)
    ]
    assert (np.diff(shares) < 0).all()
    assert 0.55 < shares[0] < 0.7
    waived = conditions["offered"] & ~taken
    assert reward[waived].mean() > reward[~conditions["offered"]].mean() + 0.05


@pytest.mark.parametrize("offered", [False, True])
@pytest.mark.parametrize("strength", [0.0, 3.2, 12.8])
def test_the_wagers_formula_holds_in_each_condition(offered, strength):
    task = PostDecisionWager()
    trials = task.draw(20_000, np.random.default_rng(7))
    these = (trials.conditions["offered"] == offered) & (trials.conditions["coherence"] == strength)
    assert agrees(task, trials, these)


def test_the_bound_is_where_the_chance_to_be_right_is_the_sure_reward():
    task = PostDecisionWager(sure_reward=0.8)
    n_steps = np.array([2, 5, 18])
    odds = np.exp(task._log_odds(task._bound(n_steps), n_steps))
    np.testing.assert_allclose(odds / (1 + odds), 0.8, rtol=1e-9)
    blind = PostDecisionWager(coherences=(0.0,)).draw(200, np.random.default_rng(0))
    assert (blind.conditions["target_choice"][blind.conditions["offered"]] == 3).all()
    assert agrees(blind.task, blind)


def test_without_noise_only_zero_coherence_leaves_doubt():
    trials = PostDecisionWager(noise_std=0.0).draw(500, np.random.default_rng(0))
    sure = trials.conditions["target_choice"] == 3
    np.testing.assert_array_equal(sure, trials.conditions["offered"] & (trials.conditions["coherence"] == 0))


# Hidden rule


def attempts(trials):
    """Return what a trial's inputs show, attempt by attempt, told by a loop over steps."""
    told = []
    for trial in range(trials.n_trials):
        flashes, feedback, answered = [], [], []
        for step in np.flatnonzero(trials.valid[trial]):
            channel = trials.inputs[trial, step]
            if channel[1]:
                flashes.append(step)
            for answer in (1, 2):
                if channel[1 + answer]:
                    feedback.append((step, answer))
            if not channel[0]:
                answered.append((step, trials.targets[trial, step]))
            else:
                assert trials.targets[trial, step] == 0
        told.append((flashes, feedback, answered))
    return told


def test_attempts_follow_the_rules_told_by_a_loop():
    task = HierarchicalReasoning()
    trials = task.draw(200, np.random.default_rng(0))
    for trial, (flashes, feedback, answered) in enumerate(attempts(trials)):
        own = {name: values[trial] for name, values in trials.conditions.items()}
        rule = own["first_rule"]
        assert len(flashes) == 12
        assert len(feedback) == len(answered) == 6
        for k in range(6):
            if own["switch"] == k + 1:
                rule = "long_toward" if rule == "short_toward" else "short_toward"
            assert own[f"rule_{k + 1}"] == rule
            first, second = flashes[2 * k : 2 * k + 2]
            assert (second - first - 1) * 100 == own[f"interval_shown_{k + 1}"]
            short = own[f"interval_{k + 1}"] < 800
            right = 1 if short == (rule == "short_toward") else 2
            assert own[f"target_choice_{k + 1}"] == right
            assert answered[k] == (second + 1, right)
            assert feedback[k] == (second + 2, right)


def test_what_is_drawn_for_an_attempt_is_drawn_evenly():
    trials = HierarchicalReasoning().draw(20_000, np.random.default_rng(0))
    conditions = trials.conditions
    error = 4.5 / np.sqrt(20_000)
    for k in (1, 4, 6):
        for interval in (500, 600, 700, 900, 1000, 1100):
            assert (conditions[f"interval_{k}"] == interval).mean() == pytest.approx(1 / 6, abs=0.38 * error)
        assert (conditions[f"target_choice_{k}"] == 1).mean() == pytest.approx(0.5, abs=0.5 * error)
    # Floored to steps of 100 ms, the mean of what is shown lies half a step lower.
    these = conditions["interval_2"] == 1000
    spread = 100 / np.sqrt(these.sum())
    assert conditions["interval_shown_2"][these].mean() == pytest.approx(950, abs=5 * spread)
    assert conditions["interval_shown_2"][these].std() == pytest.approx(np.sqrt(1e4 + 1e4 / 12), rel=0.03)


def test_nothing_is_asked_in_the_first_response():
    task = HierarchicalReasoning()
    trials = task.draw(20, np.random.default_rng(0))
    first = trials.in_epoch("response_1")
    np.testing.assert_array_equal(trials.mask, trials.valid & ~first)
    outputs = trials.ideal_outputs()
    outputs[first] = 0
    assert (task.score(outputs, trials) == 1).all()


def test_the_score_is_the_share_of_right_answers_after_the_first():
    task = HierarchicalReasoning()
    trials = task.draw(4, np.random.default_rng(0))
    outputs = trials.ideal_outputs()
    outputs[0][trials.in_epoch("response_3")[0]] = 0  # silent
    wrong = trials.in_epoch("response_2")[1] | trials.in_epoch("response_6")[1]
    outputs[1][wrong] = outputs[1][wrong][:, [0, 2, 1]]
    outputs[2][trials.in_epoch("stimulus_3")[2]] = [0, 9, 0]  # outside the responses nothing counts
    outputs[3] = 0
    np.testing.assert_allclose(task.score(outputs, trials), [0.8, 0.6, 1, 0])
    turns = task.choices_in_turn(outputs, trials)
    assert turns[0, 2] == NO_CHOICE
    assert (turns[3] == NO_CHOICE).all()


def ideal_by_loop(task, trials, trial):
    """The observer by enumeration: each course of the rule, each interval that may have been."""
    intervals, rules = np.array(task.intervals), ("short_toward", "long_toward")
    courses = {(rule, switch): 1.0 for rule in rules for switch in task.switches}
    choices = []
    for k in range(1, task.n_attempts + 1):
        shown = trials.conditions[f"interval_shown_{k}"][trial]
        low = -np.inf if shown == task.dt else shown
        chance = norm.cdf(shown + task.dt, intervals, task.interval_noise * intervals)
        chance -= norm.cdf(low, intervals, task.interval_noise * intervals)
        short = chance[intervals < task.boundary].sum() / chance.sum()
        total = toward = 0.0
        chances = {}
        for (rule, switch), weight in courses.items():
            switched = switch > 0 and k >= switch
            chances[rule, switch] = short if (rule == rules[0]) != switched else 1 - short
            total, toward = total + weight, toward + weight * chances[rule, switch]
        # Equal intervals with opposite feedback cancel: then either answer is as good.
        tied = abs(2 * toward - total) < 1e-9 * total
        choices.append(0 if tied else 1 if 2 * toward > total else 2)
        right = trials.conditions[f"target_choice_{k}"][trial]
        for course in courses:
            courses[course] *= chances[course] if right == 1 else 1 - chances[course]
    return choices


def test_the_observer_of_the_hidden_rule_is_that_of_an_enumeration():
    task = HierarchicalReasoning(interval_noise=0.15)
    trials = task.draw(300, np.random.default_rng(5))
    ideal = task.ideal_answers(trials)
    expected = np.array([ideal_by_loop(task, trials, trial) for trial in range(300)])
    decided = expected > 0
    assert decided[:, 1:].mean() > 0.98
    np.testing.assert_array_equal(ideal[decided], expected[decided])


def test_the_observer_of_the_hidden_rule_is_right_as_often_as_the_data_sheet_says():
    task = HierarchicalReasoning()
    trials = task.draw(20_000, np.random.default_rng(0))
    answers = np.stack([trials.conditions[f"target_choice_{k}"] for k in range(1, 7)], axis=1)
    right = task.ideal_answers(trials) == answers
    assert right[:, 0].mean() == pytest.approx(0.5, abs=0.015)
    assert right[:, 1:].mean() == pytest.approx(0.797, abs=0.004)
    # Just after a switch nobody can know; two attempts later the rule is told again.
    switch = trials.conditions["switch"]
    after = right[switch == 4]
    assert after[:, 3].mean() < 0.45
    assert after[:, 5].mean() > after[:, 3].mean() + 0.2
    assert right[switch == 0][:, 1].mean() > 0.85


def test_without_noise_or_switches_the_rule_is_certain_after_one_feedback():
    task = HierarchicalReasoning(interval_noise=0.0, switches=(0,))
    trials = task.draw(500, np.random.default_rng(0))
    answers = np.stack([trials.conditions[f"target_choice_{k}"] for k in range(1, 7)], axis=1)
    assert (task.ideal_answers(trials) == answers)[:, 1:].all()


@pytest.mark.parametrize(
    "task", [ContextDecisionMaking(), MultisensoryIntegration(), PostDecisionWager(), HierarchicalReasoning()]
)
def test_constant_inputs_are_inputs_that_occur_without_noise(task):
    quiet = type(task)(noise_std=0) if "noise_std" in type(task).__dataclass_fields__ else task
    if isinstance(task, MultisensoryIntegration):
        quiet = MultisensoryIntegration(rates=(12.5,), noise_std=0)
    shown = np.unique(quiet.draw(100, np.random.default_rng(0)).inputs.reshape(-1, task.n_inputs), axis=0)
    for constant in task.constant_inputs().values():
        assert (shown == constant).all(axis=1).any()


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        (ContextDecisionMaking, {"coherences": (-5.0,)}, "`coherences` must be strengths in percent"),
        (ContextDecisionMaking, {"response": 10.0}, r"`response` must last at least 1 step of dt = 20\.0 ms"),
        (MultisensoryIntegration, {"boundary": 0.0}, "`boundary` must be a positive number of events per"),
        (
            MultisensoryIntegration,
            {"rates": ()},
            r"`rates` must be events per second .*, got \(\): give a tuple",
        ),
        (MultisensoryIntegration, {"rates": (-1.0,)}, "`rates` must be events per second of at least 0"),
        (MultisensoryIntegration, {"rates": ("fast",)}, "`rates` must be events per second"),
        (PostDecisionWager, {"sure_reward": 0.5}, r"`sure_reward` must lie between 0\.5 .*, got 0\.5"),
        (PostDecisionWager, {"sure_reward": 1.0}, r"`sure_reward` must lie between"),
        (PostDecisionWager, {"sure_reward": "much"}, "`sure_reward` must be a positive number"),
        (PostDecisionWager, {"coherences": ("weak",)}, "`coherences` must be strengths"),
        (
            HierarchicalReasoning,
            {"n_attempts": 1},
            "`n_attempts` must be a whole number of at least 2, got 1",
        ),
        (HierarchicalReasoning, {"boundary": 0}, "`boundary` must be a positive number of ms"),
        (HierarchicalReasoning, {"interval_noise": -1}, "`interval_noise` must be a number of at least 0"),
        (
            HierarchicalReasoning,
            {"intervals": (50.0,)},
            r"`intervals` must be durations of at least one step",
        ),
        (HierarchicalReasoning, {"intervals": ()}, r"`intervals` must be durations .*: give a tuple"),
        (HierarchicalReasoning, {"intervals": (800.0,)}, r"shorter or longer than the boundary of 800 ms"),
        (
            HierarchicalReasoning,
            {"switches": (1,)},
            r"`switches` must be attempts from 2 to 6, or 0 .*got \(1,\)",
        ),
        (HierarchicalReasoning, {"switches": (7,)}, "`switches` must be attempts from 2 to 6"),
        (HierarchicalReasoning, {"switches": ()}, "`switches` must be attempts from 2 to 6"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, parameters, sentence):
    with pytest.raises(InputError, match=sentence):
        kind(**parameters)
