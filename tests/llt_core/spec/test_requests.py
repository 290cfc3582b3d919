"""Reading what a user types: names with parameters, dotted paths, values."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llt_core.errors import RequestError
from llt_core.spec import Named, RunSpec
from llt_core.spec.run import parse_assignment, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("-0.25", -0.25),
        ("1e-4", 1e-4),
        ("true", True),
        ("False", False),
        ("none", None),
        ("null", None),
        ("[0.5, 0.75]", [0.5, 0.75]),
        ('["a", "b"]', ["a", "b"]),
        ('{"a": 1}', {"a": 1}),
        ('"7"', "7"),
        ('"a,b"', "a,b"),
        ("resnet18", "resnet18"),
        ("", ""),
        ("0x10", "0x10"),
        ("[1, 2", "[1, 2"),
    ],
)
def test_values(text, value):
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("digits", "digits", {}),
        ("torchvision/resnet18", "torchvision/resnet18", {}),
        ("label_noise:fraction=0.1", "label_noise", {"fraction": 0.1}),
        ("x:a=-1,b=-0.5", "x", {"a": -1, "b": -0.5}),
        ('x:splits=["train","test"],p=1', "x", {"splits": ["train", "test"], "p": 1}),
        ('x:a="p,q",b=2', "x", {"a": "p,q", "b": 2}),
        ('x:a={"k": [1, 2]},b=2', "x", {"a": {"k": [1, 2]}, "b": 2}),
        ("x:a=b=c", "x", {"a": "b=c"}),
        ("x: a = 1 , b = two", "x", {"a": 1, "b": "two"}),
        ("x:url=http://host:80", "x", {"url": "http://host:80"}),
    ],
)
def test_names_with_parameters(text, name, parameters):
    assert Named.parse(text) == Named(name=name, parameters=parameters)


@pytest.mark.parametrize("text", ["", ":a=1", "x:", "x:a", "x:a=1,", "x:=1", "x:a=1,,b=2"])
def test_malformed_names_say_what_was_expected(text):
    with pytest.raises(RequestError, match="cannot read") as caught:
        Named.parse(text)
    assert "KEY=VALUE" in caught.value.expected


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.one_of(
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
            st.none(),
            st.lists(st.integers(), max_size=4),
            st.text(alphabet='abc,[]{}:=" ', max_size=6),
        ),
        max_size=4,
    )
)
def test_whatever_is_written_as_json_is_read_back(parameters):
    import json

    inside = ",".join(f"{key}={json.dumps(value)}" for key, value in parameters.items())
    text = f"x:{inside}" if inside else "x"
    assert Named.parse(text).parameters == parameters


def test_a_mapping_or_a_text_or_itself():
    named = Named(name="x", parameters={"a": 1})
    assert Named.of(named) is named
    assert Named.of("x:a=1") == named
    mapping = {"name": "x", "a": 1}
    assert Named.of(mapping) == named
    assert mapping == {"name": "x", "a": 1}
    for wrong in ({"a": 1}, {"name": 3}):
        with pytest.raises(RequestError):
            Named.of(wrong)


SPEC = RunSpec(
    task=Named(name="digits"),
    architecture=Named(name="mlp", parameters={"width": 8}),
    perturbations=(Named(name="label_noise", parameters={"fraction": 0.1}),),
    metrics=(Named(name="a"), Named(name="b", parameters={"n": 1})),
)


def test_a_dotted_path_sets_exactly_one_field():
    assert SPEC.with_field("seed", 7) == SPEC.model_copy(update={"seed": 7})
    assert SPEC.with_field("models", 3).models == 3
    assert SPEC.with_field("train.epochs", 2).train == {"epochs": 2}
    assert SPEC.with_field("task.verify", False).task.parameters == {"verify": False}
    wide = SPEC.with_field("architecture.depth", 3).architecture
    assert wide.parameters == {"width": 8, "depth": 3}
    noisy = SPEC.with_field("perturbation.label_noise.fraction", 0.2).perturbations
    assert noisy == (Named(name="label_noise", parameters={"fraction": 0.2}),)
    metrics = SPEC.with_field("metric.b.n", 5).metrics
    assert metrics == (Named(name="a"), Named(name="b", parameters={"n": 5}))
    assert SPEC.train == {}
    assert SPEC.metrics[1].parameters == {"n": 1}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("epochs", "train.X"),
        ("train", "train.X"),
        ("train.a.b", "train.X"),
        ("seed.x", "seed, models or pairs"),
        ("", "train.X"),
        ("metric.c.n", "one of a, b"),
        ("perturbation.data_subset.fraction", "one of label_noise"),
    ],
)
def test_a_path_that_leads_nowhere(path, says):
    with pytest.raises(RequestError) as caught:
        SPEC.with_field(path, 1)
    assert says in caught.value.expected


def test_an_architecture_field_needs_an_architecture():
    bare = SPEC.model_copy(update={"architecture": None})
    with pytest.raises(RequestError, match="no architecture is named") as caught:
        bare.with_field("architecture.width", 1)
    assert caught.value.next_step == "--arch NAME"


@pytest.mark.parametrize(
    ("field", "value"), [("seed", -1), ("models", 0), ("models", "three"), ("seed", 0.5)]
)
def test_seed_and_models_out_of_range_are_wrong_requests(field, value):
    with pytest.raises(RequestError, match=f"{field} = {value!r}"):
        SPEC.with_field(field, value)
    with pytest.raises(RequestError, match=f"{field} = {value!r}"):
        RunSpec(task=Named(name="digits"), **{field: value})


def test_assignments():
    assert parse_assignment(" train.epochs = 3 ") == ("train.epochs", 3)
    for wrong in ("train.epochs", "=3", " =3"):
        with pytest.raises(RequestError, match="cannot read"):
            parse_assignment(wrong)


def test_an_error_survives_the_way_between_processes():
    error = RequestError("what", where="here", expected="this", next_step="do")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is RequestError
    assert str(again) == str(error) == "what\n  where: here\n  expected: this\n  next: do"
