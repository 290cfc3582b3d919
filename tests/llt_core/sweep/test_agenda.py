"""What can start when: models in the plan's order, measurements once their models have ended."""

import pytest

from llt_core.plugins import Catalogue
from llt_core.spec import Named, RunSpec
from llt_core.sweep import make_plan
from llt_core.sweep.agenda import Agenda


@pytest.fixture
def plan(here):
    spec = RunSpec(
        task=Named.of("file_task"),
        architecture=Named.of("mlp"),
        metrics=(Named.of("norm"), Named.of("norm:scale=2"), Named.of("distance")),
        models=3,
    )
    return make_plan(spec, Catalogue.discover(), here)


def drained(agenda):
    """Hand out all there is, as labels of one cell of each group and the size of the group."""
    found = []
    while (group := agenda.next()) is not None:
        found.append((group[0].label, len(group)))
    return found


def test_models_first_then_what_reads_them(plan):
    agenda = Agenda(plan, {c.digest for c in plan.cells})
    trains = [agenda.next() for _ in plan.trains]
    assert [group[0].digest for group in trains] == [t.digest for t in plan.in_order()]
    assert agenda.next() is None
    agenda.ended(trains[1][0].digest)
    assert drained(agenda) == [("norm seed 1", 2)]
    agenda.ended(trains[0][0].digest)
    assert drained(agenda) == [("norm seed 0", 2)]
    agenda.ended(trains[2][0].digest)
    assert drained(agenda) == [("norm seed 2", 2), ("distance seed 0+1", 3)]


def test_a_measurement_goes_before_the_next_model(plan):
    agenda = Agenda(plan, {c.digest for c in plan.cells})
    (first,) = agenda.next()
    agenda.ended(first.digest)
    assert agenda.next()[0].label == "norm seed 0"
    assert agenda.next()[0].label == "train seed 1"


def test_only_what_is_to_do_and_not_what_runs(plan):
    model, measures = plan.trains[2], plan.measures
    todo = {model.digest, *(m.digest for m in measures)}
    agenda = Agenda(plan, todo, running={model.digest, measures[0].digest})
    assert sorted(size for _, size in drained(agenda)) == [1, 2]
    agenda.ended(model.digest)
    assert drained(agenda) == [("norm seed 2", 2), ("distance seed 0+1", 3)]


def test_what_is_tried_again_is_next_and_alone(plan):
    agenda = Agenda(plan, {c.digest for c in plan.cells})
    (first,) = agenda.next()
    agenda.again(first)
    assert agenda.next() == [first]


def test_what_others_compute_comes_back_when_it_is_asked_for(plan):
    agenda = Agenda(plan, {plan.trains[0].digest})
    (first,) = agenda.next()
    agenda.later(first)
    assert (agenda.next(), agenda.held) == (None, (first,))
    agenda.reconsider()
    assert (agenda.next(), agenda.held) == ([first], ())


def test_what_is_taken_over_with_its_job_does_not_come_back(plan):
    agenda = Agenda(plan, {t.digest for t in plan.trains[:2]})
    one, two = (agenda.next()[0] for _ in range(2))
    agenda.later(one)
    agenda.later(two)
    assert agenda.release({one.digest, "other"}) == [one]
    agenda.reconsider()
    assert (agenda.next(), agenda.next()) == ([two], None)


def test_a_damaged_model_is_trained_once_for_all_that_read_it(plan):
    agenda = Agenda(plan, {m.digest for m in plan.measures})
    drained(agenda)
    model = plan.trains[0]
    readers = [m for m in plan.measures if m.cell.models == (model.digest,)]
    assert len(readers) == 2
    for reader in readers:
        agenda.anew([model], reader)
    assert drained(agenda) == [("train seed 0", 1)]
    agenda.ended(model.digest)
    assert sorted(drained(agenda)) == sorted((r.label, 1) for r in readers)
