import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurornn import InputError, RateRNN, build_network, record, seeding
from neurornn.config import RateConfig
from neurornn.networks.wiring import wire
from neurornn.tasks import FlipFlop

NAN = float("nan")
AREAS = {"V1": 60, "PFC": 40}


def numbers(weight):
    return weight.detach().numpy()


def mask_of(net):
    """Where the network has recurrent connections, as told by the weights: none of those drawn is 0."""
    return numbers(net.recurrent_weight) != 0


def block(net, target, source):
    """The connections from one area to another."""
    area = net.unit_labels["area"]
    return mask_of(net)[np.ix_(area == target, area == source)]


def within_error(count, n_draws, share, deviations=4.5):
    """Whether a binomial count is within so many standard deviations: 7 in a million are not."""
    return abs(count - n_draws * share) <= deviations * np.sqrt(n_draws * share * (1 - share))


# Signs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "fraction", "excitatory"), [(10, 0.8, 8), (64, 0.75, 48), (7, 0.5, 4), (5, 1.0, 5), (3, 0.4, 1)]
)
def test_the_share_of_excitatory_units_is_rounded_and_they_come_first(n, fraction, excitatory):
    net = RateRNN(2, n, 1, activation="relu", excitatory_fraction=fraction)
    assert net.unit_labels["sign"].tolist() == [1] * excitatory + [-1] * (n - excitatory)
    wanted = ["excitatory"] * excitatory + ["inhibitory"] * (n - excitatory)
    assert net.unit_labels["population"].tolist() == wanted
    columns = numbers(net.recurrent_weight)
    assert (columns[:, :excitatory] >= 0).all()
    assert (columns[:, excitatory:] <= 0).all()


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, lambda s: np.array(s, dtype=float)])
def test_signs_are_given_unit_by_unit_in_any_order_and_kind(kind):
    signs = [1, -1, -1, 1, 1]
    net = RateRNN(2, 5, 1, activation="relu", signs=kind(signs))
    assert net.unit_labels["sign"].tolist() == signs
    weight = numbers(net.recurrent_weight)
    assert (np.sign(weight) == signs).all()
    twin = build_network(net.config.to_dict())
    assert torch.equal(twin.recurrent_weight, net.recurrent_weight)


def test_excitatory_units_come_first_in_every_area():
    net = RateRNN(2, 30, 1, activation="relu", excitatory_fraction=0.8, areas={"A": 10, "B": 20})
    assert net.unit_labels["sign"].tolist() == [1] * 8 + [-1] * 2 + [1] * 16 + [-1] * 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"signs": [1, -1]}, "`signs` must have one entry for each of 4 units, got 2"),
        ({"signs": [1, -1, 0, 1]}, r"`signs` must be \+1 \(excitatory\) or -1 \(inhibitory\), got 0"),
        ({"signs": [1, -1, 0.5, 1]}, r"`signs` must be \+1 \(excitatory\) or -1 \(inhibitory\), got 0\.5"),
        ({"signs": [1, NAN, 1, 1]}, r"'signs\.1': input should be a finite number, got nan"),
        (
            {"signs": [1, 1, -1, -1], "excitatory_fraction": 0.5},
            "give Dale's law either as `excitatory_fraction` or as `signs`, got both",
        ),
        ({"excitatory_fraction": 1.5}, "'excitatory_fraction': input should be less than or equal to 1"),
        ({"excitatory_fraction": 0.0}, "'excitatory_fraction': input should be greater than 0"),
        (
            {"readout_from": "excitatory"},
            "`readout_from` = 'excitatory' needs Dale's law: give `excitatory_fraction` or `signs`",
        ),
        ({"dale": "rectified"}, "`dale` = 'rectified' needs Dale's law: give `excitatory_fraction` or `sig"),
        ({"readout_from": "inhibitory"}, "'readout_from': input should be 'all' or 'excitatory'"),
        ({"dale": "squared"}, "'dale': input should be 'absolute' or 'rectified'"),
    ],
)
def test_signs_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        RateRNN(2, 4, 1, activation="relu", **options)


def test_rectified_weights_need_signs_of_units_or_of_inputs():
    assert RateRNN(2, 4, 1, dale="rectified", nonnegative_inputs=True).dead_share() == 0


# Masks and held weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist, lambda m: m.astype(bool)])
def test_a_mask_is_given_as_any_kind_of_matrix_and_decides_what_connections_there_are(kind):
    masks = {
        "input_mask": np.array([[1, 0], [0, 1], [1, 1]]),
        "recurrent_mask": np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]]),
        "output_mask": np.array([[0, 1, 1], [1, 0, 0]]),
    }
    net = RateRNN(2, 3, 2, **{name: kind(mask) for name, mask in masks.items()})
    for name, mask in masks.items():
        weight = numbers(getattr(net, name.replace("mask", "weight")))
        np.testing.assert_array_equal(weight != 0, mask.astype(bool))
    assert torch.equal(build_network(net.config.to_dict()).recurrent_weight, net.recurrent_weight)


def test_held_weights_are_held_and_the_others_are_as_they_would_have_been():
    fixed = np.full((3, 3), NAN)
    fixed[0, 1], fixed[2, 2] = 0.5, 0
    net, free = RateRNN(2, 3, 2, recurrent_fixed=fixed, seed=3), RateRNN(2, 3, 2, seed=3)
    wanted = np.where(np.isnan(fixed), numbers(free.recurrent_weight), fixed.astype(np.float32))
    np.testing.assert_array_equal(numbers(net.recurrent_weight), wanted)
    twin = build_network(net.config.to_dict())
    np.testing.assert_array_equal(numbers(twin.recurrent_weight), wanted)


@pytest.mark.parametrize(
    ("connection", "shape", "text"),
    [("input", (4, 2), r"\(4, 2\)"), ("recurrent", (4, 4), r"\(4, 4\)"), ("output", (3, 4), r"\(3, 4\)")],
)
def test_matrices_that_do_not_fit_are_refused(connection, shape, text):
    def build(what, matrix):
        return RateRNN(2, 4, 3, **{f"{connection}_{what}": matrix})

    for what in ("mask", "fixed", "initialisation"):
        name = f"{connection}_{what}"
        with pytest.raises(InputError, match=rf"`{name}` must have shape {text} \(to, from\), got \(5, 5\)"):
            build(what, np.ones((5, 5)))
        with pytest.raises(InputError, match=rf"'{name}': .* matrix of real numbers, not float64 of \(2,\)"):
            build(what, np.ones(2))
        with pytest.raises(InputError, match=rf"`{name}` must be finite, got inf at index \(1, 0\)"):
            build(what, np.where(np.arange(shape[0])[:, None] == 1, np.inf, np.ones(shape)))
    for what in ("mask", "initialisation"):
        with pytest.raises(InputError, match=rf"`{connection}_{what}` must be finite, got nan at index"):
            build(what, np.full(shape, NAN))
    half = np.ones(shape)
    half[1, 1] = 0.5
    with pytest.raises(
        InputError,
        match=rf"^`{connection}_mask` must hold 1 \(a connection\) and 0 \(none\), got 0\.5: to hold weights "
        rf"at a value, use `{connection}_fixed`$",
    ):
        build("mask", half)


def test_a_scheme_that_does_not_exist_or_does_not_fit_is_refused():
    with pytest.raises(
        InputError, match=r"unknown input_initialisation 'gausian': .*did you mean 'gaussian'"
    ):
        RateRNN(2, 4, 1, input_initialisation="gausian")
    with pytest.raises(
        InputError,
        match="`recurrent_initialisation` = 'balanced_gamma' balances excitation and inhibition: give "
        "`excitatory_fraction` or `signs`, or take another scheme",
    ):
        RateRNN(2, 4, 1, recurrent_initialisation="balanced_gamma")
    with pytest.raises(InputError, match="`output_initialisation` = 'balanced_gamma' balances"):
        RateRNN(2, 4, 1, activation="relu", excitatory_fraction=0.5, output_initialisation="balanced_gamma")


# Density ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.05, 0.3, 0.9])
def test_a_density_leaves_its_share_of_connections_and_the_spectrum_its_radius(density):
    net = RateRNN(2, 400, 1, density=density, gain=1.2, dtype=torch.float64, seed=1)
    there = mask_of(net)
    assert within_error(there.sum(), 400**2, density)
    for axis in (0, 1):
        # Rows and columns are 400 draws each: their counts spread as a binomial's, the standard deviation of
        # 400 of them within 4 standard errors, each 1 / sqrt(800).
        spread = there.sum(axis).std() / np.sqrt(400 * density * (1 - density))
        assert spread == pytest.approx(1, abs=0.14)
    weight = numbers(net.recurrent_weight)
    # The variance of those there is gain^2 / (N density); 4 standard errors of 8000 draws are 6 per cent.
    assert weight[there].var() == pytest.approx(1.2**2 / (400 * density), rel=0.07)
    # Girko's disc: at N = 400 its edge is within a few per cent.
    assert np.abs(np.linalg.eigvals(weight)).max() == pytest.approx(1.2, rel=0.1)


@pytest.mark.parametrize("scheme", ["gaussian", "uniform", "glorot"])
def test_thinned_weights_are_the_full_ones_times_the_root_of_what_is_left(scheme):
    options = {"recurrent_initialisation": scheme, "seed": 5, "dtype": torch.float64}
    thin, full = RateRNN(2, 30, 1, density=0.4, **options), RateRNN(2, 30, 1, **options)
    there = mask_of(thin)
    wanted = numbers(full.recurrent_weight) / np.sqrt(there.mean()) * there
    np.testing.assert_allclose(numbers(thin.recurrent_weight), wanted, rtol=1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {"density": 0.3},
        {"recurrent_mask": np.tril(np.ones((20, 20)))},
        {"autapses": False},
        {"activation": "relu", "excitatory_fraction": 0.7},
        {"activation": "relu", "excitatory_fraction": 0.7, "density": 0.3},
    ],
)
def test_a_spectral_radius_is_that_of_the_weights_that_are_left(options):
    net = RateRNN(
        2, 20, 1, recurrent_initialisation="spectral_radius", gain=0.9, dtype=torch.float64, **options
    )
    radius = np.abs(np.linalg.eigvals(numbers(net.recurrent_weight))).max()
    assert radius == pytest.approx(0.9, rel=1e-9)


@pytest.mark.parametrize("density", [0.0, 1.5, -0.1, NAN])
def test_a_density_that_is_no_share_is_refused(density):
    with pytest.raises(InputError, match="'density': input should be"):
        RateRNN(2, 4, 1, density=density)


def test_autapses_are_the_diagonal_and_go_together_with_a_density():
    net = RateRNN(2, 60, 1, autapses=False, density=0.5)
    assert not np.diag(mask_of(net)).any()
    assert within_error(mask_of(net).sum(), 60 * 59, 0.5)


# Seeds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"density": 0.5}, {"areas": {"A": 15, "B": 15}, "projections": {"A -> B": 0.5}}]
)
def test_one_seed_makes_the_same_connections_and_another_one_others(options):
    first, again, other = (RateRNN(2, 30, 1, seed=seed, **options) for seed in (1, 1, 2))
    assert torch.equal(first.recurrent_weight, again.recurrent_weight)
    assert (mask_of(first) != mask_of(other)).sum() > 50


def test_connections_are_drawn_from_a_stream_of_their_own():
    # Drawn from that of the weights, which connections there are would tell something of their weights.
    uniform = torch.rand(30, 30, generator=seeding.torch_stream(6, seeding.CONNECTIONS)).numpy()
    np.testing.assert_array_equal(mask_of(RateRNN(2, 30, 1, density=0.4, seed=6)), uniform < 0.4)


def test_drawing_connections_does_not_shift_the_stream_of_the_weights():
    full = RateRNN(2, 30, 1, seed=4)
    for options in ({"density": 0.5}, {"areas": {"A": 15, "B": 15}, "projections": {"A -> B": 0.5}}):
        thin = RateRNN(2, 30, 1, seed=4, **options)
        assert torch.equal(thin.input_weight, full.input_weight)
        assert torch.equal(thin.output_weight, full.output_weight)
        there = mask_of(thin)
        ratio = numbers(thin.recurrent_weight)[there] / numbers(full.recurrent_weight)[there]
        # One factor for all of them, within the rounding of float32.
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_drawing_connections_advances_no_global_generator(random_states):
    before = random_states()
    RateRNN(2, 30, 1, density=0.5, activation="relu", excitatory_fraction=0.8)
    RateRNN(2, 30, 1, areas={"A": 15, "B": 15}, projections={"A -> B": 0.5})
    assert random_states() == before


def test_density_and_precision_do_not_change_which_connections_there_are():
    single, double = (RateRNN(2, 30, 1, density=0.5, dtype=t) for t in (torch.float32, torch.float64))
    np.testing.assert_array_equal(mask_of(single), mask_of(double))


# Areas ------------------------------------------------------------------------------------------------


def test_areas_are_whole_within_and_unconnected_unless_there_is_a_projection():
    net = RateRNN(2, 100, 1, areas=AREAS)
    assert net.unit_labels["area"].tolist() == ["V1"] * 60 + ["PFC"] * 40
    assert block(net, "V1", "V1").all()
    assert block(net, "PFC", "PFC").all()
    assert not block(net, "PFC", "V1").any()
    assert not block(net, "V1", "PFC").any()


@pytest.mark.parametrize("arrow", ["{} -> {}", "{}->{}", " {}  ->  {} "])
def test_projections_have_their_densities_block_by_block(arrow):
    shares = {("V1", "PFC"): 0.2, ("PFC", "V1"): 0.7, ("V1", "V1"): 0.5}
    table = {arrow.format(*ends): share for ends, share in shares.items()}
    net = RateRNN(2, 100, 1, areas=AREAS, projections=table, seed=2)
    for (source, target), share in shares.items():
        found = block(net, target, source)
        assert within_error(found.sum(), found.size, share)
    assert block(net, "PFC", "PFC").all()
    assert torch.equal(build_network(net.config.to_dict()).recurrent_weight, net.recurrent_weight)


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4), seed=st.integers(0, 100), data=st.data())
def test_whole_and_absent_projections_are_exact_for_any_areas(sizes, seed, data):
    names = [f"area {k}" for k in range(len(sizes))]
    pairs = [(source, target) for source in names for target in names]
    chosen = data.draw(st.dictionaries(st.sampled_from(pairs), st.sampled_from([0.0, 1.0])))
    table = {f"{source} -> {target}": share for (source, target), share in chosen.items()}
    net = RateRNN(1, sum(sizes), 1, areas=dict(zip(names, sizes, strict=True)), projections=table, seed=seed)
    for source, target in pairs:
        share = chosen.get((source, target), float(source == target))
        assert (block(net, target, source) == bool(share)).all()


@pytest.mark.parametrize("density", [1.0, 0.5])
def test_by_dales_law_only_excitatory_units_project_to_other_areas(density):
    net = RateRNN(
        2,
        100,
        1,
        activation="relu",
        excitatory_fraction=0.75,
        areas=AREAS,
        projections={"V1 -> PFC": density, "PFC -> V1": density},
    )
    for target, source in (("PFC", "V1"), ("V1", "PFC")):
        area, sign = net.unit_labels["area"], net.unit_labels["sign"]
        found, signs = block(net, target, source), sign[area == source]
        assert not found[:, signs < 0].any()
        long_range = found[:, signs > 0]
        assert long_range.all() if density == 1 else within_error(long_range.sum(), long_range.size, 0.5)
    # Inhibition within an area is as it was.
    assert block(net, "V1", "V1").all()


def test_areas_decide_who_receives_inputs_and_who_is_read_out():
    net = RateRNN(
        2, 100, 3, areas=AREAS, projections={"V1 -> PFC": 0.3}, input_areas=["V1"], output_areas=["PFC"]
    )
    assert (numbers(net.input_weight) != 0).tolist() == [[True] * 2] * 60 + [[False] * 2] * 40
    assert (numbers(net.output_weight) != 0).tolist() == [[False] * 60 + [True] * 40] * 3
    dale = RateRNN(
        2,
        100,
        3,
        activation="relu",
        excitatory_fraction=0.75,
        areas=AREAS,
        projections={"V1 -> PFC": 0.3},
        input_areas=("V1",),
        output_areas=("PFC",),
        readout_from="excitatory",
        input_mask=np.ones((100, 2)) * [1, 0],
    )
    assert (numbers(dale.output_weight) != 0).tolist() == [[False] * 60 + [True] * 30 + [False] * 10] * 3
    assert (numbers(dale.input_weight) != 0).tolist() == [[True, False]] * 60 + [[False] * 2] * 40


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"areas": {"V1": 60, "PFC": 30}},
            "the units of `areas` must add up to hidden_size = 100, got 90: change one",
        ),
        ({"areas": {"V1": 100, "PFC": 0}}, "a number of units of at least 1, got 'PFC': 0"),
        (
            {"areas": {"V1": 60.5, "PFC": 39.5}},
            "'areas': input should give 'V1' a whole number of units, got",
        ),
        ({"areas": {"V1 -> V2": 100}}, "`areas` must have names without '->' .* got 'V1 -> V2'"),
        ({"areas": {"V1->V2": 100}}, "`areas` must have names without '->' .* got 'V1->V2'"),
        ({"areas": {" V1": 100}}, "without blanks around them, got ' V1': `projections` are written with"),
        (
            {"areas": AREAS, "projections": {"V1 -> PCF": 0.1}},
            r"unknown area 'PCF': expected one of 'PFC', 'V1'; did you mean 'PFC'\?",
        ),
        (
            {"areas": AREAS, "projections": {"V1 PFC": 0.1}},
            r"`projections` are written \{'V1 -> PFC': 0\.2\}, got 'V1 PFC'",
        ),
        (
            {"areas": AREAS, "projections": {"V1 -> PFC -> V1": 0.1}},
            "`projections` are written .* got 'V1 ->",
        ),
        (
            {"areas": AREAS, "projections": {"V1 -> PFC": 1.1}},
            r"the density of the projection 'V1 -> PFC' must be from 0 to 1, got 1\.1",
        ),
        ({"areas": AREAS, "projections": {"V1 -> PFC": -0.1}}, r"must be from 0 to 1, got -0\.1"),
        ({"areas": AREAS, "projections": {"V1 -> PFC": NAN}}, "input should be a finite number, got nan"),
        (
            {"projections": {"V1 -> PFC": 0.1}},
            r"`projections` names areas: give `areas` too, for example areas=\{'V1': 32\}",
        ),
        ({"input_areas": ["V1"]}, "`input_areas` names areas: give `areas` too"),
        ({"output_areas": ["V1"]}, "`output_areas` names areas: give `areas` too"),
        (
            {"areas": AREAS, "input_areas": ["V2"]},
            r"unknown area in `input_areas`: 'V2': expected one of 'PFC', 'V1'; did you mean 'V1'\?",
        ),
        ({"areas": AREAS, "output_areas": ["pfc"]}, r"in `output_areas`: 'pfc': .* did you mean 'PFC'\?"),
    ],
)
def test_areas_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        RateRNN(2, 100, 1, **options)


# Outputs within reach ---------------------------------------------------------------------------------


def test_an_output_without_units_is_refused():
    for cut in (
        {"output_mask": [[1, 1, 1], [0, 0, 0]]},
        {"output_fixed": [[NAN] * 3, [0, 0, 0]]},
    ):
        with pytest.raises(
            InputError,
            match=r"^output channel 1 is cut off: no unit that it may see is left by the masks; give it at "
            "least one connection$",
        ):
            RateRNN(2, 3, 2, **cut)
    with pytest.raises(InputError, match="output channel 0 is cut off: no unit that it may see"):
        RateRNN(2, 3, 1, activation="relu", signs=[-1, -1, -1], readout_from="excitatory")
    with pytest.raises(InputError, match="output channel 0 is cut off: no unit that it may see"):
        RateRNN(
            2, 3, 1, activation="relu", signs=[1, -1, -1], readout_from="excitatory", output_mask=[[0, 1, 1]]
        )


CHAIN = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
"""From unit 0 to unit 1, to 2, to 3."""


def test_an_output_without_a_path_from_the_inputs_is_refused():
    ends = {"input_mask": [[1], [0], [0], [0]], "output_mask": [[0, 0, 0, 1]]}
    assert RateRNN(1, 4, 1, recurrent_mask=CHAIN, **ends).violations() == 0
    sentence = (
        "^output channel 0 is cut off: the masks leave no path to it from any input; add a connection on the "
        "way$"
    )
    for broken in (
        {"recurrent_mask": CHAIN.T},
        {"recurrent_mask": CHAIN * (np.arange(4) != 1)},
        {"recurrent_mask": CHAIN, "recurrent_fixed": np.where(np.eye(4, k=-2) + np.eye(4, k=-1), 0, NAN)},
        {"recurrent": False},
    ):
        with pytest.raises(InputError, match=sentence):
            RateRNN(1, 4, 1, **broken, **ends)
    with pytest.raises(InputError, match=sentence):
        RateRNN(1, 100, 1, areas=AREAS, input_areas=["V1"], output_areas=["PFC"])
    with pytest.raises(InputError, match=sentence):
        RateRNN(1, 4, 1, input_mask=np.zeros((4, 1)))


def test_paths_lead_through_held_weights_and_fed_back_outputs_and_no_inputs_need_none():
    ends = {"input_mask": [[1], [0], [0], [0]], "output_mask": [[0, 0, 0, 1]]}
    bridge = np.where(CHAIN, 0.5, NAN)
    net = RateRNN(1, 4, 1, recurrent_mask=np.eye(4) + CHAIN, recurrent_fixed=bridge, **ends)
    assert net(torch.ones(1, 4, 1))[0][0, 3, 0] != 0
    # Output 0 sees the input; what it says comes back to every unit, so output 1 hears of it a step later.
    fed_back = RateRNN(1, 2, 2, recurrent=False, feedback=True, input_mask=[[1], [0]], output_mask=np.eye(2))
    outputs = fed_back(torch.ones(1, 2, 1))[0][0]
    assert outputs[0, 1] == 0
    assert outputs[1, 1] != 0
    assert RateRNN(0, 4, 1, recurrent_mask=np.eye(4), output_mask=[[0, 0, 0, 1]]).input_size == 0
    with pytest.raises(InputError, match="output channel 0 is cut off: the masks leave no path"):
        RateRNN(1, 2, 1, recurrent=False, feedback=True, input_mask=[[1], [0]], output_mask=[[0, 1]])


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), density=st.floats(0.02, 0.5))
def test_networks_are_refused_exactly_where_no_input_moves_an_output(seed, density):
    rng = np.random.default_rng(seed)
    masks = {
        "input_mask": rng.random((6, 2)) < density,
        "recurrent_mask": rng.random((6, 6)) < density,
        "output_mask": rng.random((2, 6)) < density,
    }
    # Numbers of paths, by brute force: without signs nothing can cancel.
    reach = masks["input_mask"].astype(float)
    total = reach.copy()
    for _ in range(6):
        reach = masks["recurrent_mask"].astype(float) @ reach
        total += reach
    heard = (masks["output_mask"].astype(float) @ total).any(axis=1)
    if heard.all():
        assert RateRNN(2, 6, 2, **masks).violations() == 0
        return
    # An output that sees no unit at all is told first.
    alone = ~masks["output_mask"].any(axis=1)
    first = int(np.argmax(alone) if alone.any() else np.argmin(heard))
    reason = "no unit that it may see" if alone.any() else "the masks leave no path to it"
    with pytest.raises(InputError, match=f"output channel {first} is cut off: {reason}"):
        RateRNN(2, 6, 2, **masks)


# Labels -----------------------------------------------------------------------------------------------


def test_units_are_labelled_by_population_sign_area_and_direction():
    assert RateRNN(2, 4, 1).unit_labels == {}
    plain = RateRNN(2, 4, 1, activation="relu", excitatory_fraction=0.5, n_layers=2, bidirectional=True)
    labels = {name: values.tolist() for name, values in plain.unit_labels.items()}
    assert labels == {
        "population": ["excitatory", "excitatory", "inhibitory", "inhibitory"] * 2,
        "sign": [1, 1, -1, -1] * 2,
        "direction": ["forward"] * 4 + ["backward"] * 4,
    }
    wiring = wire(RateConfig(input_size=2, hidden_size=3, output_size=1, areas={"A": 2, "B": 1}))
    assert {name: values.tolist() for name, values in wiring.labels.items()} == {"area": ["A", "A", "B"]}
    assert wiring.signs is None


def test_by_dales_law_a_layer_above_sees_signed_units_in_both_directions():
    net = RateRNN(2, 4, 1, activation="relu", excitatory_fraction=0.5, n_layers=2, bidirectional=True)
    for above in net.layers[2:]:
        weight = numbers(above.input_weight)
        assert (np.sign(weight) == np.tile([1, 1, -1, -1], 2)).all()
    # And the readout of both directions sees the excitatory ones alone, if so asked.
    seen = RateRNN(
        2, 4, 1, activation="relu", excitatory_fraction=0.5, bidirectional=True, readout_from="excitatory"
    )
    assert (numbers(seen.output_weight) != 0).tolist() == [[True, True, False, False] * 2]


def test_labels_reach_the_recorded_dataset_as_coordinates_on_units():
    task = FlipFlop(n_bits=2, duration=100)
    net = RateRNN(
        2,
        10,
        2,
        activation="relu",
        excitatory_fraction=0.75,
        areas={"A": 6, "B": 4},
        projections={"A -> B": 0.5},
        input_areas=["A"],
    )
    activity = record(net, task, n_trials=3)
    for name, values in net.unit_labels.items():
        assert activity[name].dims == ("unit",)
        assert activity[name].values.tolist() == values.tolist()
    assert {"population", "sign", "area"} <= set(activity.coords)
    excitatory = activity.rate.where(activity.population == "excitatory", drop=True)
    assert excitatory.sizes["unit"] == 4 + 3
    assert activity.rate.sel(unit=activity.area == "B").sizes["unit"] == 4
    assert dict(json.loads(activity.attrs["neurornn"])["network"]["areas"]) == {"A": 6, "B": 4}
    both = record(RateRNN(2, 5, 2, bidirectional=True), task, n_trials=2)
    assert both.direction.values.tolist() == ["forward"] * 5 + ["backward"] * 5
    assert both.rate.sizes["unit"] == 10


def test_every_layer_and_direction_draws_connections_of_its_own():
    net = RateRNN(2, 30, 1, density=0.5, n_layers=2, bidirectional=True)
    masks = [layer.recurrent.mask for layer in net.layers]
    assert all(not torch.equal(masks[0], other) for other in masks[1:])
    # The lowest layer has those of a network of one.
    assert torch.equal(masks[0], RateRNN(2, 30, 1, density=0.5).layers[0].recurrent.mask)


def test_given_output_weights_of_two_directions_reach_both():
    weight = np.arange(1.0, 9.0).reshape(1, 8)
    net = RateRNN(2, 4, 1, bidirectional=True, output_initialisation=weight)
    np.testing.assert_array_equal(net.output_weight.detach(), weight)
    assert net(torch.ones(1, 3, 2))[0].shape == (1, 3, 1)
    with pytest.raises(InputError, match=r"`output_initialisation` must have shape \(1, 8\) .* got \(1, 4\)"):
        RateRNN(2, 4, 1, bidirectional=True, output_initialisation=weight[:, :4])
