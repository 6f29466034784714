"""The scan over time, forward and backward: several implementations of one function.

``"auto"`` takes the first engine in `ENGINES` that does not refuse the problem; naming one forces it, and
raises where it cannot serve.
"""

from neurornn.engine.hand_derived import TorchEngine
from neurornn.engine.problem import DYNAMICS, Dynamics, Engine, ScanProblem, ScanResult
from neurornn.engine.reference import ReferenceEngine
from neurornn.vocabulary import InputError, need_choice

__all__ = ["DYNAMICS", "ENGINES", "Dynamics", "Engine", "ScanProblem", "ScanResult", "need_engine", "scan"]

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (TorchEngine(), ReferenceEngine())}
"""Every engine by its name, the fastest first."""


def need_engine(name: str) -> str:
    """Return an engine's name, refusing one that does not exist."""
    return need_choice(name, "engine", ("auto", *ENGINES))


def scan(problem: ScanProblem, engine: str = "auto") -> ScanResult:
    """Run a problem on the named engine, or on the fastest that can serve it.

    Raises
    ------
    InputError
        Where the named engine does not exist or cannot serve; the sentence says why.
    """
    need_engine(engine)
    if engine == "auto":
        chosen = next(own for own in ENGINES.values() if own.reason_to_refuse(problem) is None)
        return chosen.scan(problem)
    reason = ENGINES[engine].reason_to_refuse(problem)
    if reason is not None:
        raise InputError(f"engine {engine!r} cannot serve this network: {reason}; use engine='auto'")
    return ENGINES[engine].scan(problem)
