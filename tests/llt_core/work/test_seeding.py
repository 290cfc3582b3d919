import random

import numpy as np
import torch

from llt_core.work.seeding import seed_from, seeded


def draws():
    return torch.randn(3).tolist(), float(np.random.rand()), random.random()


def test_seeded_draws_what_the_libraries_draw_after_their_own_seeds():
    seed = seed_from("any")
    with seeded(seed):
        inside = draws()
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    assert draws() == inside
    torch.set_rng_state(before[0])
    np.random.set_state(before[1])
    random.setstate(before[2])


def test_seeded_leaves_no_trace():
    before = torch.get_rng_state()
    np_before, py_before = np.random.get_state()[1].tolist(), random.getstate()
    with seeded(1):
        draws()
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == np_before
    assert random.getstate() == py_before
