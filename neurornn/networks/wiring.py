"""Which units a rate network has, and which connections between them: signs, areas, masks, held weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurornn import seeding
from neurornn.config import RateConfig, array_from_text
from neurornn.networks.connectivity import Connection
from neurornn.networks.initialisation import INITIALISATIONS, balanced_gamma, with_spectral_radius
from neurornn.vocabulary import InputError, need_finite, unknown_name

EXCITATORY, INHIBITORY = "excitatory", "inhibitory"
CONNECTIONS = ("input", "recurrent", "output")


@dataclass(frozen=True)
class Wiring:
    """The structure of a rate network, as its configuration asks for it.

    Attributes
    ----------
    signs : Tensor, shape (unit,), or None
        +1 for excitatory and -1 for inhibitory units; None without Dale's law.
    areas : list of str, or None
        The area of each unit.
    masks, fixed : dict of Tensor or None, each of shape (to, from)
        Under ``"input"``, ``"recurrent"`` and ``"output"``: where there are connections, and the weights that
        are held (NaN where free).
    """

    signs: Tensor | None
    areas: list[str] | None
    masks: dict[str, Tensor | None]
    fixed: dict[str, Tensor | None]

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Labels of the units, each of shape (unit,): population, sign and area, where there are such."""
        found: dict[str, np.ndarray] = {}
        if self.signs is not None:
            sign = self.signs.numpy().astype(int)
            found["population"] = np.where(sign > 0, EXCITATORY, INHIBITORY)
            found["sign"] = sign
        if self.areas is not None:
            found["area"] = np.array(self.areas)
        return found


def wire(config: RateConfig, layer: int = 0) -> Wiring:
    """Return the structure of a layer that a configuration asks for; connections are drawn from its seed.

    Raises
    ------
    InputError
        Where sizes or names do not fit, or an output is cut off.
    """
    n = config.hidden_size
    areas = _unit_areas(config)
    signs = _unit_signs(config, areas)
    fixed = {name: _given_fixed(config, name) for name in CONNECTIONS}
    drawn = _drawn_mask(config, areas, signs, layer)
    if drawn is not None and fixed["recurrent"] is not None:
        # Chance must not take away what is held.
        drawn |= ~fixed["recurrent"].isnan()
    autapses = None if config.autapses else ~torch.eye(n, dtype=torch.bool)
    recurrent = [own for own in (_given_mask(config, "recurrent"), drawn, autapses) if own is not None]
    seen = _seen_by_readout(config, areas, signs)
    output = _given_mask(config, "output")
    if seen is not None:
        output = seen.expand(config.output_size, n) if output is None else output & seen
    received = _of_areas(areas, config.input_areas, "input_areas")
    input = _given_mask(config, "input")
    if received is not None:
        received = received[:, None].expand(n, config.input_size)
        input = received if input is None else input & received
    masks = {
        "input": input,
        "recurrent": torch.stack(recurrent).all(0) if recurrent else None,
        "output": output,
    }
    wiring = Wiring(signs, areas, masks, fixed)
    _need_outputs_within_reach(config, wiring)
    return wiring


def _unit_areas(config: RateConfig) -> list[str] | None:
    if config.areas is None:
        for name in ("projections", "input_areas", "output_areas"):
            if getattr(config, name):
                raise InputError(f"`{name}` names areas: give `areas` too, for example areas={{'V1': 32}}")
        return None
    for name, size in config.areas:
        if "->" in name or name != name.strip():
            raise InputError(
                f"`areas` must have names without '->' and without blanks around them, got {name!r}: "
                "`projections` are written with these"
            )
        if size < 1:
            raise InputError(
                f"`areas` must give each name a number of units of at least 1, got {name!r}: {size}"
            )
    names = [name for name, _ in config.areas]
    if len(set(names)) < len(names):
        raise InputError(f"`areas` must have different names, got {', '.join(map(repr, names))}")
    total = sum(size for _, size in config.areas)
    if total != config.hidden_size:
        raise InputError(
            f"the units of `areas` must add up to hidden_size = {config.hidden_size}, got {total}: change one"
        )
    return [name for name, size in config.areas for _ in range(size)]


def _unit_signs(config: RateConfig, areas: list[str] | None) -> Tensor | None:
    """Return +1 and -1 for each unit; the excitatory ones come first in every area."""
    n, fraction = config.hidden_size, config.excitatory_fraction
    if config.signs is not None:
        if fraction is not None:
            raise InputError("give Dale's law either as `excitatory_fraction` or as `signs`, got both")
        if len(config.signs) != n:
            raise InputError(f"`signs` must have one entry for each of {n} units, got {len(config.signs)}")
        wrong = [sign for sign in config.signs if sign not in (1, -1)]
        if wrong:
            raise InputError(f"`signs` must be +1 (excitatory) or -1 (inhibitory), got {wrong[0]}")
        return torch.tensor(config.signs, dtype=torch.float64)
    if fraction is None:
        for name, default in (("readout_from", "all"), ("dale", "absolute")):
            if getattr(config, name) != default and not (name == "dale" and config.nonnegative_inputs):
                raise InputError(
                    f"`{name}` = {getattr(config, name)!r} needs Dale's law: give `excitatory_fraction` or "
                    "`signs`"
                )
        return None
    signs: list[float] = []
    for _, size in config.areas if config.areas is not None else [("", n)]:
        excitatory = round(fraction * size)
        signs += [1.0] * excitatory + [-1.0] * (size - excitatory)
    return torch.tensor(signs, dtype=torch.float64)


def _shape(config: RateConfig, name: str) -> tuple[int, int]:
    n = config.hidden_size
    return {"input": (n, config.input_size), "recurrent": (n, n), "output": (config.output_size, n)}[name]


def given_matrix(
    config: RateConfig, option: str, shape: tuple[int, int], *, may_be_nan: bool = False
) -> Tensor | None:
    """Return a matrix that a configuration holds as text, or None where it holds none.

    Raises
    ------
    InputError
        Where its shape is not the connection's, or it is not finite.
    """
    text = getattr(config, option)
    if text is None:
        return None
    array = array_from_text(text)
    if array.shape != shape:
        raise InputError(f"`{option}` must have shape {shape} (to, from), got {array.shape}")
    need_finite(np.nan_to_num(array, nan=0.0, posinf=np.inf, neginf=-np.inf) if may_be_nan else array, option)
    return torch.from_numpy(array.copy())


def _given_mask(config: RateConfig, connection: str) -> Tensor | None:
    mask = given_matrix(config, f"{connection}_mask", _shape(config, connection))
    if mask is None:
        return None
    wrong = mask[(mask != 0) & (mask != 1)]
    if len(wrong):
        raise InputError(
            f"`{connection}_mask` must hold 1 (a connection) and 0 (none), got {wrong[0].item():g}: to hold "
            f"weights at a value, use `{connection}_fixed`"
        )
    return mask.bool()


def _given_fixed(config: RateConfig, connection: str) -> Tensor | None:
    fixed = given_matrix(config, f"{connection}_fixed", _shape(config, connection), may_be_nan=True)
    return None if fixed is None else fixed.double()


def _drawn_mask(
    config: RateConfig, areas: list[str] | None, signs: Tensor | None, layer: int
) -> Tensor | None:
    """Draw which recurrent connections there are, by the areas' densities or the one for all."""
    share = _between_areas(config, areas, signs)
    if share is None and config.density < 1:
        share = torch.full(_shape(config, "recurrent"), config.density)
    if share is None:
        return None
    position = (layer,) if layer else ()
    stream = seeding.torch_stream(config.seed, seeding.CONNECTIONS, *position)
    return torch.rand(share.shape, generator=stream) < share


def _between_areas(config: RateConfig, areas: list[str] | None, signs: Tensor | None) -> Tensor | None:
    """Return the density at each connection by the table of projections; areas are whole within by default.

    By Dale's law only excitatory units project to other areas.
    """
    if areas is None or config.areas is None:
        return None
    names = [name for name, _ in config.areas]
    densities = {(name, name): 1.0 for name in names}
    for arrow, density in config.projections.items():
        ends = tuple(end.strip() for end in arrow.split("->"))
        if len(ends) != 2:
            raise InputError(f"`projections` are written {{'V1 -> PFC': 0.2}}, got {arrow!r}")
        for end in ends:
            if end not in names:
                unknown_name("area", end, names)
        if not 0 <= density <= 1:
            raise InputError(f"the density of the projection {arrow!r} must be from 0 to 1, got {density}")
        densities[ends[0], ends[1]] = density
    share = torch.tensor([[densities.get((source, target), 0.0) for source in areas] for target in areas])
    if signs is not None:
        local = torch.tensor([[source == target for source in areas] for target in areas])
        share = torch.where(local | (signs > 0), share, 0.0)
    return share


def _of_areas(areas: list[str] | None, chosen: Sequence[str] | None, option: str) -> Tensor | None:
    """Return which units lie in the chosen areas."""
    if areas is None or chosen is None:
        return None
    for name in chosen:
        if name not in areas:
            unknown_name(f"area in `{option}`:", name, set(areas))
    return torch.tensor([area in chosen for area in areas])


def _seen_by_readout(config: RateConfig, areas: list[str] | None, signs: Tensor | None) -> Tensor | None:
    seen = _of_areas(areas, config.output_areas, "output_areas")
    if config.readout_from == "excitatory" and signs is not None:
        seen = signs > 0 if seen is None else seen & (signs > 0)
    return seen


def _need_outputs_within_reach(config: RateConfig, wiring: Wiring) -> None:
    """Refuse masks that leave an output without units, or without a path from the inputs."""
    there: dict[str, Tensor] = {}
    for name in CONNECTIONS:
        mask, fixed = wiring.masks[name], wiring.fixed[name]
        there[name] = torch.ones(_shape(config, name), dtype=torch.bool) if mask is None else mask
        if fixed is not None:
            there[name] = torch.where(fixed.isnan(), there[name], fixed != 0)
    alone = ~there["output"].any(1)
    if alone.any():
        raise InputError(
            f"output channel {int(alone.nonzero()[0])} is cut off: no unit that it may see is left by the "
            "masks; give it at least one connection"
        )
    if not config.input_size:
        return
    reached = there["input"].any(1)
    if config.recurrent:
        for _ in range(config.hidden_size):
            further = reached | (there["recurrent"] & reached).any(1)
            if torch.equal(further, reached):
                break
            reached = further
    if config.feedback and (there["output"] & reached).any():
        # What one output says comes back to all units.
        reached[:] = True
    cut_off = ~(there["output"] & reached).any(1)
    if cut_off.any():
        raise InputError(
            f"output channel {int(cut_off.nonzero()[0])} is cut off: the masks leave no path to it from any "
            "input; add a connection on the way"
        )


def draw_connection(
    name: str,
    shape: tuple[int, int],
    wiring: Wiring | None,
    config: RateConfig,
    *,
    signs: Tensor | None,
    generator: torch.Generator,
) -> Connection:
    """Return a connection with initial weights by its scheme; without a wiring, free of masks.

    Parameters
    ----------
    name : {"input", "recurrent", "output"}
    shape : (int, int)
        Numbers of channels that it leads to and that it comes from.
    wiring : Wiring or None
    config : RateConfig
    signs : Tensor, shape (from,), or None
    generator : torch.Generator

    Raises
    ------
    InputError
        Where the scheme does not exist, or given weights do not fit or break a constraint.
    """
    dtype = getattr(torch, config.dtype)
    mask = wiring.masks[name] if wiring is not None else None
    fixed = wiring.fixed[name] if wiring is not None else None
    if mask is not None and mask.shape != shape:
        # The readout of two directions sees the same units twice.
        mask = mask.repeat(1, shape[1] // mask.shape[1])
    scheme = getattr(config, f"{name}_initialisation") if wiring is not None else "gaussian"
    dales = name == "recurrent" and signs is not None
    scheme = scheme or ("balanced_gamma" if dales else "gaussian")
    gain = config.gain if name == "recurrent" else getattr(config, f"{name}_gain")
    drawing = {"gain": gain, "generator": generator, "dtype": dtype}
    given = scheme not in (*INITIALISATIONS, "balanced_gamma")
    if given:
        weight = _given_weights(config, name, shape).to(dtype)
    elif scheme == "balanced_gamma":
        if signs is None or not dales:
            raise InputError(
                f"`{name}_initialisation` = 'balanced_gamma' balances excitation and inhibition: give "
                "`excitatory_fraction` or `signs`, or take another scheme"
            )
        weight = balanced_gamma(signs, mask=mask, **drawing)
    else:
        weight = INITIALISATIONS[scheme](*shape, **drawing)
        if mask is not None and scheme in ("gaussian", "uniform", "glorot"):
            # Fewer weights, each the larger: the sum keeps its variance, and the spectrum its radius.
            weight = weight / math.sqrt(float(mask.double().mean()) or 1.0)
        if scheme == "spectral_radius" and (mask is not None or signs is not None):
            # The radius is that of the weights that the network begins with.
            weight = weight if signs is None else weight.abs() * signs.to(dtype)
            weight = with_spectral_radius(weight if mask is None else weight * mask, gain)
    connection = Connection(
        weight,
        mask=mask,
        signs=signs,
        rectified=config.dale == "rectified",
        fixed=fixed,
        normalised=config.weight_norm and name != "output",
        given=given,
        name=f"{name}_initialisation" if given else f"{name}_weight",
    )
    # Whoever sets them later knows them as weights.
    connection.name = f"{name}_weight"
    return connection


def _given_weights(config: RateConfig, connection: str, shape: tuple[int, int]) -> Tensor:
    option = f"{connection}_initialisation"
    try:
        weight = given_matrix(config, option, shape)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        unknown_name(option, getattr(config, option), (*INITIALISATIONS, "balanced_gamma"))
    assert weight is not None
    return weight
