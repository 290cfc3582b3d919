"""Sweep files: axes, products, zips, conditions, profiles, includes; and what is refused."""

import pytest

from llt_core.errors import RequestError
from llt_core.fields import short_fields
from llt_core.spec import Named, SweepSpec

SHORTEST = """\
task = "digits"
architecture = "resnet18"
metrics = ["train_loss", "test_accuracy", "hessian_trace"]
models = 2

[train]
epochs = 2

[axes.load]
field = "architecture.width"
values = [1, 2, 4]

[axes.temperature]
field = "train.batch_size"
values = [32, 128]
"""


@pytest.fixture
def read(tmp_path):
    """Write texts into files and read the first one."""

    def write_and_read(text, profile="", changes=None, **others):
        (tmp_path / "my-sweep.toml").write_text(text)
        for name, content in others.items():
            (tmp_path / f"{name}.toml").write_text(content)
        return SweepSpec.read(tmp_path / "my-sweep.toml", profile, changes)

    return write_and_read


def grid(spec):
    return [tuple(point.values.values()) for point in spec.points()]


def axis(**keys):
    spec = SweepSpec.of(task="digits", axes={"a": {"field": "train.learning_rate", **keys}})
    return [value for (value,) in grid(spec)]


def test_the_shortest_form(read):
    spec = read(SHORTEST)
    assert spec.name == "my-sweep"
    assert spec.fields == ("architecture.width", "train.batch_size")
    assert spec.kinds == {"architecture.width": "load", "train.batch_size": "temperature"}
    assert grid(spec) == [(1, 32), (1, 128), (2, 32), (2, 128), (4, 32), (4, 128)]
    point = spec.points()[3]
    assert point.spec.architecture == Named(name="resnet18", parameters={"width": 2})
    assert point.spec.train == {"epochs": 2, "batch_size": 128}
    assert point.spec.models == 2
    assert [metric.name for metric in point.spec.metrics] == [
        "train_loss", "test_accuracy", "hessian_trace",
    ]  # fmt: skip
    assert spec.models() == 12


def test_python_says_the_same(read):
    axes = {
        "load": {"field": "architecture.width", "values": [1, 2, 4]},
        "temperature": {"field": "train.batch_size", "values": [32, 128]},
    }
    spec = SweepSpec.of(
        task="digits",
        architecture="resnet18",
        metrics=["train_loss", "test_accuracy", "hessian_trace"],
        models=2,
        train={"epochs": 2},
        axes=axes,
    )
    assert spec == read(SHORTEST).model_copy(update={"name": ""})


def test_a_sweep_without_axes_is_one_point():
    spec = SweepSpec.of(task="digits", models=3)
    assert [point.values for point in spec.points()] == [{}]
    assert spec.models() == 3


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        ({"values": [3, 1, 3]}, [3, 1]),
        ({"range": [1, 4, 1]}, [1, 2, 3, 4]),
        ({"range": [0.1, 0.5, 0.1]}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"range": {"start": 5, "stop": 2, "step": -2}}, [5, 3]),
        ({"geomspace": [1, 16, 5]}, [1, 2.0, 4.0, 8.0, 16]),
        ({"geomspace": {"start": 1, "stop": 128, "num": 15}, "integer": True},
         [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128]),
        ({"logspace": [-3, -1, 3]}, [0.001, 0.01, 0.1]),
    ],
)  # fmt: skip
def test_values_of_an_axis(keys, values):
    found = axis(**keys)
    assert found == values
    if keys.get("integer"):
        assert {type(value) for value in found} == {int}


def test_computed_values_have_no_digits_that_machines_disagree_on():
    assert axis(geomspace=[1e-3, 0.7, 4]) == [0.001, 0.00887904001743, 0.0788373516311, 0.7]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "one of values, range, geomspace, logspace; this one has none"),
        ({"values": [1], "range": [1, 2, 1]}, "this one has values and range"),
        ({"values": []}, "at least one value"),
        ({"range": [1, 4]}, "3 numbers"),
        ({"range": [1, 4, -1]}, "does not lead"),
        ({"range": [0, 1, 1e-9]}, "at most"),
        ({"range": [0, 1, 1e-320]}, "beyond what a float holds"),
        ({"logspace": [1, 400, 3]}, "beyond what a float holds"),
        ({"geomspace": [1e-300, 1e300, 3]}, "beyond what a float holds"),
        ({"geomspace": [0, 4, 3]}, "positive"),
        ({"geomspace": [1, 4, 1]}, "at least 2"),
        ({"values": [1], "kind": "pressure"}, "'load' or 'temperature'"),
        ({"values": [1], "fields": ["seed"]}, "either field"),
        ({"values": [1, 2, 1.0]}, "1 and 1.0 are equal, so they are one point"),
        ({"values": [True, 1]}, "true and 1 are equal"),
        ({"values": [[0.5, 1], [0.5, True]]}, "[0.5, 1] and [0.5, True] are equal"),
        ({"values": [{"name": "mlp", "width": 2}, {"width": 2.0, "name": "mlp"}]}, "are equal"),
    ],
)
def test_what_an_axis_cannot_be(keys, says):
    with pytest.raises(RequestError) as caught:
        axis(**keys)
    assert says in str(caught.value)
    assert "axes.a" in str(caught.value)


def test_several_fields_move_along_one_axis():
    spec = SweepSpec.of(
        task="digits",
        axes={
            "load": {"fields": ["train.batch_size", "train.epochs"], "values": [[16, 1], [32, 2]]},
            "seed": [0, 5],
        },
    )
    assert spec.fields == ("train.batch_size", "train.epochs", "seed")
    assert grid(spec) == [(16, 1, 0), (16, 1, 5), (32, 2, 0), (32, 2, 5)]
    assert spec.points()[3].spec.seed == 5
    with pytest.raises(RequestError, match=r"axes\.load") as caught:
        SweepSpec.of(task="digits", axes={"load": {"fields": ["a", "b"], "values": [[1]]}})
    assert "rows of 2" in caught.value.expected


def test_zipped_axes_move_together_beside_the_product():
    axes = {
        "a": {"field": "train.batch_size", "values": [16, 32]},
        "b": {"field": "train.epochs", "values": [7, 8, 9]},
        "c": {"field": "train.learning_rate", "values": [0.1, 0.2]},
    }
    spec = SweepSpec.of(task="digits", axes=axes, zip=[["a", "c"]])
    assert grid(spec) == [
        (16, 7, 0.1), (16, 8, 0.1), (16, 9, 0.1), (32, 7, 0.2), (32, 8, 0.2), (32, 9, 0.2),
    ]  # fmt: skip
    for wrong, says in (
        ([["a", "b"]], "a has 2, b has 3"),
        ([["a", "d"]], "zip names 'd', but the axes are a, b, c"),
        ([["a", "c"], ["c"]], "twice"),
    ):
        with pytest.raises(RequestError) as caught:
            SweepSpec.of(task="digits", axes=axes, zip=wrong)
        assert says in str(caught.value)


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ([{"load": 1}], [(2, 32), (2, 64), (4, 32), (4, 64)]),
        ([{"load": ">= 2", "temperature": "< 64"}], [(1, 32), (1, 64), (2, 64), (4, 64)]),
        ([{"load": [1, 4]}, {"temperature": 32}], [(2, 64)]),
        ({"load": "> 1 and < 4"}, [(1, 32), (1, 64), (4, 32), (4, 64)]),
        ([{"architecture.width": "!= 2"}], [(2, 32), (2, 64)]),
    ],
)
def test_excluded_points(exclude, left):
    spec = SweepSpec.of(
        task="digits",
        architecture="mlp",
        axes={
            "load": {"field": "architecture.width", "values": [1, 2, 4]},
            "temperature": {"field": "train.batch_size", "values": [32, 64]},
        },
        exclude=exclude,
    )
    assert grid(spec) == left


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ({"lode": 1}, "exclude names 'lode', which does not vary; the axes are load"),
        ({"load": "> wide"}, "compares what is not two numbers"),
        ({"load": "<="}, "cannot read '<='"),
        ({"load": ">= 1"}, "leave no grid point"),
        ({"load": "> __import__('os')"}, "compares what is not two numbers"),
    ],
)
def test_conditions_that_cannot_be(condition, says):
    with pytest.raises(RequestError) as caught:
        SweepSpec.of(
            task="digits",
            architecture="mlp",
            axes={"load": {"field": "architecture.width", "values": [1, 2]}},
            exclude=[condition],
        ).points()
    assert says in str(caught.value)


def test_a_profile_overrides_anything(read):
    text = (
        SHORTEST
        + """
[profiles.mini]
models = 3
metrics = ["cka"]
task.verify = false
architecture = "mlp:depth=1"
train.epochs = 1
axes.load.geomspace = [1, 4, 2]
axes.temperature = { field = "train.learning_rate", values = [0.1] }
"""
    )
    spec = read(text, "mini")
    assert spec.name == "my-sweep-mini"
    assert spec.profile == "mini"
    assert spec.base.models == 3
    assert spec.base.task == Named(name="digits", parameters={"verify": False})
    assert spec.base.architecture == Named(name="mlp", parameters={"depth": 1})
    assert spec.base.train == {"epochs": 1}
    assert [metric.name for metric in spec.base.metrics] == ["cka"]
    assert spec.fields == ("architecture.width", "train.learning_rate")
    assert grid(spec) == [(1, 0.1), (4, 0.1)]
    assert read(text) == read(SHORTEST)
    with pytest.raises(RequestError, match="no profile 'mimi'") as caught:
        read(text, "mimi")
    assert caught.value.next_step == "--profile mini"


def test_set_changes_parameters_of_metrics(read):
    text = (
        'task = "digits"\nmetrics = ["cka", "hessian_trace"]\n'
        + """
[set]
metric.hessian_trace.samples = 64
metric.cka = { samples = 32, kernel = "rbf" }
train.epochs = 3

[profiles.mini.set]
metric.cka.samples = 16
"""
    )
    metrics = {m.name: dict(m.parameters) for m in read(text, "mini").base.metrics}
    assert metrics == {"cka": {"samples": 16, "kernel": "rbf"}, "hessian_trace": {"samples": 64}}
    assert read(text).base.train == {"epochs": 3}
    with pytest.raises(RequestError, match="no 'cka2'") as caught:
        read(text + "metric.cka2.samples = 1\n", "mini")
    assert caught.value.where.endswith("line 11 (set.metric.cka2.samples)")


def test_the_command_line_comes_last(read):
    changes = {
        "models": 5,
        "train.epochs": 9,
        "axes.load.values": [7],
        "axes.temperature.geomspace": [1, 2, 2],
    }
    spec = read(SHORTEST, changes=changes)
    assert spec.base.models == 5
    assert spec.base.train["epochs"] == 9
    assert grid(spec) == [(7, 1), (7, 2)]
    for path, says in (
        ("train.batch_size", "the axis temperature varies it"),
        ("axes.lode.values", "no axis 'lode'"),
        ("epochs", "there is no field 'epochs'"),
    ):
        with pytest.raises(RequestError) as caught:
            read(SHORTEST, changes={path: [1]})
        assert says in str(caught.value)
        assert caught.value.where == "--set"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"axes.load.values": []}, "--set axes.load.values"),
        ({"axes.load.values": 3}, "--set axes.load.values"),
        ({"axes.load.feild": "seed"}, "--set axes.load.feild"),
        ({"name": "a/b"}, "--name"),
        ({"title": 3}, "--set title"),
        ({"axes.temperature.values": [1]}, "my-sweep.toml, --set axes.temperature.values"),
    ],
)
def test_what_the_command_line_makes_wrong_is_told_to_stand_there(read, changes, where):
    with pytest.raises(RequestError) as caught:
        read('zip = [["load", "temperature"]]\n' + SHORTEST.replace("128", "128, 64"), "", changes)
    assert caught.value.where.endswith(where)


def test_what_the_file_has_wrong_is_told_to_stand_in_the_file(read):
    with pytest.raises(RequestError) as caught:
        read(SHORTEST.replace("[1, 2, 4]", "[]"), changes={"axes.temperature.values": [4]})
    assert caught.value.where.endswith("my-sweep.toml, line 9 (axes.load)")


@pytest.mark.parametrize(
    ("stem", "profile", "name"), [("a+b", "", "a-b"), ("two words", "mini", "two-words-mini")]
)
def test_a_file_whose_name_is_none_for_a_sweep(tmp_path, stem, profile, name):
    path = tmp_path / f"{stem}.toml"
    path.write_text(SHORTEST + "[profiles.mini]\nmodels = 1\n")
    with pytest.raises(RequestError, match="a sweep cannot be called") as caught:
        SweepSpec.read(path, profile)
    assert caught.value.where == str(path)
    assert caught.value.next_step == f"--name {name}"
    assert SweepSpec.read(path, profile, {"name": name}).name == name
    path.write_text('name = "own"\n' + path.read_text())
    assert SweepSpec.read(path, profile).name == "own"


QUIET = """\
task = "digits"
architecture = "mlp"
metrics = ["cka", "hessian_trace"]
[set]
train.epochs = 5
train.batch_size = 64
architecture.width = 3
metric.cka.samples = 8
metric.hessian_trace.samples = 9
"""


@pytest.mark.parametrize("above", ["profile", "include"])
def test_what_set_says_below_gives_way_to_plain_keys_above(read, above):
    text = (
        'train.epochs = 1\nmetrics = ["hessian_trace", {name = "cka", samples = 16}]\n'
        "architecture.depth = 2\n"
    )
    if above == "profile":
        spec = read(QUIET + "[profiles.mini]\n" + text, "mini")
    else:
        spec = read('include = "base.toml"\n' + text, base=QUIET)
    assert spec.base.train == {"epochs": 1, "batch_size": 64}
    assert spec.base.architecture == Named(name="mlp", parameters={"depth": 2, "width": 3})
    assert {m.name: dict(m.parameters) for m in spec.base.metrics} == {
        "cka": {"samples": 16}, "hessian_trace": {"samples": 9},
    }  # fmt: skip


def test_another_component_drops_what_set_said_of_the_old_one(read):
    spec = read(QUIET + '[profiles.deep]\narchitecture = "resnet18"\n', "deep")
    assert spec.base.architecture == Named(name="resnet18")
    spec = read(QUIET + '[profiles.deep]\narchitecture = "mlp:depth=4"\n', "deep")
    assert spec.base.architecture == Named(name="mlp", parameters={"depth": 4, "width": 3})


def test_set_of_a_profile_goes_over_its_own_plain_keys(read):
    text = QUIET + "[profiles.mini]\ntrain.epochs = 1\nset.train.epochs = 2\n"
    assert read(text, "mini").base.train["epochs"] == 2
    below = QUIET + "[profiles.mini]\nset.train.epochs = 2\nset.seed = 4\n"
    text = 'include = "base.toml"\n[profiles.mini]\ntrain.epochs = 1\n'
    spec = read(text, "mini", base=below)
    assert (spec.base.train["epochs"], spec.base.seed) == (1, 4)


def test_an_axis_goes_over_the_base(read):
    spec = read(SHORTEST + "[set]\ntrain.batch_size = 7\n")
    assert spec.points()[0].spec.train["batch_size"] == 32


def test_files_include_others(read, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "axes.toml").write_text(
        'include = "more.toml"\n[axes.load]\nfield = "architecture.width"\nvalues = [1, 2]\n'
    )
    (tmp_path / "shared" / "more.toml").write_text(
        'architecture = "mlp"\n[train]\nepochs = 3\nrecipe="standard"\n[profiles.mini]\nseed = 4\n'
    )
    spec = read(
        'include = ["shared/axes.toml"]\ntask = "digits"\n[train]\nepochs = 5\n'
        "[axes.load]\nvalues = [8]\n",
        "mini",
    )
    assert spec.base.train == {"epochs": 5, "recipe": "standard"}
    assert spec.base.seed == 4
    assert grid(spec) == [(8,)]


def test_a_circle_of_includes_is_told(read):
    with pytest.raises(RequestError, match="includes itself") as caught:
        read('include = "b.toml"', b='include = "c.toml"', c='include = "my-sweep.toml"')
    assert "my-sweep.toml → b.toml → c.toml → my-sweep.toml" in caught.value.what
    assert "c.toml" in caught.value.next_step
    with pytest.raises(RequestError, match="no sweep file gone"):
        read('include = "gone.toml"')


def test_pairs_of_each_metric(read):
    text = 'task = "digits"\nmetrics = ["cka", "l2_distance"]\n[pairs]\ncka = "first"\n'
    spec = read(text).points()[0].spec
    assert (spec.pairs_of("cka"), spec.pairs_of("l2_distance")) == ("first", "all")
    assert read('task = "digits"\npairs = "ring"').base.pairs_of("cka") == "ring"
    with pytest.raises(RequestError, match="pairs names 'agreement', which is not measured"):
        read(text + 'agreement = "all"\n')


def test_whole_components_can_vary():
    spec = SweepSpec.of(
        task="digits",
        architecture="resnet18",
        axes={"width": {"field": "architecture.width", "values": [2]},
              "architecture": ["mlp:depth=1", "resnet18"]},
    )  # fmt: skip
    found = [point.spec.architecture for point in spec.points()]
    assert found == [
        Named(name="mlp", parameters={"depth": 1, "width": 2}),
        Named(name="resnet18", parameters={"width": 2}),
    ]


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        ('task = "digits"\nmodles = 2', "did you mean models?", 2),
        ('task = "digits"\nmodels = 0', "models = 0", 2),
        ('task = "digits"\nmodels = "many"', "a whole number", 2),
        ('task = "digits"\n[profiles.mini]\nmodles = 2', "a sweep profile has no key 'modles'", 3),
        ('task = "digits"\n\n[axes.load]\nfeild = "seed"', "did you mean field?", 4),
        ('task = "digits"\n[axes.load]\nfield = "seed"\nvalues = 3', "axes.load.values = 3", 4),
        ('task = "digits"\n[axes]\nload = 3', "axes.load = 3", 3),
        ('task = "digits"\nmetrics = "cka"', "a list", 2),
        ('task = "digits"\nmetrics = [{samples = 2}]', "no name in", 2),
        ('task = "digits"\ntrain = 3', "a table: [train]", 2),
        ("models = 2", "the sweep names no task", None),
        ('task = "digits"\npairs = "some"', "pairs", 2),
        ('task = "digits"\nname = "a/b"', "the name is that of a file", 2),
        ('task = "digits"\n[axes.a]\nfield = "seed"\nvalues = [1]\n'
         '[axes.b]\nfield = "seed"\nvalues = [2]', "seed is varied by two axes", None),
        ('task = "digits"\n[profiles]\nmini = 3', "a table: [profiles.mini]", 3),
        ('task = "digits"\n[profiles.mini]\nset = 3', "a table: [profiles.mini.set]", 3),
        ('task = "digits"\n[profiles.mini]\naxes = [1]', "a table: [profiles.mini.axes]", 3),
        ("task = 3", "a name, or a table with a name", 1),
        ('task = "digits"\nmetrics = [3]', "a name, or a table with a name", 2),
        ('task = "digits"\n"axes" = "x"', "a table: [axes]", 2),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_and_line(read, text, says, line):
    with pytest.raises(RequestError) as caught:
        read(text)
    assert says in str(caught.value)
    assert "my-sweep.toml" in caught.value.where
    if line is not None:
        assert f"line {line}" in caught.value.where
    assert caught.value.expected


def test_what_is_wrong_in_a_profile_is_told_with_its_line(read):
    text = (
        SHORTEST + '\n[profiles.mini]\naxes.load.values = [[1]]\nmodels = 1\naxes.load.kind = "x"'
    )
    with pytest.raises(RequestError) as caught:
        read(text, "mini")
    assert f"line {len(text.splitlines())}" in caught.value.where


@pytest.mark.parametrize(
    ("content", "says"), [(b"task = ", "is not TOML"), (b"\xff\xfe", "is not UTF-8 text")]
)
def test_files_that_are_no_toml(tmp_path, content, says):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=says) as caught:
        SweepSpec.read(path)
    assert str(path) in str(caught.value)
    with pytest.raises(RequestError, match=r"no sweep file gone\.toml"):
        SweepSpec.read(tmp_path / "gone.toml")
    with pytest.raises(RequestError, match="cannot read"):
        SweepSpec.read(tmp_path)


def test_a_mark_of_the_byte_order_is_no_content(tmp_path):
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SHORTEST.encode())
    assert len(SweepSpec.read(path).points()) == 6


def test_parameters_below_a_name_stay(read):
    base = "[architecture]\nwidth = 3\n[task]\nverify = false\n"
    spec = read('include = "base.toml"\ntask = "digits"\narchitecture = "mlp"\n', base=base)
    assert spec.base.architecture == Named(name="mlp", parameters={"width": 3})
    assert spec.base.task == Named(name="digits", parameters={"verify": False})


def test_values_that_are_no_component_are_told():
    spec = SweepSpec.of(task="digits", axes={"architecture": [3]})
    with pytest.raises(RequestError, match="cannot read 3"):
        spec.points()


@pytest.mark.parametrize("where", ["--set", "line 3"])
def test_what_an_axis_would_put_aside_is_refused(read, where):
    text = 'task = "digits"\n[set]\narchitecture.width = 3\n[axes]\narchitecture = ["mlp"]\n'
    changes = {"architecture.width": 3} if where == "--set" else {}
    with pytest.raises(RequestError, match="puts a whole architecture in its place") as caught:
        read(text, changes=changes)
    assert where in caught.value.where


def test_a_field_that_leads_nowhere_names_its_axis():
    spec = SweepSpec.of(task="digits", axes={"load": {"field": "width", "values": [1]}})
    with pytest.raises(RequestError, match="there is no field 'width'") as caught:
        spec.points()
    assert caught.value.where == "axes.load"


def test_a_product_beyond_all_bounds_is_refused_at_once():
    axes = {f"a{n}": {"field": f"train.x{n}", "range": [1, 9999, 1]} for n in range(3)}
    with pytest.raises(RequestError, match="999,700,029,999 points"):
        SweepSpec.of(task="digits", axes=axes).points()


def test_headings_are_as_short_as_they_can_be():
    fields = ["architecture.width", "metric.a.samples", "metric.b.samples", "seed"]
    assert list(short_fields(fields).values()) == ["width", "a.samples", "b.samples", "seed"]
