import pytest


@pytest.mark.samestep("autograd")
def test_it_computes_what_the_reference_computes(samestep_failures):
    assert samestep_failures == []
