"""A default that changes without a new version would make old results answer new questions."""

import json
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMMAND = "python tests/golden/make_defaults.py"
MADE = runpy.run_path(str(HERE / "make_defaults.py"))
STORED = json.loads((HERE / "defaults.json").read_text(encoding="utf-8"))
NOW = json.loads(json.dumps(MADE["snapshot"]()))


def complaint(name, before, now):
    """Say what is wrong with a change from ``before`` to ``now``; empty if nothing is."""
    if before == now:
        return ""
    if before is None:
        return f"{name} is new: record its defaults with: {COMMAND}"
    if now is None:
        return f"{name} is gone: if that is meant, record it with: {COMMAND}"
    fields = {**before["defaults"], **now["defaults"]}
    old, new = before["defaults"], now["defaults"]
    changed = [key for key in fields if key in old and (key not in new or new[key] != old[key])]
    if changed and now["version"] <= before["version"]:
        what = ", ".join(f"{key} from {old[key]!r} to {new.get(key)!r}" for key in changed)
        return (
            f"{name} changed {what}, but its version is still {now['version']}: cells stored "
            f"under the old default would be taken for the new one. Raise `version` in the "
            f"class, then run: {COMMAND}"
        )
    return f"{name} changed (version {now['version']}): record it with: {COMMAND}"


@pytest.mark.parametrize("name", sorted({*STORED["plugins"], *NOW["plugins"]}))
def test_defaults_of_plugins(name):
    told = complaint(name, STORED["plugins"].get(name), NOW["plugins"].get(name))
    assert not told, told


def test_defaults_of_training():
    told = complaint("TrainingRecipe", STORED["recipe"], NOW["recipe"])
    assert not told, told


def test_named_recipes():
    assert NOW["recipes"] == STORED["recipes"], (
        "a named recipe changed: `train.recipe=NAME` now asks for other cells than before. "
        f"If that is meant, say so in the changelog and run: {COMMAND}"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p["defaults"].update(fraction=1), "changed fraction from 'required' to 1, but"),
        (lambda p: p["defaults"].pop("seed"), "changed seed from 0 to None, but its version is"),
        (lambda p: p["defaults"].update(added=1), "record it with"),
        (lambda p: p.update(version=2), "record it with"),
        (lambda p: (p.update(version=2), p["defaults"].update(seed=1)), "record it with"),
    ],
)
def test_changes_are_noticed(change, says):
    before = STORED["plugins"]["perturbation data_subset"]
    now = json.loads(json.dumps(before))
    change(now)
    told = complaint("x", before, now)
    assert says in told
    assert ("Raise `version`" in told) == ("but" in says)


def test_every_kind_of_built_in_is_there():
    kinds = {name.partition(" ")[0] for name in NOW["plugins"]}
    assert kinds == {"task", "architecture", "perturbation", "metric", "executor", "tracker"}
