"""The local executor as a user meets it: scripts, signals, threads and devices."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from llt_core.interfaces import THREADS_VARIABLE, Job, RequestError
from llt_plugins.executors import machine
from llt_plugins.executors.local import Local

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks into /proc")

DRIVER = """
import json, os, signal, sys
from pathlib import Path
from llt_core.interfaces import Job
from llt_plugins.executors.local import Local

print("main runs", flush=True)
executor = Local(workers=2, threads=1)
executor.start(Path("workspace"))
"""

LOOK = """
executor.submit(Job("a", "llt_core.testing.jobs:surroundings", {}), print)
(outcome,) = executor.poll()
print(json.dumps(outcome.result), flush=True)
executor.close()
"""

WORK = """
for name, entry in enumerate(ENTRIES):
    payload = {"seconds": 600, "begun": f"begun{name}"}
    executor.submit(Job(str(name), entry, payload), print)
"""


def write(tmp_path, *parts):
    script = tmp_path / "script.py"
    script.write_text("".join(parts))
    return script


@pytest.fixture
def worker_view(family):
    """What a job sees of its worker, under a Local with the parameters given."""

    def look(**parameters):
        executor = Local(**parameters)
        executor.start(None)
        try:
            executor.submit(Job("a", "llt_core.testing.jobs:surroundings", {}), print)
            (outcome,) = executor.poll(60)
        finally:
            executor.close()
        return outcome.result

    return look


# --------------------------------------------------------------- drivers of every kind


@pytest.mark.parametrize("how", ["script", "command", "standard input", "module"])
def test_main_is_run_once_whatever_it_is(driver, tmp_path, how):
    """There is no guard; a worker that imported the main module would start workers."""
    source = DRIVER + LOOK
    script = write(tmp_path, source)
    arguments = {
        "script": [script], "command": ["-c", source], "standard input": ["-"],
        "module": ["-m", "script"],
    }[how]  # fmt: skip
    process = driver(*arguments, cwd=tmp_path)
    out, err = process.communicate(source if how == "standard input" else "")
    assert process.returncode == 0, err
    assert err == ""
    first, second = out.splitlines()
    assert first == "main runs"
    assert json.loads(second)["pid"] != process.pid


def test_what_a_library_prints_while_it_loads_comes_once(driver, write_module, tmp_path):
    name = write_module("print('hello')\ndef run(payload, report): print('work')")
    script = write(
        tmp_path,
        DRIVER,
        f"for k in '12': executor.submit(Job(k, '{name}:run', {{}}), print)\n",
        "found = executor.poll()\nwhile len(found) < 2: found += executor.poll()\n",
        "executor.close()\n",
    )
    out, err = driver(script, cwd=tmp_path).communicate()
    assert err == ""
    assert sorted(out.splitlines()) == ["hello", "main runs", "work", "work"]


def test_surroundings_are_the_drivers(worker_view, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("/a/path/that is only here")
    for fresh in (False, True):
        seen = worker_view(workers=1, threads=3, fresh=fresh)
        assert seen["path"] == sys.path
        assert seen["folder"] == str(tmp_path)
        assert seen["input"] == ""
        ours = {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", THREADS_VARIABLE: "3"}
        assert {name: seen["environment"].get(name) for name in ours} == ours
        assert dict(os.environ) | ours == seen["environment"]


def test_torch_follows_although_it_was_loaded_before(family, write_module):
    name = write_module(
        """
        import torch
        def run(payload, report):
            left = torch.ones(300, 300)
            return {"threads": torch.get_num_threads(), "sum": (left @ left).sum().item()}
        """
    )
    executor = Local(workers=1, threads=2)
    executor.submit(Job("a", f"{name}:run", {}), print)
    (outcome,) = executor.poll(60)
    executor.close()
    assert outcome.result == {"threads": 2, "sum": 300.0**3}


def test_the_driver_never_loads_torch(driver, tmp_path):
    script = write(tmp_path, DRIVER, LOOK, "assert 'torch' not in sys.modules")
    process = driver(script, cwd=tmp_path)
    _, err = process.communicate()
    assert process.returncode == 0, err


# ------------------------------------------------------------------------- sudden ends

STUCK = """
from pathlib import Path
def stuck(payload, report):
    Path(payload["begun"]).touch()
    sum(range(10**14))  # never lets another thread of this process run
"""


@pytest.mark.parametrize("fresh", [False, True])
def test_workers_die_with_their_driver(driver, family, write_module, tmp_path, wait_for, fresh):
    name = write_module(STUCK)
    entries = ["llt_core.testing.jobs:sleep", f"{name}:stuck"]
    source = DRIVER.replace("threads=1", f"threads=1, fresh={fresh}")
    script = write(
        tmp_path, source, f"sys.path.insert(0, {str(tmp_path)!r})\n", f"ENTRIES = {entries}\n",
        WORK, "executor.poll()",
    )  # fmt: skip
    process = driver(script, cwd=tmp_path)
    wait_for(tmp_path / "begun0")
    wait_for(tmp_path / "begun1")
    assert len(family.alive()) == 4  # driver, nursery, two workers
    process.send_signal(signal.SIGKILL)
    process.wait()
    family.wait_until_gone()


def test_workers_die_with_driver_and_nursery_both(driver, family, tmp_path, wait_for):
    source = DRIVER.replace("workers=2", "workers=1")
    script = write(tmp_path, source, "ENTRIES = ['llt_core.testing.jobs:sleep']\n", WORK,
                   "executor.poll()")  # fmt: skip
    process = driver(script, cwd=tmp_path)
    worker = int(wait_for(tmp_path / "begun0").split()[1])
    others = family.alive() - {worker}
    assert process.pid in others
    for pid in others:
        os.kill(pid, signal.SIGKILL)
    family.wait_until_gone()


def test_a_fork_of_the_driver_does_not_keep_workers_alive(driver, family, tmp_path, wait_for):
    """It holds copies of all the driver's sockets, so none of them is ever closed."""
    fork = "child = os.fork()\nif not child: import time; time.sleep(600)\n"
    save = "Path('child.part').write_text(str(child)); Path('child.part').rename('child')\n"
    script = write(tmp_path, DRIVER, "ENTRIES = ['llt_core.testing.jobs:sleep']\n", WORK, fork,
                   save, "executor.poll()")  # fmt: skip
    process = driver(script, cwd=tmp_path)
    wait_for(tmp_path / "begun0")
    child = int(wait_for(tmp_path / "child"))
    process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while family.alive() != {child}:
        assert time.monotonic() < end, family.alive()
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)


def test_an_exception_in_the_driver_leaves_nothing(driver, family, tmp_path):
    script = write(tmp_path, DRIVER, "ENTRIES = ['llt_core.testing.jobs:sleep'] * 3\n", WORK,
                   "raise ValueError('no close')")  # fmt: skip
    process = driver(script, cwd=tmp_path)
    _, err = process.communicate()
    assert "no close" in err
    family.wait_until_gone()


def test_ctrl_c_reaches_the_driver_alone(driver, tmp_path):
    """A terminal sends it to the whole process group; running jobs may be worth finishing.

    Sent all the time, it also meets processes that have only just been started.
    """
    script = write(
        tmp_path,
        "import signal\nheard = []\nsignal.signal(signal.SIGINT, lambda *_: heard.append(1))\n",
        DRIVER,
        textwrap.dedent("""
        payload = {"seconds": 0.5, "begun": "begun"}
        executor.submit(Job("a", "llt_core.testing.jobs:sleep", payload), print)
        found = []
        while not found:
            found = executor.poll(60)
        print(len(heard) > 1, found[0].failure)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        executor.close()
        print("closed")
        """),
    )
    process = driver(script, cwd=tmp_path, start_new_session=True)
    assert process.stdout.readline() == "main runs\n"
    end = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < end
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.005)
    out, err = process.communicate()
    assert err == ""
    assert out.splitlines() == ["True None", "closed"]
    assert process.returncode == 0


# ------------------------------------------------------------------- cores and devices


def test_one_worker_a_core_and_the_cores_are_shared():
    variables = machine.lay_out(0, 0, 1, [], 4)
    assert len(variables) == 4
    assert variables[0] == {
        THREADS_VARIABLE: "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"
    }  # fmt: skip
    assert [v[THREADS_VARIABLE] for v in machine.lay_out(2, 0, 1, [], 5)] == ["2"] * 2
    assert [v[THREADS_VARIABLE] for v in machine.lay_out(8, 0, 1, [], 4)] == ["1"] * 8
    assert [v[THREADS_VARIABLE] for v in machine.lay_out(2, 3, 1, [], 4)] == ["3"] * 2
    assert [v[THREADS_VARIABLE] for v in machine.lay_out(2, 0, 1, [], 8, most=3)] == ["3"] * 2
    assert [v[THREADS_VARIABLE] for v in machine.lay_out(4, 0, 1, [], 8, most=3)] == ["2"] * 4
    assert [v[THREADS_VARIABLE] for v in machine.lay_out(2, 4, 1, [], 8, most=3)] == ["4"] * 2


@pytest.mark.parametrize(
    ("workers", "per_gpu", "devices"),
    [
        (0, 1, ["5", "GPU-ab"]),
        (0, 2, ["5", "GPU-ab", "5", "GPU-ab"]),
        (1, 1, ["5"]),
        (3, 1, ["5", "GPU-ab", "5"]),
        (2, 0, ["", ""]),
    ],
)
def test_devices_are_dealt_to_workers_in_turn(workers, per_gpu, devices):
    gpus = ["5", "GPU-ab"] if per_gpu else []
    variables = machine.lay_out(workers, 0, per_gpu, gpus, 8)
    assert [v["CUDA_VISIBLE_DEVICES"] for v in variables] == devices
    assert {v[THREADS_VARIABLE] for v in variables} == {str(8 // len(devices))}


def test_devices_are_chosen_by_number():
    assert machine.choose_gpus((), ["5", "7"]) == ["5", "7"]
    assert machine.choose_gpus((1,), ["5", "7"]) == ["7"]
    for visible, there in ((["5", "7"], "0 to 1"), ([], "no CUDA device")):
        with pytest.raises(RequestError, match="there is no GPU 2") as refused:
            machine.choose_gpus((0, 2) if visible else (2,), visible)
        assert there in str(refused.value)


DRIVER_LIBRARY = """
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) { return getenv("NO_DEVICE") ? 100 : 0; }
int cuDeviceGetCount(int *count) {
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    *count = 4;
    if (seen) for (*count = *seen ? 1 : 0; (seen = strchr(seen, ',')); seen++) ++*count;
    return 0;
}
"""


@pytest.fixture
def four_devices(tmp_path, monkeypatch):
    """A stand-in for NVIDIA's library, that counts devices as that does."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    source.write_text(DRIVER_LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_devices_are_counted_by_the_cuda_driver(four_devices, monkeypatch):
    assert machine.visible_gpus() == ["0", "1", "2", "3"]
    assert Local(per_gpu=2).capacity() == 8
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1, 3")
    assert machine.visible_gpus() == ["GPU-1", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("NO_DEVICE", "1")
    assert machine.visible_gpus() == []


def test_a_worker_sees_its_device_only(four_devices, worker_view, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert worker_view(gpus=(1,))["environment"]["CUDA_VISIBLE_DEVICES"] == "5"
    assert worker_view(per_gpu=0)["environment"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_containers_share_of_the_cores_counts(tmp_path):
    assert machine.cores(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cores(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert machine.cores(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("80000")
    assert machine.cores(tmp_path) == 1


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(RequestError, match="there is no GPU 0 here"):
        Local(gpus=(0,)).start(None)
    assert Local(workers=3).capacity() == 3
    assert Local().capacity() == machine.cores()
