"""The scan over time, forward and backward: several implementations of one function.

``"auto"`` takes the first engine in `ENGINES` that does not refuse the problem; naming one forces it, and
raises where it cannot serve.
"""

from neurornn.engine.choice import ENGINES, Explanation, explain, need_engine, scan
from neurornn.engine.noise import Noise
from neurornn.engine.problem import (
    DYNAMICS,
    Dynamics,
    Engine,
    Feedback,
    Plasticity,
    ScanProblem,
    ScanResult,
    need_finite,
)

__all__ = [
    "DYNAMICS",
    "ENGINES",
    "Dynamics",
    "Engine",
    "Explanation",
    "Feedback",
    "Noise",
    "Plasticity",
    "ScanProblem",
    "ScanResult",
    "explain",
    "need_engine",
    "need_finite",
    "scan",
]
