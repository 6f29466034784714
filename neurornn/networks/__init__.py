"""Networks: rate and gated ones, how they are wired, initialised, built and saved."""

from neurornn.networks.activations import ACTIVATIONS, get_activation, register_activation
from neurornn.networks.building import (
    FAMILIES,
    build_network,
    load_network,
    network_from_arrays,
    save_network,
    weights_digest,
)
from neurornn.networks.foreign import network_from_torch
from neurornn.networks.gated import GRU, LSTM
from neurornn.networks.initialisation import INITIALISATIONS
from neurornn.networks.network import Network
from neurornn.networks.psychrnn import network_from_psychrnn
from neurornn.networks.rate import RateRNN

__all__ = [
    "ACTIVATIONS",
    "FAMILIES",
    "GRU",
    "INITIALISATIONS",
    "LSTM",
    "Network",
    "RateRNN",
    "build_network",
    "get_activation",
    "load_network",
    "network_from_arrays",
    "network_from_psychrnn",
    "network_from_torch",
    "register_activation",
    "save_network",
    "weights_digest",
]
