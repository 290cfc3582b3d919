"""Batches: every pair once, within the limit, alike in length, and seeded."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llt_core.interfaces import RequestError
from llt_plugins.tasks.text.batches import batches

LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=80)


def cut(lengths, size, unit, seed=None, drop_last=False):
    sources, targets = torch.tensor(lengths).T
    order = None if seed is None else torch.Generator().manual_seed(seed)
    return targets, batches(sources, targets, size, unit, order, drop_last)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(30, 200), st.sampled_from([None, 1]))
def test_tokens(lengths, size, seed):
    targets, found = cut(lengths, size, "tokens", seed)
    assert torch.cat(found).sort().values.tolist() == list(range(len(lengths)))
    assert all(len(at) * int(targets[at].max()) <= size for at in found)
    if seed is None:
        assert torch.cat(found).tolist() == list(range(len(lengths)))
        for at, after in itertools.pairwise(found):
            one_more = torch.cat([at, after[:1]])
            assert len(one_more) * int(targets[one_more].max()) > size


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 20), st.sampled_from([None, 1]), st.booleans())
def test_examples(lengths, size, seed, drop_last):
    _, found = cut(lengths, size, "examples", seed, drop_last)
    rest = len(lengths) % size
    sizes = sorted((len(at) for at in found), reverse=True)
    expected = [size] * (len(lengths) // size)
    assert sizes == (expected if drop_last or not rest else [*expected, rest])
    seen = torch.cat(found).tolist() if found else []
    assert len(set(seen)) == len(seen)
    if seed is None:
        assert seen == list(range(len(seen)))


@pytest.mark.parametrize("unit", ["examples", "tokens"])
def test_every_pass_has_as_many_batches_in_another_order(unit):
    lengths = torch.randint(1, 40, (500, 2), generator=torch.Generator().manual_seed(0)).tolist()
    passes = [[at.tolist() for at in cut(lengths, 64, unit, seed)[1]] for seed in (1, 1, 2)]
    assert passes[0] == passes[1] != passes[2]
    assert len(passes[0]) == len(passes[2])
    longest = [max(lengths[at][1] for at in batch) for batch in passes[0]]
    assert longest != sorted(longest)


def test_little_is_padding():
    order = torch.Generator().manual_seed(0)
    sources = torch.randint(3, 40, (2000,), generator=order)
    targets = sources + torch.randint(-2, 3, (2000,), generator=order)
    found = batches(sources, targets, 32, "examples", torch.Generator().manual_seed(3), False)
    places = sum(len(at) * int(targets[at].max()) for at in found)
    assert places < 1.05 * int(targets.sum())
    plain = targets.split(32)
    assert sum(len(part) * int(part.max()) for part in plain) > 1.5 * int(targets.sum())


def test_which_examples_are_left_out_does_not_depend_on_length():
    lengths = [(n, n) for n in range(1, 12)]
    left_out = set()
    for seed in range(40):
        _, found = cut(lengths, 5, "examples", seed, drop_last=True)
        left_out |= set(range(11)) - set(torch.cat(found).tolist())
    assert len(left_out) > 8


def test_a_sentence_longer_than_a_batch_is_refused():
    with pytest.raises(RequestError, match="batches of 20 tokens cannot take a sentence of 21"):
        cut([(3, 5), (2, 21)], 20, "tokens", 1)
