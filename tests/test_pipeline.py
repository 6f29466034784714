import pytest

import neurornn as nr
from neurornn.config import RunConfig
from neurornn.pipeline import plan


def test_a_plan_is_the_recipe_and_what_differs_from_it():
    config = plan("flip_flop", {"training": {"n_steps": 7}}, seed=5)
    recipe = nr.tasks.FlipFlop().recipe
    assert config.training.n_steps == 7
    assert config.training.learning_rate == recipe.training["learning_rate"]
    assert config.network.hidden_size == recipe.network["hidden_size"]
    assert config.network.seed == config.training.seed == config.recording.seed == 5


def test_a_plan_with_tau_takes_the_tasks_dt():
    assert plan("flip_flop", {"network": {"tau": 50.0}}).network.dt == nr.tasks.FlipFlop().dt


def test_a_plan_survives_its_own_dictionary():
    config = plan("delayed_comparison")
    assert RunConfig.from_dict(config.to_dict()) == config
    rebuilt = nr.tasks.get(config.task.name, **config.to_dict()["task"]["parameters"])
    assert rebuilt == nr.tasks.DelayedComparison()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"n_step": 3}}, "unknown key 'training.n_step': did you mean 'n_steps'"),
        ({"train": {}}, "unknown key 'train': did you mean 'training'"),
        ({"training": 3}, "'training' must be a table of settings, got 3"),
        ({"network": {"tau": -1.0}}, "'network.tau': input should be greater than 0, got -1.0"),
    ],
)
def test_mistakes_are_told_in_one_sentence(settings, message):
    with pytest.raises(nr.InputError, match=message):
        plan("flip_flop", settings)


def test_a_network_that_never_chooses_has_no_psychometric_curve(tmp_path):
    settings = {
        "network": {"hidden_size": 4},
        "training": {"n_steps": 0, "n_evaluation_trials": 8},
        "recording": {"n_trials": 20},
    }
    task = nr.tasks.PerceptualDecisionMaking(coherences=(51.2,))
    findings = nr.study(task, settings, directory=tmp_path / "run", progress=False)
    assert findings.psychometric is None
    assert not (tmp_path / "run" / "analysis" / "psychometric.nc").exists()


def test_what_is_no_task_is_refused():
    with pytest.raises(nr.InputError, match="`task` must be a task or a registered name, got int"):
        nr.study(3)
