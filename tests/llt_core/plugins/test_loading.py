"""From an entry to a class to a component: what is broken and what is misspelt says so."""

import sys

import pytest

from llt_core.errors import RequestError
from llt_core.plugins import Catalogue
from llt_core.plugins.errors import BrokenPluginError
from llt_core.plugins.loader import create, load


def entry(name, kind="metric"):
    return Catalogue.discover().resolve(kind, name).entry


def make(name, kind="metric", **parameters):
    return create(Catalogue.discover().resolve(kind, name), parameters)


def test_only_the_class_asked_for_is_imported(site):
    tables = site.declare("one", "lazy.a:Answer") + site.declare("two", "lazy.b:Answer")
    files = {"__init__.py": "", "a.py": site.answer, "b.py": site.answer, "registry.toml": tables}
    site.add("lazy", files)
    assert load(entry("one")).__module__ == "lazy.a"
    assert "lazy.b" not in sys.modules


def test_every_way_to_be_unloadable_names_package_version_and_error(site):
    site.add_broken()
    for name, words in site.unloadable.items():
        with pytest.raises(BrokenPluginError) as caught:
            load(entry(name))
        assert f"the metric {name!r} is broken: " in caught.value.what
        assert words in caught.value.what, name
        assert caught.value.where.startswith("load-bad 7.7 (")
        assert "load-bad" in caught.value.next_step


def test_a_missing_extra_is_answered_with_the_line_that_installs_it(site):
    needs = "needs = { extra = 'fancy' }\n"
    tables = [site.declare("a", "extra_plugin.needy:A"), site.declare("b", "extra_plugin.wrong:B")]
    files = {
        "__init__.py": "",
        "needy.py": "import no_such_module_anywhere",
        "wrong.py": "1 / 0",
        "registry.toml": needs.join([*tables, ""]),
    }
    site.add("extra-plugin", files)
    with pytest.raises(BrokenPluginError) as caught:
        load(entry("a"))
    assert caught.value.next_step == "pip install 'extra-plugin[fancy]'"
    with pytest.raises(BrokenPluginError, match="ZeroDivisionError") as caught:
        load(entry("b"))
    assert "pip install" not in caught.value.next_step


def test_a_class_of_another_kind_is_refused(site):
    site.add(
        "kind-plugin",
        {"registry.toml": site.declare("net", "llt_plugins.tasks.digits:Digits", "architecture")},
    )
    with pytest.raises(BrokenPluginError, match="not a subclass of Architecture"):
        load(entry("net", "architecture"))


def test_a_metric_beside_llt_toml(site, llt_toml):
    path = llt_toml(site.declare("own", "own_metrics_here:Answer"))
    (path.parent / "own_metrics_here.py").write_text(site.answer, encoding="utf-8")
    metric = make("own", offset=3)
    assert metric.measure(None)[0].value == 45.0
    assert sys.modules["own_metrics_here"].__file__ == str(path.parent / "own_metrics_here.py")


def test_a_local_metric_whose_file_is_missing(site, llt_toml):
    path = llt_toml(site.declare("own", "own_metrics_missing:Answer"))
    with pytest.raises(BrokenPluginError, match="own_metrics_missing") as caught:
        load(entry("own"))
    assert str(path) in caught.value.where


def test_parameters_are_validated_into_the_component(site):
    site.add_answer("sound-plugin")
    assert make("answer").offset == 0
    assert make("answer", offset=9).offset == 9


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"ofset": 1}, ["no parameter 'ofset'", "did you mean offset? (one of offset)"]),
        ({"zzz": 1}, ["no parameter 'zzz'", "one of offset"]),
        ({"offset": "many"}, ["cannot take offset = 'many'", "a whole number"]),
        ({"offset": 10}, ["cannot take offset = 10", "at most 9"]),
        ({"offset": None}, ["cannot take offset = None"]),
    ],
)
def test_a_wrong_parameter_is_named(site, parameters, words):
    site.add_answer("sound-plugin")
    with pytest.raises(RequestError) as caught:
        make("answer", **parameters)
    for word in ("the metric 'answer'", *words, "llt show sound-plugin/answer"):
        assert word in str(caught.value)


def test_the_parameter_of_a_built_in_points_to_its_plain_name(site):
    with pytest.raises(RequestError) as caught:
        make("mlp", "architecture", widht=3)
    assert "did you mean width?" in caught.value.expected
    assert caught.value.next_step == "llt show mlp"


def test_a_family_without_its_member(site):
    with pytest.raises(RequestError) as caught:
        make("torchvision", "architecture")
    assert "needs the parameter 'name'" in caught.value.what
    assert caught.value.expected == "torchvision/NAME"


def test_a_missing_parameter(site):
    answer = site.answer.replace("parameter(0, ", "parameter(")
    site.add(
        "demanding",
        {"m.py": answer, "registry.toml": site.declare("answer", "demanding.m:Answer")},
    )
    with pytest.raises(RequestError) as caught:
        make("answer")
    assert "needs the parameter 'offset'" in caught.value.what
    assert caught.value.next_step == "llt show demanding/answer"


def test_a_metric_without_parameters(site):
    with pytest.raises(RequestError) as caught:
        make("inline", "executor", workers=3)
    assert caught.value.expected == "no parameters"
