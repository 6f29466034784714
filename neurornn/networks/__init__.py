"""Networks: rate networks, how they are built, saved and initialised."""

from neurornn.networks.activations import ACTIVATIONS, get_activation, register_activation
from neurornn.networks.building import (
    FAMILIES,
    build_network,
    load_network,
    network_from_arrays,
    save_network,
    weights_digest,
)
from neurornn.networks.rate import RateRNN

__all__ = [
    "ACTIVATIONS",
    "FAMILIES",
    "RateRNN",
    "build_network",
    "get_activation",
    "load_network",
    "network_from_arrays",
    "register_activation",
    "save_network",
    "weights_digest",
]
