"""PsychRNN's networks: its equation in NumPy on weights saved as it saves them, and ours on the same file."""

import re
import zipfile

import numpy as np
import pytest
import torch

import neurornn as nr
from neurornn import CorruptFile, InputError, network_from_psychrnn
from neurornn.testing import check_network

N, N_IN, N_OUT = 20, 3, 2


def weights_of(rng, dale_ratio=None, *, masked=False, autapses=True):
    """Draw what model.get_weights() of PsychRNN 1.0 returns: the effective weights, and the constraints.

    By its source: effective weights are raw ones times connectivity, absolute under Dale's law and times the
    diagonal matrices then; `init_state` has a row, `dale_ratio` is None without Dale's law.
    """
    shapes = {"input": (N, N_IN), "rec": (N, N), "output": (N_OUT, N)}
    connected = {
        name: (rng.random(shape) < (0.7 if masked else 2)).astype("f4") for name, shape in shapes.items()
    }
    if not autapses:
        np.fill_diagonal(connected["rec"], 0)
    raw = {name: rng.standard_normal(shape).astype("f4") / N**0.5 for name, shape in shapes.items()}
    effective = {name: raw[name] * connected[name] for name in shapes}
    # Whatever the signs, no rectified network runs away: what runs away tells of rounding alone.
    effective["rec"] *= 0.9 / np.abs(np.linalg.eigvals(abs(effective["rec"]))).max().astype("f4")
    signs, read_out = np.ones(N, "f4"), np.ones(N, "f4")
    if dale_ratio is not None:
        signs[int(dale_ratio * N) :], read_out[int(dale_ratio * N) :] = -1, 0
    if dale_ratio:
        effective = {name: abs(own) for name, own in effective.items()}
        effective["rec"] = effective["rec"] @ np.diag(signs)
        effective["output"] = effective["output"] @ np.diag(read_out)
    return {
        "init_state": (0.1 + 0.01 * rng.standard_normal((1, N))).astype("f4"),
        "W_in": effective["input"],
        "W_rec": effective["rec"],
        "W_out": effective["output"],
        "b_rec": rng.standard_normal(N).astype("f4") / 10,
        "b_out": rng.standard_normal(N_OUT).astype("f4"),
        "Dale_rec": np.diag(signs),
        "Dale_out": np.diag(read_out),
        **{f"{name}_connectivity": own for name, own in connected.items()},
        "dale_ratio": dale_ratio,
    }


def run(weights, inputs, alpha, transfer):
    """Run the model of PsychRNN's `Basic`, as its `recurrent_timestep` and `output_timestep` say."""
    state = np.repeat(weights["init_state"], len(inputs), axis=0)
    states, outputs = [], []
    for k in range(inputs.shape[1]):
        driven = transfer(state) @ weights["W_rec"].T + inputs[:, k] @ weights["W_in"].T + weights["b_rec"]
        state = (1 - alpha) * state + alpha * driven
        states.append(state)
        outputs.append(transfer(state) @ weights["W_out"].T + weights["b_out"])
    return np.stack(outputs, 1), np.stack(states, 1)


TRANSFERS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def deviation(network, weights, inputs, alpha, transfer):
    outputs, states = run(weights, inputs, alpha, transfer)
    with torch.no_grad():
        ours = network(torch.from_numpy(inputs), return_states=True)
    wanted = outputs, transfer(states), states
    return max(np.abs(own.numpy() - other).max() for own, other in zip(ours, wanted, strict=True))


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("dale_ratio", [None, 0, 0.8, 1.0])
@pytest.mark.parametrize(("masked", "autapses"), [(False, True), (True, False)])
def test_the_saved_file_gives_the_same_outputs_and_states(tmp_path, transfer, dale_ratio, masked, autapses):
    rng = np.random.default_rng(0)
    weights = weights_of(rng, dale_ratio, masked=masked, autapses=autapses)
    np.savez(tmp_path / "weights.npz", **weights)
    inputs = rng.standard_normal((6, 50, N_IN)).astype("f4")
    network = network_from_psychrnn(tmp_path / "weights.npz", tau=100.0, dt=10.0, activation=transfer)
    assert network.recurrent_weight.dtype == torch.float32
    # Fifty steps in float32.
    assert deviation(network, weights, inputs, 0.1, TRANSFERS[transfer]) < 1e-5
    check_network(network)
    nr.save_network(network, tmp_path / "network")
    assert torch.equal(nr.load_network(tmp_path / "network").recurrent_weight, network.recurrent_weight)


def test_constraints_hold_in_further_training():
    rng = np.random.default_rng(1)
    weights = weights_of(rng, 0.8, masked=True, autapses=False)
    network = network_from_psychrnn(weights, tau=100.0, dt=20.0, noise_std=0.05)
    assert network.unit_labels["population"].tolist() == ["excitatory"] * 16 + ["inhibitory"] * 4
    assert network.noise_scale == pytest.approx((2 * 0.2) ** 0.5 * 0.05)
    optimiser = torch.optim.Adam(network.parameters(), 0.1)
    for _ in range(3):
        outputs, _ = network(torch.randn(4, 10, N_IN, generator=torch.Generator().manual_seed(0)))
        optimiser.zero_grad()
        outputs.square().sum().backward()
        optimiser.step()
    assert network.violations() == 0
    assert (network.recurrent_weight[weights["rec_connectivity"] == 0] == 0).all()
    assert (network.input_weight >= 0).all()
    assert not np.array_equal(network.recurrent_weight.detach(), weights["W_rec"])


@pytest.mark.parametrize("leak", [{"alpha": 0.3}, {"tau": [30.0 + k for k in range(N)], "dt": 10.0}])
def test_the_leak_may_be_given_alone_or_by_unit(leak):
    rng = np.random.default_rng(2)
    weights = weights_of(rng)
    inputs = rng.standard_normal((4, 30, N_IN)).astype("f4")
    network = network_from_psychrnn(weights, **leak)
    alpha = leak.get("alpha") or (10 / np.array(leak["tau"])).astype("f4")
    assert deviation(network, weights, inputs, alpha, TRANSFERS["relu"]) < 1e-5


def test_it_is_recorded_and_analysed():
    network = network_from_psychrnn(weights_of(np.random.default_rng(3), 0.8), tau=100.0, dt=20.0)
    trials = np.random.default_rng(0).standard_normal((5, 40, N_IN)).astype("f4")
    outputs, rates = network(torch.from_numpy(trials))
    activity = nr.activity_from_arrays(
        rates.detach(),
        dt=20.0,
        inputs=trials,
        outputs=outputs.detach().numpy(),
        unit_labels=network.unit_labels,
    )
    assert nr.population(activity, "inhibitory").sizes["unit"] == 4
    assert nr.analysis.pca(activity, 2).sizes["component"] == 2
    points = nr.analysis.find_fixed_points(network, np.zeros((4, N)), n_starts=16)
    assert points.sizes["fixed_point"] >= 1


def test_no_code_of_a_file_is_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('code ran')",)

    weights = weights_of(np.random.default_rng(0))
    np.savez(tmp_path / "bomb.npz", **{**weights, "dale_ratio": np.array(Bomb(), dtype=object)})
    assert network_from_psychrnn(tmp_path / "bomb.npz", alpha=0.1).hidden_size == N
    np.savez(tmp_path / "worse.npz", **{**weights, "W_rec": np.array([Bomb()], dtype=object)})
    with pytest.raises(InputError, match=re.escape("`W_rec` must hold real numbers, got an array of object")):
        network_from_psychrnn(tmp_path / "worse.npz", alpha=0.1)


def test_damage_is_told(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **weights_of(np.random.default_rng(0)))
    assert network_from_psychrnn(tmp_path / "weights", alpha=0.1).hidden_size == N
    data = bytearray(path.read_bytes())
    place = zipfile.ZipFile(path).getinfo("W_rec.npy").header_offset + 300
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"weights.npz' is damaged \(Bad CRC-32.*take another copy"):
        network_from_psychrnn(path, alpha=0.1)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"weights.npz' is no .npz file: pass the one that PsychRNN"):
        network_from_psychrnn(path, alpha=0.1)
    with pytest.raises(InputError, match="there is no file"):
        network_from_psychrnn(tmp_path / "nowhere", alpha=0.1)


def changed(**changes):
    own = {**weights_of(np.random.default_rng(0)), **changes}
    return {name: value for name, value in own.items() if value is not ...}


@pytest.mark.parametrize(
    ("weights", "leak", "sentence"),
    [
        (changed(), {}, "do not hold the leak: give `tau` and `dt` in ms, or `alpha`"),
        (changed(), {"tau": 100.0}, r"`tau` = 100.0 was given without `dt`"),
        (changed(W_f=np.ones(3)), {"alpha": 0.1}, "PsychRNN's LSTM, which squashes its cells by a sigmoid"),
        (changed(W_rec=...), {"alpha": 0.1}, r"PsychRNN's weights are W_in, .* and W_rec is missing"),
        (changed(b_rec=np.ones(3)), {"alpha": 0.1}, r"`b_rec` must have shape \(20,\) beside a `W_rec` of"),
        (changed(W_in=np.ones((3, 20))), {"alpha": 0.1}, r"`W_in` must have shape \(20, 20\) beside"),
        (changed(W_rec=np.full((N, N), np.nan)), {"alpha": 0.1}, "`W_rec` must be finite"),
        (
            changed(dale_ratio=..., Dale_rec=-np.eye(N)),
            {"alpha": 0.1},
            r"saved by a PsychRNN older than 1.0, .*: load them into PsychRNN 1.0 with their dale_ratio",
        ),
        (changed(dale_ratio=..., rec_Connectivity=np.ones((N, N))), {"alpha": 0.1}, "older than 1.0"),
        (
            changed(dale_ratio=0.8, Dale_rec=np.eye(N) / 2),
            {"alpha": 0.1},
            r"`Dale_rec` must have \+1 or -1 on its diagonal",
        ),
        (
            changed(dale_ratio=0.8, Dale_rec=-np.eye(N)),
            {"alpha": 0.1},
            r"has the wrong sign: by Dale's law",
        ),
        (
            changed(rec_connectivity=np.zeros((N, N))),
            {"alpha": 0.1},
            r"`recurrent_weight`\[0, 0\] = .* lies where the mask has no connection",
        ),
    ],
)
def test_what_is_no_network_of_psychrnns_is_one_sentence(weights, leak, sentence):
    with pytest.raises(InputError, match=sentence):
        network_from_psychrnn(weights, **leak)


def test_without_a_word_on_dales_law_and_without_it_the_weights_are_taken():
    network = network_from_psychrnn(changed(dale_ratio=..., Dale_rec=..., Dale_out=...), alpha=0.1)
    assert network.unit_labels == {}
