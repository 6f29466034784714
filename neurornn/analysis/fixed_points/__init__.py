"""Fixed points: every one of them, none that is not, with evidence.

`finder` has the call, `search` what it does under one constant input; `equations` what is solved, `newton`
how, `minima` what becomes of starts that lead to no zero; `rectified` solves networks of linear pieces;
`classification` and `dataset` say what was found. `cycles` finds states that come back after several steps,
`manifold` lines and rings along which a network is slow.
"""

from neurornn.analysis.fixed_points.cycles import find_cycles
from neurornn.analysis.fixed_points.finder import find_fixed_points
from neurornn.analysis.fixed_points.manifold import find_manifold

__all__ = ["find_cycles", "find_fixed_points", "find_manifold"]
