"""From a name to its owner: near matches, families, clashes, and what llt.toml settles."""

import pytest

from llt_core.plugins import Catalogue
from llt_core.plugins.errors import (
    BrokenPluginError,
    ManifestError,
    PluginClashError,
    UnknownPluginError,
)

FAMILY = "llt_plugins.architectures.torchvision:TorchvisionModel"


def resolve(kind, name):
    return Catalogue.discover().resolve(kind, name)


def states(name):
    catalogue = Catalogue.discover()
    return {e.package: catalogue.state(e) for e in catalogue.entries if e.name == name}


@pytest.mark.parametrize("name", ["resnet18", "llt/resnet18"])
def test_a_plain_and_a_qualified_name(site, name):
    resolved = resolve("architecture", name)
    assert (resolved.entry.qualified, resolved.member) == ("llt/resnet18", "")


@pytest.mark.parametrize("name", ["torchvision/resnet18", "llt/torchvision/resnet18"])
def test_a_member_of_a_family(site, name):
    resolved = resolve("architecture", name)
    assert resolved.entry.target == FAMILY
    assert resolved.member == "resnet18"


def test_the_same_name_in_two_kinds_is_no_clash(site):
    site.add(
        "two-kinds",
        {"registry.toml": site.declare("digits", "two_kinds:Digits", kind="metric")},
    )
    assert resolve("metric", "digits").entry.package == "two-kinds"
    assert resolve("task", "digits").entry.package == "llt"
    assert set(states("digits").values()) == {"ok"}


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("task", "shvn", ["no task is called 'shvn'", "did you mean svhn", "--kind task"]),
        ("metric", "hesian_trace", ["did you mean hessian_trace"]),
        ("metric", "zzzzzz", ["no metric is called 'zzzzzz'", "a registered name"]),
        (
            "metric",
            "digits",
            ["no metric is called 'digits' (there is a plugin of kind task by that name)"],
        ),
        ("metric", "llt/digits", ["of kind task by that name"]),
        ("task", "llt/digitz", ["did you mean llt/digits"]),
        ("task", "nobody/digits", ["did you mean digits or llt/digits"]),
        ("architecture", "resnet18/wide", ["no architecture is called 'resnet18/wide'"]),
        ("task", "", ["no task is called ''"]),
    ],
)
def test_an_unknown_name_is_told_what_is_near(site, kind, name, words):
    with pytest.raises(UnknownPluginError) as caught:
        resolve(kind, name)
    for word in (*words, "llt list-plugins"):
        assert word in str(caught.value)


def test_a_clash_names_both_owners_and_what_settles_it(site):
    site.add_answer("thief-plugin", metric="hessian_trace")
    with pytest.raises(PluginClashError) as caught:
        resolve("metric", "hessian_trace")
    text = str(caught.value)
    assert "offered by llt and by thief-plugin" in text
    assert "thief_plugin/registry.toml" in caught.value.where
    assert '[prefer] hessian_trace = "llt"' in caught.value.next_step
    assert states("hessian_trace") == {"llt": "clash", "thief-plugin": "clash"}
    for owner in ("llt", "thief-plugin"):
        assert resolve("metric", f"{owner}/hessian_trace").entry.package == owner


@pytest.mark.parametrize("owner", ["llt", "thief-plugin"])
def test_prefer_settles_a_clash(site, llt_toml, owner):
    site.add_answer("thief-plugin", metric="hessian_trace")
    llt_toml(f'[prefer]\nhessian_trace = "{owner}"\n')
    assert resolve("metric", "hessian_trace").entry.package == owner
    other = ({"llt", "thief-plugin"} - {owner}).pop()
    assert states("hessian_trace") == {owner: "ok", other: "shadowed"}
    assert resolve("metric", f"{other}/hessian_trace").entry.package == other


def test_preferring_somebody_who_does_not_offer_it_settles_nothing(site, llt_toml):
    site.add_answer("thief-plugin", metric="hessian_trace")
    llt_toml('[prefer]\nhessian_trace = "somebody"\n')
    assert set(states("hessian_trace").values()) == {"clash"}
    with pytest.raises(PluginClashError):
        resolve("metric", "hessian_trace")


@pytest.mark.parametrize("what", ["thief-plugin", "thief-plugin/hessian_trace"])
def test_disabling_one_owner_ends_a_clash(site, llt_toml, what):
    site.add_answer("thief-plugin", metric="hessian_trace")
    path = llt_toml(f'disable = ["{what}"]\n')
    assert resolve("metric", "hessian_trace").entry.package == "llt"
    assert states("hessian_trace") == {"llt": "ok", "thief-plugin": "disabled"}
    for name in ("thief-plugin/hessian_trace", "llt/hessian_trace"):
        if name.startswith("thief"):
            with pytest.raises(UnknownPluginError, match="is disabled in") as caught:
                resolve("metric", name)
            assert str(path) in caught.value.what
        else:
            assert resolve("metric", name).entry.package == "llt"


def test_disabling_a_plain_name_switches_it_off_everywhere(site, llt_toml):
    llt_toml('disable = ["hessian_trace"]\n')
    with pytest.raises(UnknownPluginError, match=r"llt/hessian_trace is disabled in .*llt\.toml"):
        resolve("metric", "hessian_trace")
    with pytest.raises(UnknownPluginError, match="is disabled in"):
        Catalogue.discover().find("hessian_trace")
    assert resolve("metric", "test_loss").entry.package == "llt"


def test_asking_for_a_broken_package_tells_its_error(site):
    site.add_broken()
    for name, words in site.unreadable.items():
        for ask in (lambda n: resolve("metric", n), Catalogue.discover().find):
            with pytest.raises(BrokenPluginError) as caught:
                ask(f"{name}/thing")
            assert f"the package {name} 6.6 is broken: " in caught.value.what
            assert words in caught.value.what


def test_an_unknown_name_may_be_in_a_broken_package(site):
    site.add("bad-import", {"__init__.py": "raise KeyError('k')"}, version="6.6")
    with pytest.raises(UnknownPluginError) as caught:
        resolve("metric", "thing")
    assert "bad-import 6.6: KeyError: 'k'" in caught.value.where
    assert resolve("metric", "hessian_trace").entry.package == "llt"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hessian_trace", {"llt/hessian_trace", "thief-plugin/hessian_trace"}),
        ("llt/hessian_trace", {"llt/hessian_trace"}),
        ("torchvision/vgg11", {"llt/torchvision"}),
        ("llt/torchvision/vgg11", {"llt/torchvision"}),
    ],
)
def test_find_returns_all_that_a_name_could_mean(site, name, expected):
    site.add_answer("thief-plugin", metric="hessian_trace")
    assert {entry.qualified for entry in Catalogue.discover().find(name)} == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("disable = \n", ["line 1"]),
        ('disable = "x"\n', ["'disable' is wrong", "disable = ["]),
        ("require = [1]\n", ["'require' is wrong"]),
        ('prefer = "x"\n', ["'prefer' is wrong"]),
        ("[prefer]\nx = 1\n", ["'prefer' is wrong", '[prefer] with name = "package"']),
        ('[mine]\nkind = "metric"\n', ["table [mine]", "'target' is missing"]),
    ],
)
def test_a_broken_llt_toml_lists_but_does_not_resolve(site, llt_toml, text, words):
    path = llt_toml(text)
    catalogue = Catalogue.discover()
    assert "hessian_trace" in {entry.name for entry in catalogue.entries}
    assert catalogue.find("hessian_trace")
    with pytest.raises(ManifestError) as caught:
        catalogue.resolve("metric", "hessian_trace")
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_the_nearest_llt_toml_counts(site, llt_toml, tmp_path):
    llt_toml('disable = ["hessian_trace"]\n')
    inner = tmp_path / "work" / "a" / "b"
    inner.mkdir(parents=True)
    with pytest.raises(UnknownPluginError):
        Catalogue.discover(inner).resolve("metric", "hessian_trace")
    (inner / "llt.toml").write_text("", encoding="utf-8")
    assert Catalogue.discover(inner).resolve("metric", "hessian_trace")


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("no-such-distribution-here", "is not installed"),
        ("sound-plugin>=2", "is installed as 1.5"),
        ("sound-plugin >< 2", "is not a requirement"),
    ],
)
def test_an_unmet_requirement_stops_every_name(site, llt_toml, requirement, problem):
    site.add_answer("sound-plugin", version="1.5")
    path = llt_toml(f'require = ["{requirement}"]\n')
    catalogue = Catalogue.discover()
    assert catalogue.entries
    with pytest.raises(BrokenPluginError) as caught:
        catalogue.resolve("task", "digits")
    assert f"the required package {requirement!r} {problem}" in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.next_step == f"pip install '{requirement}'"


def test_a_met_requirement_stops_nothing(site, llt_toml):
    site.add_answer("sound-plugin", version="1.5rc1")
    llt_toml('require = ["sound-plugin>=1.4,<2", "llt"]\n')
    assert resolve("task", "digits").entry.package == "llt"


def test_local_registrations_are_plugins_like_others(site, llt_toml):
    path = llt_toml(site.declare("hessian_trace", "mine:Answer") + site.declare("own", "mine:Own"))
    entry = resolve("metric", "own").entry
    assert (entry.qualified, entry.source) == ("local/own", str(path))
    assert resolve("metric", "local/own").entry == entry
    with pytest.raises(PluginClashError, match="offered by llt and by local"):
        resolve("metric", "hessian_trace")
