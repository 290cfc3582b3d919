"""``list-plugins``, ``show`` and ``doctor`` as a user meets them: processes, text, exit codes."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from llt_core.version import __version__

Site = runpy.run_path(str(Path(__file__).parents[1] / "plugins" / "conftest.py"))["Site"]
LLT = Path(sys.executable).parent / "llt"


class Shell:
    """Calls the installed script ``llt`` in a folder of its own, with packages of its own."""

    def __init__(self, folder: Path):
        self.site = Site(folder / "site")
        self.work = folder / "work"
        self.work.mkdir()

    def env(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("LLT_")}
        env |= {"PYTHONPATH": str(self.site.folder), "COLUMNS": "300", "NO_COLOR": "1", **more}
        return env | {"LLT_DATA": str(self.work / "data")}

    def run(self, *words, expect=0, program=(LLT,), **env):
        done = subprocess.run(
            [*program, *words], capture_output=True, text=True, cwd=self.work, env=self.env(**env)
        )
        assert done.returncode == expect, f"{words}: {done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def refused(self, *words, **env):
        """Return what a wrong request is told: on standard error, nothing on standard output."""
        done = self.run(*words, expect=2, **env)
        assert done.stdout == ""
        return done.stderr


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Every broken package, one that takes a built-in name, and one that is slow to import."""
    shell = Shell(tmp_path_factory.mktemp("crowded"))
    shell.site.add_broken()
    shell.site.add_answer("thief-plugin", metric="hessian_trace", version="0.9")
    shell.site.add(
        "heavy-plugin",
        {
            "__init__.py": "import torch",
            "hooks.py": "",
            "registry.toml": shell.site.declare("heavy", "heavy_plugin.metrics:Answer"),
            "metrics.py": shell.site.answer,
        },
        entry_point="heavy_plugin.hooks",
        version="5.5",
    )
    return shell


WATCH = """
import contextlib, io, json, sys
from llt_core.cli.main import main
seen = {}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(words)
    slow = [m for m in ("torch", "pandas", "sklearn", "pydantic") if m in sys.modules]
    seen[" ".join(words)] = [code, bool(out.getvalue()), slow]
print(json.dumps(seen))
"""


def test_looking_around_imports_nothing_slow(crowded):
    light = [["--help"], ["list-plugins"], ["list-plugins", "--format", "json"], ["run", "--help"]]
    described = [["show", "llt/hessian_trace"], ["show", "resnet18"], ["show", "svhn"]]
    described += [["show", "torchvision/resnet18"], ["show", "digits"], ["show", "label_noise"]]
    calls = [*light[:3], *described, light[3], ["doctor"]]
    done = crowded.run(json.dumps(calls), program=(sys.executable, "-c", WATCH))
    seen = json.loads(done.stdout)
    assert set(seen) == {" ".join(words) for words in calls}
    for words, (code, printed, slow) in seen.items():
        assert (code, printed) == (1 if words == "doctor" else 0, True), words
        assert "torch" not in slow, words
        assert slow in ([], ["pydantic"]), words
    for words in light[:3]:
        assert seen[" ".join(words)][2] == [], words


# ---------------------------------------------------------------------------- list-plugins


def test_the_table_lists_the_built_ins(shell):
    out = shell.run("list-plugins").stdout
    for name in ("digits", "resnet18", "torchvision/NAME", "label_noise", "hessian_trace"):
        assert any(line.split()[:1] == [name] for line in out.splitlines()), name
    assert "broken" not in out
    assert "clash" not in out


def test_one_kind_at_a_time(shell):
    rows = json.loads(shell.run("list-plugins", "--kind", "task", "--format", "json").stdout)
    assert {row["kind"] for row in rows["plugins"]} == {"task"}
    out = shell.run("list-plugins", "--kind", "metric").stdout
    assert "hessian_trace" in out
    assert "resnet18" not in out
    assert "'taks' is not one of" in shell.refused("list-plugins", "--kind", "taks")


def test_broken_and_clashing_packages_are_listed(crowded):
    out = crowded.run("list-plugins").stdout
    lines = out.splitlines()
    for name, words in crowded.site.unreadable.items():
        assert any(f"broken {name} 6.6: " in line and words in line for line in lines), name
    clashing = [line.split()[:4] for line in lines if "[clash]" in line]
    assert clashing == [
        ["hessian_trace", "[clash]", "metric", "llt"],
        ["hessian_trace", "[clash]", "metric", "thief-plugin"],
    ]
    assert '[prefer] name = "package"' in out
    assert any(line.split()[:3] == ["heavy", "metric", "heavy-plugin"] for line in lines)


def test_json_and_requirements_say_the_same(crowded):
    document = json.loads(crowded.run("list-plugins", "--format", "json").stdout)
    assert {b["package"]: b["version"] for b in document["broken"]} == dict.fromkeys(
        crowded.site.unreadable, "6.6"
    )
    rows = {(row["package"], row["name"]): row for row in document["plugins"]}
    assert rows["thief-plugin", "hessian_trace"]["state"] == "clash"
    assert rows["heavy-plugin", "heavy"]["version"] == "5.5"
    assert rows["llt", "hessian_trace"]["needs"] == {"second_order": True}
    lines = crowded.run("list-plugins", "--format", "requirements").stdout.splitlines()
    assert lines[0] == f"llt=={__version__}"
    assert {"thief-plugin==0.9", "heavy-plugin==5.5", "load-bad==7.7"} < set(lines)


def test_the_switch_hides_every_stranger(crowded):
    out = crowded.run("list-plugins", LLT_PLUGINS="off").stdout
    assert "broken" not in out
    assert "clash" not in out
    lines = crowded.run("list-plugins", "--format", "requirements", LLT_PLUGINS="off").stdout
    assert lines == f"llt=={__version__}\n"


def test_verbose_says_what_loads(crowded):
    settings = crowded.work / "llt.toml"
    settings.write_text('disable = ["no_class", "bad-import"]\n', encoding="utf-8")
    try:
        lines = crowded.run("list-plugins", "-v", "--kind", "metric").stdout.splitlines()
    finally:
        settings.unlink()
    rows = {tuple(line.split()[:2]): line.split() for line in lines}
    target = "heavy_plugin.metrics:Answer"
    assert rows["heavy", "metric"][2:] == ["heavy-plugin", "5.5", target, "yes"]
    assert rows["test_loss", "metric"][-1] == "yes"
    assert rows["no_class", "[disabled]"][-2:] == ["not", "tried"]
    for name in set(crowded.site.unloadable) - {"no_class"}:
        assert rows[name, "metric"][2:4] == ["load-bad", "7.7"]
        assert rows[name, "metric"][-1] == "no"
        (line,) = [line for line in lines if line.startswith(f"broken load-bad/{name}: ")]
        assert crowded.site.unloadable[name] in line
    assert not any(line.startswith(("broken load-bad/no_class", "broken bad-i")) for line in lines)
    assert any(line.startswith("broken bad-exit 6.6") for line in lines)


# ------------------------------------------------------------------------------------ show


def test_show_says_what_can_be_set(shell):
    out = shell.run("show", "label_noise").stdout
    for words in ("label_noise", "perturbation", "fraction", "float", "example:", "--perturb"):
        assert words in out
    (shown,) = json.loads(shell.run("show", "torchvision/vgg11", "--json").stdout)
    assert shown["name"] == "torchvision"
    assert "--arch torchvision/" in shown["example"]
    name = {row["name"]: row for row in shown["parameters"]}["name"]
    assert (name["default"], name["type"]) == ("required", "str")


def test_show_of_a_third_party_metric(shell):
    shell.site.add_answer("sound-plugin", version="1.2")
    (shown,) = json.loads(shell.run("show", "answer", "--json").stdout)
    assert shown["package"] == "sound-plugin 1.2"
    assert shown["parameters"] == [
        {
            "name": "offset",
            "type": "int",
            "range": "≥ 0, ≤ 9",
            "default": 0,
            "unit": "units",
            "description": "What to add to 42",
        }
    ]
    assert shown["returns"][0]["description"] == "42 and a little more"


def test_show_names_types_and_ranges_as_a_user_types_them(shell):
    (shown,) = json.loads(shell.run("show", "loss_plane", "--json").stdout)
    rows = {row["name"]: row for row in shown["parameters"]}
    assert rows["samples"]["type"] == "int or null"
    assert rows["samples"]["range"] == "≥ 1"
    assert rows["models"] | {"description": ""} == {
        "name": "models", "type": "list of 3 int", "range": "", "default": [0, 1, 2],
        "unit": "", "description": "",
    }  # fmt: skip
    assert shown["measures"].startswith("all models of a run together")
    (shown,) = json.loads(shell.run("show", "mode_connectivity", "--json").stdout)
    rows = {row["name"]: row for row in shown["parameters"]}
    assert rows["batch_norm"]["type"] == "full | none or int"
    assert rows["samples"]["default"] is None


def test_show_fits_a_narrow_terminal(shell):
    lines = shell.run("show", "cka", COLUMNS="80").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for words in (
        "so features=layers is debiased by default",
        "(softmax | logits | layers)",
        "640 samples",
        "measures: pairs of models: --models 2 or more",
    ):
        assert words in text
    assert not any(mark in text for mark in ("`", "**", "FieldInfo", "Optional"))


def test_show_of_a_name_with_two_owners(crowded):
    shown = json.loads(crowded.run("show", "hessian_trace", "--json").stdout)
    assert [one["package"] for one in shown] == [f"llt {__version__}", "thief-plugin 0.9"]


def test_of_two_owners_a_broken_one_costs_only_itself(shell):
    files = {"registry.toml": shell.site.declare("hessian_trace", "nowhere_at_all:X")}
    shell.site.add("poor-thief", files)
    done = shell.run("show", "hessian_trace")
    assert f"llt {__version__}" in done.stdout
    assert "No module named 'nowhere_at_all'" in done.stderr
    assert "poor-thief 1.0" in done.stderr
    assert "nowhere_at_all" in shell.refused("show", "poor-thief/hessian_trace")


def test_asking_for_a_broken_one_is_the_error(crowded):
    for name in ("bad-toml", "bad-hook"):
        told = crowded.refused("show", f"{name}/thing")
        assert f"the package {name} 6.6 is broken: " in told
        assert crowded.site.unreadable[name] in told
    for name in ("no_class", "exits"):
        told = crowded.refused("show", name)
        assert f"the metric '{name}' is broken: " in told
        assert crowded.site.unloadable[name] in told
        assert "load-bad 7.7" in told


def test_running_a_broken_or_clashing_one_is_the_error(crowded):
    def told(metric):
        return crowded.refused("run", "--task", "digits", "--metric", metric, "--dry-run")

    assert "load-bad 7.7" in told("raises")
    assert "RuntimeError: on a bad day" in told("load-bad/raises")
    assert "the package bad-exit 6.6 is broken: SystemExit: not today" in told("bad-exit/thing")
    clash = told("hessian_trace")
    assert "offered by llt and by thief-plugin" in clash
    assert '[prefer] hessian_trace = "llt"' in clash
    near = told("hesian_trace")
    assert "did you mean hessian_trace" in near
    assert "bad-import 6.6" in near


# -------------------------------------------------------------------------- llt.toml, doctor


def test_llt_toml_settles_a_clash_for_every_command(shell):
    shell.site.add_answer("thief-plugin", metric="hessian_trace")
    (shell.work / "llt.toml").write_text('[prefer]\nhessian_trace = "thief-plugin"\n')
    out = shell.run("list-plugins", "--kind", "metric").stdout
    assert "hessian_trace [shadowed]" in out
    assert "clash" not in out
    misspelt = ("run", "--task", "digits", "--metric", "hessian_trace:sampels=3", "--dry-run")
    assert "next: llt show thief-plugin/hessian_trace" in shell.refused(*misspelt)
    (shell.work / "llt.toml").write_text('[prefer]\nhessian_trace = "llt"\n')
    told = shell.refused(*misspelt)
    assert "did you mean samples?" in told
    assert "next: llt show hessian_trace" in told


def test_a_broken_llt_toml_stops_only_what_needs_it(shell):
    (shell.work / "llt.toml").write_text("disable = \n")
    out = shell.run("list-plugins").stdout
    assert "hessian_trace" in out
    assert "llt.toml cannot read the manifest" in out
    document = json.loads(shell.run("list-plugins", "--format", "json").stdout)
    assert "cannot read the manifest" in document["settings_error"]
    shell.run("show", "hessian_trace")
    told = shell.refused("run", "--task", "digits", "--metric", "test_loss", "--dry-run")
    assert str(shell.work / "llt.toml") in told


def test_the_doctor_finds_nothing_here(shell):
    report = json.loads(shell.run("doctor", "--json").stdout)
    assert report["problems"] == []
    assert report["llt"] == __version__
    assert report["versions"]["torch"]
    assert report["data_root"] == str(shell.work / "data")
    assert report["device"]["cores"] >= 1
    assert report["data"]["llt/digits"] == {"found": 1, "wanted": 1}


def test_the_doctor_finds_everything_broken(crowded):
    out = crowded.run("doctor", expect=1).stdout
    problems = [line for line in out.splitlines() if line.startswith("problem ")]
    for name, words in crowded.site.unreadable.items():
        assert any(f"package {name} 6.6: " in line and words in line for line in problems), name
    for name, words in crowded.site.unloadable.items():
        assert any(f"load-bad/{name}: " in line and words in line for line in problems), name
    assert "problem clashing names: llt/hessian_trace, thief-plugin/hessian_trace" in problems
    assert len(problems) == len(crowded.site.unreadable) + len(crowded.site.unloadable) + 1


# ------------------------------------------------------------------------- the group itself


def test_help_and_version(shell):
    out = shell.run("--help").stdout
    for name in ("run", "results", "export", "list-plugins", "show", "doctor"):
        assert any(line.split()[1:2] == [name] for line in out.splitlines()), name
    assert __version__ in shell.run("--version").stdout
    module = (sys.executable, "-m", "llt_core.cli.main")
    assert shell.run("--help", program=module).stdout == out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("no-such-command",), "llt has no command 'no-such-command'"),
        (("list-plugins", "--colour"), "No such option"),
        (("show",), "Missing argument"),
        (("list-plugins", "--format", "xml"), "'xml' is not one of"),
        (("show", "hesian_trace"), "did you mean hessian_trace"),
        (("show", "torchvision/resnet1"), "did you mean resnet18"),
    ],
)
def test_a_wrong_call_exits_with_two(shell, words, told):
    assert told in shell.run(*words, expect=2).stderr
