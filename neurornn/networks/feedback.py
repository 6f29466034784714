"""Outputs fed back to the units: as a scan that engines serve, whoever puts the outputs out.

A linear readout's own outputs, fed back, are recurrent weights of low rank; the teacher's are inputs. Only
where both are mixed, or something stands between a rate and its synapse, must the scan itself read out.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from neurornn import engine as engines
from neurornn.networks.running import Teaching


def with_feedback(
    problem: engines.ScanProblem, weight: Tensor, teaching: Teaching | None
) -> engines.ScanProblem:
    """Return the scan of a network whose outputs of the step before come back to its units.

    Parameters
    ----------
    problem : ScanProblem
        Without feedback.
    weight : Tensor, shape (unit, output_channel)
    teaching : Teaching or None
        What is fed back in place of the outputs; before the first step there is nothing but the outputs of
        the initial state.
    """
    p = problem
    if teaching is None and p.plasticity is None and p.norm_gain is None:
        loop: dict[str, Tensor | None] = {"bias": p.bias + weight @ p.output_bias}
        if p.selection is None:
            loop["recurrent_weight"] = p.recurrent_weight + weight @ p.output_weight
        else:
            loop["recurrent_weight"] = torch.cat([p.recurrent_weight, weight], dim=1)
            loop["selection"] = torch.cat([p.selection, p.output_weight])
        return dataclasses.replace(p, **loop)  # type: ignore[arg-type]
    n_steps, n_trials, _ = p.inputs.shape
    if teaching is None:
        nobody = torch.zeros(n_steps, n_trials, dtype=torch.bool, device=p.inputs.device)
        nothing = p.inputs.new_zeros(n_steps, n_trials, len(p.output_bias))
        return dataclasses.replace(p, feedback_weight=weight, feedback=engines.Feedback(nothing, nobody))
    state = p.initial_state[:, : len(p.bias)]
    rate = p.activation(state) if p.dynamics == "current" else state
    seen = rate if p.kept_share is None else rate * p.kept_share
    first = linear(seen, p.output_weight, p.output_bias)
    fed_back = torch.cat([first[None], teaching.wanted[:-1]])[:n_steps]
    if teaching.forced is None:
        return dataclasses.replace(
            p,
            inputs=torch.cat([p.inputs, fed_back], dim=2),
            input_weight=torch.cat([p.input_weight, weight], dim=1),
        )
    forced = teaching.forced.clone()
    forced[:1] = False
    return dataclasses.replace(
        p, feedback_weight=weight, feedback=engines.Feedback(fed_back.detach(), forced)
    )


def has_memory(problem: engines.ScanProblem) -> bool:
    """Say whether a step of the scan depends on the one before."""
    p = problem
    return bool(p.recurrent_weight.shape[1]) or p.has_leak or p.feedback_weight is not None


def scan_at_once(problem: engines.ScanProblem) -> engines.ScanResult:
    """Run a scan without memory: all steps in parallel, no gradient across time."""
    p = problem
    drive = linear(p.inputs, p.input_weight, p.bias if p.norm_gain is None else None)
    if p.norm_gain is not None:
        drive = layer_norm(drive, p.bias.shape, p.norm_gain, p.bias)
    noise = p.materialised_noise()
    drive = drive if noise is None else drive + noise
    rates = p.activation(drive)
    seen = rates if p.kept_share is None else rates * p.kept_share
    outputs = linear(seen, p.output_weight, p.output_bias)
    return engines.ScanResult(outputs, rates, drive if p.dynamics == "current" else rates)
