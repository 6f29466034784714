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


def test_another_family_takes_what_it_knows_of_the_recipe():
    config = plan("perceptual_decision_making", {"network": {"family": "GRU"}})
    assert config.network.family == "GRU"
    assert config.network.hidden_size == nr.tasks.PerceptualDecisionMaking().recipe.network["hidden_size"]
    with pytest.raises(nr.InputError, match=r"unknown key 'network\.tau': "):
        plan("flip_flop", {"network": {"family": "GRU", "tau": 20.0}})
    with pytest.raises(nr.InputError, match=r"'network': expected a table whose family is one of 'RateRNN'"):
        plan("flip_flop", {"network": {"family": "GRUU"}})


@pytest.mark.parametrize(
    "network",
    [
        {"family": "LSTM", "n_layers": 2},
        {"rank": 2},
        {"activation": "relu", "tau": 50.0, "plasticity": "mixed", "excitatory_fraction": 0.75},
    ],
)
def test_networks_of_every_kind_can_be_studied(tmp_path, network):
    task = nr.tasks.FlipFlop(n_bits=1, duration=300.0)
    settings = {
        "network": {"hidden_size": 8, **network},
        "training": {"n_steps": 2, "batch_size": 4, "n_evaluation_trials": 8},
        "recording": {"n_trials": 12},
    }
    findings = nr.study(task, settings, directory=tmp_path / "run", progress=False)
    assert (findings.spectrum is None) == (network.get("family") == "LSTM")
    assert (tmp_path / "run" / "report.html").exists()
    assert nr.analyze(tmp_path / "run", progress=False).fixed_points.equals(findings.fixed_points)


def test_a_network_without_a_step_is_refused_before_it_is_trained(tmp_path):
    settings = {"network": {"bidirectional": True}}
    with pytest.raises(nr.InputError, match="a bidirectional network has no step to find fixed points of"):
        nr.study("flip_flop", settings, directory=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
