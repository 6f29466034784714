import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurornn import InputError, RateRNN
from neurornn.networks.connectivity import Connection, LowRank, need_shape

NAN = float("nan")
SIGNS = np.array([1, 1, -1, 1, -1, 1, 1, -1])


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def thinned(rows, columns):
    """A mask that leaves about two thirds of the connections, and some to and from every unit."""
    return np.array([[float((i + 2 * j) % 3 > 0) for j in range(columns)] for i in range(rows)])


def held(rows, columns, value=0.25):
    """Values for some of the connections that `thinned` leaves, off the diagonal; NaN elsewhere."""
    i, j = np.indices((rows, columns))
    there = ((2 * i + j) % 4 == 0) & (thinned(rows, columns) > 0) & (i != j)
    return np.where(there, value * (1 + j), NAN)


def numbers(weight):
    return weight.detach().numpy()


def keeps_signs(weight, signs):
    return bool((weight * signs >= 0).all())


def keeps_mask(weight, mask):
    return bool((weight[mask == 0] == 0).all())


def keeps_held(weight, fixed):
    there = ~np.isnan(fixed)
    return bool((weight[there] == fixed[there].astype(weight.dtype)).all())


def keeps_rank(weight, rank):
    singular = np.linalg.svd(weight.astype(np.float64), compute_uv=False)
    # The entries are rounded to float32, which leaves about 1e-7 of the largest singular value.
    return bool((singular[rank:] <= 1e-5 * singular[0]).all())


# Options of RateRNN(3, 8, 2), and what must be true of the effective (recurrent, input, output) weights, in
# words of its own: nothing here asks the package what is allowed.
PARAMETRISATIONS = {
    "absolute": (
        {"activation": "relu", "signs": SIGNS},
        lambda w, i, o: keeps_signs(w, SIGNS),
    ),
    "rectified": (
        {"activation": "relu", "signs": SIGNS, "dale": "rectified"},
        lambda w, i, o: keeps_signs(w, SIGNS),
    ),
    "masks": (
        {"recurrent_mask": thinned(8, 8), "input_mask": thinned(8, 3), "output_mask": thinned(2, 8)},
        lambda w, i, o: (
            keeps_mask(w, thinned(8, 8)) and keeps_mask(i, thinned(8, 3)) and keeps_mask(o, thinned(2, 8))
        ),
    ),
    "fixed": (
        {"recurrent_fixed": held(8, 8), "input_fixed": held(8, 3), "output_fixed": held(2, 8)},
        lambda w, i, o: keeps_held(w, held(8, 8)) and keeps_held(i, held(8, 3)) and keeps_held(o, held(2, 8)),
    ),
    "nonnegative inputs": (
        {"nonnegative_inputs": True},
        lambda w, i, o: bool((i >= 0).all()),
    ),
    "nonnegative rectified inputs": (
        {"nonnegative_inputs": True, "dale": "rectified", "input_mask": thinned(8, 3)},
        lambda w, i, o: bool((i >= 0).all()) and keeps_mask(i, thinned(8, 3)),
    ),
    "readout from excitatory units": (
        {"activation": "relu", "excitatory_fraction": 0.75, "readout_from": "excitatory"},
        lambda w, i, o: keeps_signs(w, np.repeat([1, -1], [6, 2])) and not o[:, 6:].any(),
    ),
    "no autapses": (
        {"autapses": False},
        lambda w, i, o: not np.diag(w).any(),
    ),
    "signs, mask, held values and no autapses": (
        {
            "activation": "relu",
            "signs": SIGNS,
            "dale": "rectified",
            "recurrent_mask": thinned(8, 8),
            "recurrent_fixed": held(8, 8) * SIGNS,
            "autapses": False,
        },
        lambda w, i, o: (
            keeps_held(w, held(8, 8) * SIGNS)
            and keeps_signs(w, SIGNS)
            and keeps_mask(w, thinned(8, 8) * (1 - np.eye(8)))
        ),
    ),
    "weight norm, mask and held values": (
        {"weight_norm": True, "recurrent_mask": thinned(8, 8), "input_fixed": held(8, 3)},
        lambda w, i, o: keeps_mask(w, thinned(8, 8)) and keeps_held(i, held(8, 3)),
    ),
    "low rank": ({"rank": 2}, lambda w, i, o: keeps_rank(w, 2)),
}


def build(options, **more):
    return RateRNN(3, 8, 2, alpha=0.5, engine="torch", seed=4, **options, **more)


def effective(net):
    return tuple(numbers(own) for own in (net.recurrent_weight, net.input_weight, net.output_weight))


# Constraints hold, whatever the optimiser does --------------------------------------------------------


@pytest.mark.parametrize("options", PARAMETRISATIONS)
def test_a_thousand_wild_optimiser_steps_break_no_constraint(options):
    given, holds = PARAMETRISATIONS[options]
    net = build(given)
    assert holds(*effective(net))
    begin = copy.deepcopy(net)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    inputs = draw(4, 2, 3, dtype=torch.float32)
    targets = draw(4, 2, 2, seed=1, dtype=torch.float32)
    crossed = False
    for _ in range(1000):
        optimiser.zero_grad()
        penalty = 0.01 * net.recurrent_weight.abs().sum() + 0.01 * net.input_weight.square().sum()
        ((net(inputs)[0] - targets).square().mean() + penalty).backward()
        optimiser.step()
        with torch.no_grad():
            # And a push that pays no heed to any gradient.
            for parameter in net.parameters():
                crossed |= bool((parameter < 0).any())
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).sign())
        assert net.violations() == 0
        assert holds(*effective(net))
    assert crossed, "no raw weight ever had a sign to lose"
    assert all(np.isfinite(weight).all() for weight in effective(net))
    moved = [np.abs(a - b).max() for a, b in zip(effective(net), effective(begin), strict=True)]
    assert min(moved) > 1e-3


@settings(max_examples=40)
@given(
    options=st.sampled_from(list(PARAMETRISATIONS)),
    how=st.sampled_from(["add", "replace", "flip", "scale", "zero"]),
    magnitude=st.floats(-6, 15),
    seed=st.integers(0, 1000),
)
def test_no_wrong_step_on_the_raw_numbers_breaks_a_constraint(options, how, magnitude, seed):
    given, holds = PARAMETRISATIONS[options]
    net = build(given)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            huge = 10**magnitude * torch.randn(parameter.shape, generator=generator)
            changed = {
                "add": parameter + huge,
                "replace": huge,
                "flip": -parameter,
                "scale": parameter * 10**magnitude,
                "zero": parameter * (huge > 0),
            }
            parameter.copy_(changed[how])
    assert net.violations() == 0
    assert all(np.isfinite(weight).all() for weight in effective(net))
    assert holds(*effective(net))


def test_violations_counts_what_a_user_plants_behind_the_parametrisation():
    connection = Connection(torch.ones(3, 3), mask=~torch.eye(3, dtype=torch.bool), signs=torch.ones(3))
    assert connection.violations() == 0
    # Only by taking the constraint itself away can an effective weight come to break it.
    connection._constrained = lambda weight: weight
    with torch.no_grad():
        connection.raw.copy_(torch.tensor([[1.0, -1.0, 2.0], [0.0, 0.0, -3.0], [1.0, 1.0, 0.0]]))
    # [0, 0] lies off the mask, [0, 1] and [1, 2] have the wrong sign.
    assert connection.violations() == 3


@pytest.mark.parametrize("signs", [None, torch.tensor([1.0, -1.0])])
def test_a_raw_weight_beyond_all_numbers_does_not_come_through_a_mask(signs):
    mask = torch.tensor([[False, True], [True, True]])
    connection = Connection(torch.zeros(2, 2), mask=mask, signs=signs)
    with torch.no_grad():
        connection.raw[0, 0] = torch.inf
    assert connection.weight[0, 0] == 0
    assert connection.violations() == 0
    connection.weight.sum().backward()
    assert connection.raw.grad[0, 0] == 0


# The weights one asks for -----------------------------------------------------------------------------


@pytest.mark.parametrize("dale", ["absolute", "rectified"])
def test_all_weights_of_a_unit_have_its_sign(dale):
    net = RateRNN(3, 40, 2, activation="relu", excitatory_fraction=0.8, dale=dale, seed=1)
    weight = numbers(net.recurrent_weight)
    assert (weight[:, :32] >= 0).all()
    assert (weight[:, 32:] <= 0).all()
    # And none of them is zero to begin with, where signs would tell nothing.
    assert (weight != 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dale", ["absolute", "rectified"])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist])
def test_the_first_effective_weights_are_exactly_those_that_were_asked_for(dale, dtype, kind):
    mask, fixed = thinned(8, 8), held(8, 8) * SIGNS
    wanted = np.abs(draw(8, 8).numpy()) * SIGNS * mask
    wanted = np.where(np.isnan(fixed), wanted, fixed)
    output = draw(2, 8, seed=2).numpy()
    net = RateRNN(
        3,
        8,
        2,
        activation="relu",
        signs=SIGNS,
        dale=dale,
        recurrent_mask=mask,
        recurrent_fixed=fixed,
        recurrent_initialisation=kind(wanted),
        output_initialisation=kind(output),
        dtype=dtype,
    )
    rounded = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    np.testing.assert_array_equal(numbers(net.recurrent_weight), wanted.astype(rounded))
    np.testing.assert_array_equal(numbers(net.output_weight), output.astype(rounded))
    assert net.violations() == 0


def test_first_weights_that_break_a_constraint_are_refused_with_their_place():
    good = np.abs(draw(8, 8).numpy()) * SIGNS
    wrong = good.copy()
    wrong[5, 2] = 1.5
    with pytest.raises(
        InputError,
        match=r"^`recurrent_initialisation`\[5, 2\] = 1\.5 has the wrong sign: by Dale's law all weights "
        r"from one unit have its sign, columns are presynaptic$",
    ):
        build({"activation": "relu", "signs": SIGNS, "recurrent_initialisation": wrong})
    with pytest.raises(
        InputError,
        match=r"^`recurrent_initialisation`\[3, 3\] = .* lies where the mask has no connection: set it to 0$",
    ):
        build({"recurrent_mask": 1 - np.diag(np.arange(8) == 3), "recurrent_initialisation": good})
    fixed = np.full((8, 8), NAN)
    fixed[6, 7] = 0.125
    with pytest.raises(
        InputError,
        match=r"^`recurrent_initialisation`\[6, 7\] = .* is held at another value by the fixed entries: give "
        r"that value$",
    ):
        build({"recurrent_fixed": fixed, "recurrent_initialisation": good})
    with pytest.raises(InputError, match=r"`input_initialisation`\[0, 1\] = -2 has the wrong sign"):
        build({"nonnegative_inputs": True, "input_initialisation": [[1.0, -2.0, 0.0]] + 7 * [[1.0] * 3]})
    with pytest.raises(InputError, match=r"`output_initialisation`\[1, 7\] = 1 lies where the mask has no"):
        build(
            {
                "activation": "relu",
                "signs": SIGNS,
                "readout_from": "excitatory",
                "output_initialisation": np.eye(2, 8) + np.eye(2, 8, 6),
            }
        )


def test_weights_are_assigned_exactly_as_arrays_tensors_or_another_networks_parameters():
    donor = RateRNN(3, 8, 2, seed=9)
    for values in (
        draw(8, 8).float().numpy(),
        draw(8, 8, seed=1).float(),
        draw(8, 8, seed=2, dtype=torch.float32).tolist(),
        donor.layers[0].recurrent.raw,
        donor.recurrent_weight,
    ):
        net = RateRNN(3, 8, 2)
        names = [name for name, _ in net.named_parameters()]
        net.recurrent_weight = values
        assert torch.equal(net.recurrent_weight, torch.as_tensor(values))
        # It has been copied: neither is changed by the other from now on, and no new part was made of it.
        assert [name for name, _ in net.named_parameters()] == names
        assert net.recurrent_weight.data_ptr() != torch.as_tensor(values).data_ptr()
    net.input_weight, net.output_weight, net.bias = donor.input_weight, donor.output_weight, donor.bias + 1
    assert torch.equal(net.input_weight, donor.input_weight)
    assert torch.equal(net.output_weight, donor.output_weight)
    assert torch.equal(net.bias, torch.ones(8))


@pytest.mark.parametrize("options", [name for name in PARAMETRISATIONS if "norm" not in name])
def test_what_a_network_says_its_weights_are_can_be_assigned_to_its_twin(options):
    given, _ = PARAMETRISATIONS[options]
    net, twin = build(given), build({**given})
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.copy_(draw(*parameter.shape, seed=3))
    net.input_weight, net.output_weight = twin.input_weight, twin.output_weight
    assert torch.equal(net.input_weight, twin.input_weight)
    assert torch.equal(net.output_weight, twin.output_weight)
    if "rank" not in given:
        net.recurrent_weight = twin.recurrent_weight
        assert torch.equal(net.recurrent_weight, twin.recurrent_weight)


def test_weights_that_do_not_fit_are_refused_when_they_are_assigned():
    net = build({"activation": "relu", "signs": SIGNS, "recurrent_initialisation": np.zeros((8, 8))})
    for name, shape in (("recurrent_weight", (8, 8)), ("input_weight", (8, 3)), ("output_weight", (2, 8))):
        text = str(shape).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(InputError, match=rf"`{name}` must have shape {text}, got \(8, 7\)"):
            setattr(net, name, np.zeros((8, 7)))
        bad = np.zeros(shape)
        bad[1, 2] = NAN
        with pytest.raises(InputError, match=rf"`{name}` must be finite, got nan at index \(1, 2\)"):
            setattr(net, name, bad)
    with pytest.raises(InputError, match=r"`bias` must have shape \(8,\), got \(7,\)"):
        net.bias = np.zeros(7)
    # Whatever scheme they began with, what one assigns are weights.
    with pytest.raises(
        InputError, match=r"^`recurrent_weight`\[0, 2\] = 1 has the wrong sign: by Dale's law"
    ):
        net.recurrent_weight = np.ones((8, 8))
    assert not net.recurrent_weight.any(), "a refused assignment must change nothing"
    with pytest.raises(InputError, match=r"`thing` must have shape \(2, 2\), got \(2,\)"):
        need_shape(torch.zeros(2), torch.zeros(2, 2), "thing")


def test_drawn_weights_keep_their_size_and_take_on_the_constraints():
    drawn, signs = draw(8, 8), torch.as_tensor(SIGNS, dtype=torch.float64)
    mask = torch.as_tensor(thinned(8, 8) > 0)
    fixed = torch.as_tensor(held(8, 8) * SIGNS)
    connection = Connection(drawn, signs=signs, mask=mask, fixed=fixed)
    wanted = torch.where(fixed.isnan(), drawn.abs() * signs * mask, fixed)
    assert torch.equal(connection.weight, wanted)


# Gradients --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("fixes", [False, True])
def test_gradients_act_on_the_raw_weights_by_the_chain_rule(rectified, masked, fixes):
    signs, pull = torch.as_tensor(SIGNS, dtype=torch.float64), draw(8, 8, seed=5)
    mask = torch.as_tensor(thinned(8, 8) > 0) if masked else None
    fixed = torch.as_tensor(held(8, 8) * SIGNS) if fixes else None
    connection = Connection(
        torch.ones(8, 8).double(), signs=signs, rectified=rectified, mask=mask, fixed=fixed
    )
    raw = draw(8, 8, seed=6)
    raw[2, 3] = raw[5, 5] = 0
    with torch.no_grad():
        connection.raw.copy_(raw)
    (connection.weight * pull).sum().backward()
    wanted = pull * signs * ((raw > 0) if rectified else torch.sign(raw))
    if masked:
        wanted = wanted * mask
    if fixes:
        wanted = wanted * fixed.isnan()
    assert torch.equal(connection.raw.grad, wanted)
    assert (wanted != 0).sum() > 10


def test_gradients_of_a_network_reach_the_raw_weights_by_the_same_rule():
    net = build(PARAMETRISATIONS["signs, mask, held values and no autapses"][0], dtype=torch.float64)
    inputs = draw(5, 6, 3)
    free = RateRNN(3, 8, 2, activation="relu", alpha=0.5, dtype=torch.float64)
    for name in ("recurrent_weight", "input_weight", "output_weight"):
        setattr(free, name, getattr(net, name))
    for network in (net, free):
        network(inputs)[0].square().sum().backward()
    raw = net.layers[0].recurrent.raw
    allowed = (thinned(8, 8) > 0) & (np.eye(8) == 0) & np.isnan(held(8, 8))
    wanted = free.recurrent_weight.grad.numpy() * SIGNS * (numbers(raw) > 0) * allowed
    # The same sums in float64, in the same order.
    np.testing.assert_allclose(raw.grad, wanted, rtol=1e-12, atol=1e-14)
    assert (wanted != 0).sum() > 5


@pytest.mark.parametrize(("power", "slope"), [(1, np.sign), (2, lambda w: 2 * w)])
@pytest.mark.parametrize("options", ["absolute", "rectified", "masks", "fixed"])
def test_penalties_act_on_the_effective_weights(options, power, slope):
    net = build(PARAMETRISATIONS[options][0], dtype=torch.float64)
    raw = net.layers[0].recurrent.raw
    with torch.no_grad():
        raw.copy_(draw(8, 8, seed=8))
    net.recurrent_weight.abs().pow(power).sum().backward()
    weight, own = numbers(net.recurrent_weight), numbers(raw)
    by_raw = {
        "absolute": SIGNS * np.sign(own),
        "rectified": SIGNS * (own > 0),
        "masks": thinned(8, 8),
        "fixed": np.isnan(held(8, 8)),
    }[options]
    np.testing.assert_allclose(raw.grad, slope(weight) * by_raw, rtol=1e-14)
    # A raw weight that has no effect is not penalised.
    assert not raw.grad[torch.as_tensor(by_raw == 0)].any()


# Dead weights -----------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_the_dead_share_is_that_of_free_rectified_weights_without_a_gradient(seed, share):
    mask, fixed = torch.as_tensor(thinned(8, 8) > 0), torch.as_tensor(held(8, 8) * SIGNS)
    connection = Connection(
        torch.ones(8, 8).double(),
        signs=torch.as_tensor(SIGNS, dtype=torch.float64),
        rectified=True,
        mask=mask,
        fixed=fixed,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        drawn = torch.rand(8, 8, generator=generator, dtype=torch.float64)
        connection.raw.copy_(drawn - share)
        # Some of them exactly at the kink.
        connection.raw[drawn < share / 3] = 0
    connection.weight.sum().backward()
    free = mask & fixed.isnan()
    dead = free & (connection.raw <= 0)
    assert torch.equal(free & (connection.raw.grad == 0), dead)
    assert connection.dead_share() == int(dead.sum()) / int(free.sum())


def test_a_network_tells_the_largest_dead_share_and_none_where_nothing_is_rectified():
    net = build({"activation": "relu", "signs": SIGNS, "dale": "rectified", "nonnegative_inputs": True})
    assert net.dead_share() == 0
    with torch.no_grad():
        net.layers[0].recurrent.raw[:2] = -1
        net.layers[0].input.raw[:6] = 0
    assert net.dead_share() == 6 / 8
    for options in ("absolute", "masks", "low rank"):
        assert build(PARAMETRISATIONS[options][0]).dead_share() is None
    nothing_free = Connection(torch.zeros(1, 1), signs=torch.ones(1), rectified=True, fixed=torch.ones(1, 1))
    assert nothing_free.dead_share() == 0


# Weight normalisation ---------------------------------------------------------------------------------


def test_weight_normalisation_is_torchs_in_value_and_gradient():
    start, pull = draw(5, 7), draw(5, 7, seed=1)
    ours = Connection(start, normalised=True, given=True)
    theirs = nn.Linear(7, 5, bias=False, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(start)
    nn.utils.parametrizations.weight_norm(theirs)
    magnitude, direction = theirs.parametrizations.weight.parameters()
    for step in range(3):
        # One rounding in each of two orders.
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-14, atol=1e-15)
        for weight in (ours.weight, theirs.weight):
            (torch.sin(weight) * pull).sum().backward()
        torch.testing.assert_close(ours.scale.grad[:, None], magnitude.grad, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(ours.raw.grad, direction.grad, rtol=1e-12, atol=1e-14)
        with torch.no_grad():
            for one, other in ((ours.raw, direction), (ours.scale, magnitude)):
                one.add_(draw(*one.shape, seed=step))
                other.copy_(one.view_as(other))
                one.grad = other.grad = None


def test_weight_normalised_weights_are_those_asked_for_within_rounding_and_rows_have_their_length():
    wanted = draw(8, 8).numpy() * thinned(8, 8)
    fixed = held(8, 8)
    wanted = np.where(np.isnan(fixed), wanted, fixed)
    net = build(
        {
            "weight_norm": True,
            "recurrent_mask": thinned(8, 8),
            "recurrent_fixed": fixed,
            "recurrent_initialisation": wanted,
        },
        dtype=torch.float64,
    )
    np.testing.assert_allclose(numbers(net.recurrent_weight), wanted, rtol=1e-14)
    net.recurrent_weight = wanted[:, ::-1][:, ::-1]
    np.testing.assert_allclose(numbers(net.recurrent_weight), wanted, rtol=1e-14)
    connection = net.layers[0].recurrent
    with torch.no_grad():
        connection.scale.copy_(torch.arange(1.0, 9.0))
        connection.raw.copy_(draw(8, 8, seed=1))
    free = np.where(np.isnan(fixed), numbers(net.recurrent_weight), 0)
    np.testing.assert_allclose(np.linalg.norm(free, axis=1), np.arange(1.0, 9.0), rtol=1e-14)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"activation": "relu", "signs": SIGNS, "recurrent_fixed": -held(8, 8) * SIGNS},
            "`recurrent_weight`.* has the wrong sign: by Dale's law",
        ),
        (
            {"recurrent_mask": 1 - thinned(8, 8), "recurrent_fixed": held(8, 8)},
            "`recurrent_weight`.* lies where the mask has no connection",
        ),
        (
            {"autapses": False, "recurrent_fixed": np.where(np.eye(8) > 0, 1.0, NAN)},
            r"`recurrent_weight`\[0, 0\] = 1 lies where the mask has no connection",
        ),
        ({"nonnegative_inputs": True, "input_fixed": -held(8, 3)}, "`input_weight`.* has the wrong sign"),
    ],
)
def test_a_held_value_that_breaks_another_constraint_is_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        build(options)


@pytest.mark.parametrize("options", [{"density": 0.3}, {"areas": {"A": 4, "B": 4}}])
def test_chance_does_not_take_away_what_is_held(options):
    fixed = held(8, 8)
    net = build({"recurrent_fixed": fixed, **options})
    assert keeps_held(numbers(net.recurrent_weight), fixed)
    assert net.violations() == 0


def test_held_and_missing_weights_have_no_part_in_a_normalised_row():
    mask, fixed = torch.as_tensor(thinned(4, 5) > 0), torch.as_tensor(held(4, 5))
    connection = Connection(draw(4, 5), mask=mask, fixed=fixed, normalised=True)
    (connection.weight * draw(4, 5, seed=1)).sum().backward()
    free = mask & fixed.isnan()
    assert not connection.raw.grad[~free].any()
    assert connection.raw.grad[free].all()
    before = connection.weight.detach()
    with torch.no_grad():
        connection.raw[~free] = 1e6
    assert torch.equal(connection.weight, before)


def test_a_normalised_row_without_connections_or_of_zeros_is_zero_and_has_finite_gradients():
    mask = torch.tensor([[False] * 3, [True] * 3, [True] * 3])
    weight = torch.tensor([[0.0] * 3, [0.0] * 3, [1.0, 2.0, 2.0]])
    connection = Connection(weight, mask=mask, normalised=True, given=True)
    # 3 is the length of the last row, so all of it is exact.
    assert torch.allclose(connection.weight, weight, rtol=1e-6, atol=0)
    assert connection.scale.tolist() == [0, 0, 3]
    connection.weight.sum().backward()
    assert connection.raw.grad.isfinite().all()
    assert connection.scale.grad.isfinite().all()


# Low rank ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_low_rank_weights_are_the_product_of_their_factors_over_the_number_of_units(rank):
    net = RateRNN(3, 8, 2, rank=rank, dtype=torch.float64, seed=2)
    m, n = net.layers[0].recurrent.m, net.layers[0].recurrent.n
    assert m.shape == n.shape == (8, rank)
    wanted = np.zeros((8, 8))
    for i in range(8):
        for j in range(8):
            wanted[i, j] = sum(numbers(m)[i, k] * numbers(n)[j, k] for k in range(rank)) / 8
    np.testing.assert_allclose(numbers(net.recurrent_weight), wanted, rtol=1e-13, atol=1e-15)
    assert np.linalg.matrix_rank(wanted) == rank
    assert np.linalg.matrix_rank(numbers(net.recurrent_weight)) == rank
    pull = draw(8, 8, seed=1)
    (net.recurrent_weight * pull).sum().backward()
    torch.testing.assert_close(m.grad, pull @ n.detach() / 8, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(n.grad, pull.T @ m.detach() / 8, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dynamics", ["rate", "current", "leak_inside"])
def test_a_network_of_low_rank_is_the_network_with_that_matrix(dynamics):
    net = RateRNN(3, 8, 2, rank=2, gain=3.0, dynamics=dynamics, alpha=0.4, dtype=torch.float64)
    full = RateRNN(3, 8, 2, dynamics=dynamics, alpha=0.4, dtype=torch.float64)
    for name in ("recurrent_weight", "input_weight", "output_weight"):
        setattr(full, name, getattr(net, name))
    inputs = draw(4, 10, 3)
    outputs, rates = net(inputs)
    # Two products in another order, over ten steps.
    torch.testing.assert_close(outputs, full(inputs)[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(rates, full(inputs)[1], rtol=0, atol=1e-12)
    m, n = net.layers[0].recurrent.m, net.layers[0].recurrent.n
    for network in (net, full):
        network(inputs)[0].square().sum().backward()
    torch.testing.assert_close(m.grad, full.recurrent_weight.grad @ n.detach() / 8, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(n.grad, full.recurrent_weight.grad.T @ m.detach() / 8, rtol=1e-10, atol=1e-12)


def test_factors_of_low_rank_have_entries_of_unit_variance_and_the_gain():
    m, n = (getattr(RateRNN(0, 2000, 0, rank=2, gain=1.5).layers[0].recurrent, k).detach() for k in "mn")
    # 4000 draws: the standard deviation of a standard deviation is about 1.1 per cent.
    assert float(m.std()) == pytest.approx(1, rel=0.04)
    assert float(n.std()) == pytest.approx(1.5, rel=0.04)


def test_what_low_rank_cannot_have_is_refused():
    net = RateRNN(3, 8, 2, rank=2)
    with pytest.raises(
        InputError,
        match=r"^the recurrent weights have low rank, W = m n' / N: set the factors in "
        r"network\.layers\[0\]\.recurrent\.m and \.n in place$",
    ):
        net.recurrent_weight = np.zeros((8, 8))
    with pytest.raises(InputError, match=r"`recurrent_weight` must have shape \(8, 8\), got \(2, 2\)"):
        net.recurrent_weight = np.zeros((2, 2))
    with pytest.raises(
        InputError, match="`rank` must be at most hidden_size = 8, got 9: choose a smaller one"
    ):
        RateRNN(3, 8, 2, rank=9)
    with pytest.raises(InputError, match="'rank': input should be greater than or equal to 1, got 0"):
        RateRNN(3, 8, 2, rank=0)
    with pytest.raises(
        InputError,
        match=r"weights of low rank begin with Gaussian vectors: set others in "
        r"network\.layers\[0\]\.recurrent\.m and \.n, and leave out `recurrent_initialisation`",
    ):
        RateRNN(3, 8, 2, rank=2, recurrent_initialisation=np.zeros((8, 8)))
    plain = LowRank(torch.ones(3, 1), torch.ones(3, 1))
    assert plain.violations() == 0
    assert plain.dead_share() is None
