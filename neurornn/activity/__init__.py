"""Activity: what a network does on trials, recorded and looked up by label."""

from neurornn.activity.labels import condition_average
from neurornn.activity.record import record

__all__ = ["condition_average", "record"]
