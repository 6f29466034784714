"""Formats of named arrays with the labels beside them: everything comes back as it was, or is refused."""

import pytest
from hypothesis import given, settings

from neurornn.storage import matlab, npz

# The longest takes 6 s.
formats = pytest.mark.parametrize(
    ("module", "ending"), [(matlab, ".mat"), (npz, ".npz")], ids=[".mat", ".npz"]
)
how_many = pytest.mark.parametrize("n_datasets", [50, pytest.param(300, marks=pytest.mark.slow)])


@formats
@how_many
def test_a_dataset_comes_back_identical(
    n_datasets, module, ending, plain_datasets, exact_or_refused, tmp_path
):
    @settings(max_examples=n_datasets)
    @given(dataset=plain_datasets)
    def comes_back(dataset):
        assert exact_or_refused(module, dataset, tmp_path / f"x{ending}") is None

    comes_back()


@formats
@how_many
def test_an_odd_dataset_comes_back_identical_or_is_refused_before_anything_is_written(
    n_datasets, module, ending, odd_datasets, exact_or_refused, tmp_path
):
    @settings(max_examples=n_datasets)
    @given(dataset=odd_datasets)
    def comes_back_or_is_refused(dataset):
        exact_or_refused(module, dataset, tmp_path / f"x{ending}")

    comes_back_or_is_refused()
