"""Random datasets for the round trips of the formats that hold any dataset."""

import string

import numpy as np
import pytest
import xarray as xr
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurornn import InputError

PLAIN_NAMES = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True)
ODD_NAMES = st.sampled_from(
    ["end", "2nd cue", "a.b", "a_b", "attributes", "Größe", "x" * 70, "x" * 69 + "y", "a/b", "file", "", "_"]
)
PLAIN_TEXTS = st.text(st.sampled_from(string.printable), max_size=6)
# Half of the strings are of any characters that UTF-8 has, NUL and those beyond the basic plane included.
ANY_TEXTS = PLAIN_TEXTS | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
PLAIN_DTYPES = ["f2", "f4", "f8", ">f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
ODD_DTYPES = ["c8", "c16", "M8[ns]", "m8[ms]", "S3", "T"]
PLAIN_VALUES = st.one_of(
    PLAIN_TEXTS,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    hnp.arrays(st.sampled_from(["f4", "i8", "?"]), hnp.array_shapes(min_dims=1, max_dims=2, min_side=0)),
)
ODD_VALUES = st.one_of(
    ANY_TEXTS,
    st.integers(),
    st.booleans(),
    st.none(),
    st.lists(st.one_of(ANY_TEXTS, st.integers(), st.floats()), max_size=3),
    st.sampled_from([np.float64(np.nan), np.float32(2), np.int8(3), np.bool_(True), np.str_("a")]),
    st.sampled_from([{"a": [1, None]}, (1, 2), 1j, {1: 2}, np.datetime64("2020-01-01"), object]),
)


@st.composite
def _datasets(draw, odd):
    names = PLAIN_NAMES | ODD_NAMES if odd else PLAIN_NAMES
    texts = ANY_TEXTS if odd else PLAIN_TEXTS
    attributes = st.dictionaries(names, PLAIN_VALUES | ODD_VALUES if odd else PLAIN_VALUES, max_size=3)
    sizes = {
        dim: draw(st.integers(*ends)) for dim, ends in (("trial", (0, 3)), ("time", (0, 4)), ("unit", (1, 3)))
    }

    def array(shape):
        kind = draw(st.sampled_from([*PLAIN_DTYPES, *(ODD_DTYPES if odd else []), "text", "objects"]))
        if kind not in ("text", "objects", "T"):
            return draw(hnp.arrays(kind, shape))
        entries = draw(st.lists(texts, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        if odd and kind == "objects" and entries and draw(st.integers(0, 9)) == 0:
            entries[0] = None
        own = np.array(entries, dtype=object).reshape(shape)
        return own if kind == "objects" else own.astype(str if kind == "text" else np.dtypes.StringDType())

    parts = [{}, {}]
    for name in draw(st.lists(names.filter(lambda name: name not in sizes), max_size=5, unique=True)):
        dims = draw(st.permutations(list(sizes)))[: draw(st.integers(0, 3))]
        own = (dims, array([sizes[dim] for dim in dims]), draw(attributes))
        parts[draw(st.integers(0, 1))][name] = own
    if draw(st.booleans()):
        parts[1]["time"] = ("time", np.arange(sizes["time"]) * 0.1, {"units": "ms"})
    if draw(st.booleans()):
        parts[1]["unit"] = ("unit", [f"neuron {k}" for k in range(sizes["unit"])])
    return xr.Dataset(parts[0], coords=parts[1], attrs=draw(attributes))


@pytest.fixture(scope="session")
def plain_datasets():
    """Datasets that every format must give back: numbers, booleans, strings, empty trials, NaN."""
    return _datasets(odd=False)


@pytest.fixture(scope="session")
def odd_datasets():
    """Datasets some of which a format cannot hold: odd names, complex numbers, dates, None, nested lists."""
    return _datasets(odd=True)


def _same(one, other):
    """Whether two values of attributes are alike to their types, NaN included."""
    if isinstance(one, np.ndarray | np.generic):
        alike = type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape
        return alike and one.tobytes() == other.tobytes()
    if isinstance(one, list):
        return type(other) is list and len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


@pytest.fixture(scope="session")
def assert_exact():
    """Return a check that two datasets agree in all but their encoding: in bits, types and order."""

    def check(again, dataset):
        xr.testing.assert_identical(again, dataset)
        assert list(again.data_vars) == list(dataset.data_vars)
        assert list(again.coords) == list(dataset.coords)
        for name, variable in dataset.variables.items():
            own = variable.to_numpy()
            # Strings of any kind come back as NumPy's own.
            own = own.astype(object).astype(str) if own.dtype.kind in "OT" else own
            assert again[name].dtype == own.dtype
            assert again[name].to_numpy().tobytes() == own.tobytes()
        for own, theirs in ((again, dataset), *((again[name], dataset[name]) for name in dataset.variables)):
            assert list(own.attrs) == list(theirs.attrs)
            assert all(_same(own.attrs[key], theirs.attrs[key]) for key in theirs.attrs)

    return check


@pytest.fixture(scope="session")
def exact_or_refused(assert_exact):
    """Return a function that writes and reads a dataset, and gives the sentence by which it was refused."""

    def check(module, dataset, path):
        path.unlink(missing_ok=True)
        try:
            module.write(dataset, path)
        except InputError as error:
            refusal = str(error)
        else:
            refusal = None
        if refusal is not None:
            assert not path.exists()
            return refusal
        again = module.read(path)
        assert_exact(again, dataset)
        assert again.encoding["neurornn_verified"] is True
        return None

    return check
