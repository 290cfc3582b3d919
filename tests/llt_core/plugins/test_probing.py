"""The probe imports everything in a child process, and survives what it finds there."""

from llt_core.plugins import probe as module
from llt_core.plugins.probe import probe


def test_every_plugin_is_tried_and_a_fatal_one_costs_only_itself(site, llt_toml, monkeypatch):
    monkeypatch.setenv("LLT_DATA", str(site.folder / "data"))
    site.add_broken()
    site.add_answer("sound-plugin")
    site.add_answer("unwanted-plugin")
    manifest = site.declare("fatal", "fatal.metrics:Answer")
    files = {
        "__init__.py": "",
        "metrics.py": "import os\nprint('llt')\nos._exit(7)\n",
        "hooks.py": "from llt_core.plugins import hookimpl\n@hookimpl\ndef llt_strated(): pass\n",
        "registry.toml": manifest,
    }
    site.add("fatal", files, entry_point="fatal.hooks")
    llt_toml('disable = ["unwanted-plugin"]\n')
    report = probe()
    loads = report["loads"]
    assert "error" not in report
    assert loads["llt/resnet18"] == loads["sound-plugin/answer"] == ""
    assert "unwanted-plugin/answer" not in loads
    for name, words in site.unloadable.items():
        assert words in loads[f"load-bad/{name}"]
    assert loads["fatal/fatal"] == "it ends the process with code 7"
    assert "unknown hook 'llt_strated'" in report["hooks"]["fatal"]
    assert report["hooks"]["llt"] == report["hooks"]["sound-plugin"] == ""
    assert report["device"]["cores"] >= 1
    assert report["tasks"]["llt/digits"] == {"found": 1, "wanted": 1}
    assert report["tasks"]["llt/svhn"] == {"found": 0, "wanted": 2}


def test_a_torch_that_ends_the_process_costs_only_the_device(site, monkeypatch):
    monkeypatch.setenv("LLT_PLUGINS", "off")
    (site.folder / "torch.py").write_text("import os; os._exit(9)", encoding="utf-8")
    report = probe()
    assert report["device"] == {"error": "it ends the process with code 9"}
    assert report["loads"]["llt/resnet18"] == report["hooks"]["llt"] == ""


def test_a_child_that_tells_nothing_is_an_error_not_a_crash(site):
    (site.folder / "sitecustomize.py").write_text("import os; os._exit(5)", encoding="utf-8")
    report = probe()
    assert report["error"] == "it ends the process with code 5"
    assert report["loads"] == report["hooks"] == report["tasks"] == report["device"] == {}


def test_a_child_that_does_not_end_is_given_up(site, monkeypatch):
    sleep = "import time; time.sleep(30)"
    (site.folder / "sitecustomize.py").write_text(sleep, encoding="utf-8")
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    assert probe()["error"] == "it takes more than 0.2 seconds"
