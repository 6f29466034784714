"""What is added to a loss, or kept beside it: penalties by their names in the literature, and max-norm."""

from neurornn.training.penalties.max_norm import apply_max_norm, need_max_norm
from neurornn.training.penalties.registry import PENALTIES, Penalties

__all__ = ["PENALTIES", "Penalties", "apply_max_norm", "need_max_norm"]
