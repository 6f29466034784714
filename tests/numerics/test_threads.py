import pytest
import torch

from neurornn.numerics.threads import intra_op_threads


def test_the_number_of_threads_is_put_back_even_after_an_error():
    before = torch.get_num_threads()
    with intra_op_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), intra_op_threads(before + 1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before
