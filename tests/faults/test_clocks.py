"""Clocks that are wrong, and that jump: nobody trusts them."""

import itertools
import os
import random
import shutil
import struct
import subprocess
import time

import pytest

pytestmark = pytest.mark.slow
YEAR = 365 * 24 * 3600
COMPILER = shutil.which("cc")
SHIFTED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile const long *offset;

__attribute__((constructor)) static void find(void) {
    const char *name = getenv("CLOCK_OFFSET");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *found = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) offset = found;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, now);
    if (!failed && offset && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    int failed = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
"""
"""The time of day, and what a file adds to it; the monotonic clock stays as it is."""


class Clock:
    """A clock for one driver and its workers, which can be set while they run."""

    def __init__(self, library, file, offset):
        self.file = file
        file.write_bytes(struct.pack("l", offset))
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(file)}

    def set(self, offset):
        with self.file.open("r+b") as content:
            content.write(struct.pack("l", offset))


@pytest.fixture
def clock(tmp_path):
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    (tmp_path / "clock.c").write_text(SHIFTED)
    library, numbers = tmp_path / "clock.so", itertools.count()
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True
    )
    return lambda offset=0: Clock(library, tmp_path / f"clock{next(numbers)}", offset)


def test_the_clock_of_these_tests_is_wrong(ground, clock):
    asked = ground.python(
        "-c",
        "import datetime as d, time; print(time.time() - time.monotonic(), d.datetime.now().year)",
        **clock(10 * YEAR).variables,
    )
    shift, year = asked.communicate(timeout=60)[0].split()
    assert float(shift) == pytest.approx(time.time() - time.monotonic() + 10 * YEAR, abs=60)
    assert int(year) - time.gmtime().tm_year in (9, 10)


def test_a_clock_that_jumps(ground, tools, undisturbed, clock):
    store = ground.home / "store"
    chance, jumps = random.Random(7), 0
    wrong = clock()
    with tools.watched(store):
        process = ground.start(store, **wrong.variables)
        while process.poll() is None:
            time.sleep(0.5)
            wrong.set(chance.choice([-1, 1]) * chance.randrange(20 * YEAR))
            for file in store.rglob("*"):
                if chance.random() < 0.1 and file.is_file():
                    try:
                        moment = time.time() + chance.uniform(-1, 1) * 20 * YEAR
                        os.utime(file, (moment, moment))
                    except FileNotFoundError:
                        continue
            jumps += 1
        ground.finish(process)
    assert jumps > 3
    assert (tools.table(store), tools.export(store)) == undisturbed
    assert tools.unfinished(store) == 0
    tools.check_tidy(store)


def test_drivers_of_different_years_share_the_work(ground, tools, undisturbed, clock):
    """The one in the future is killed; those in the past and in the present go on."""
    store = ground.home / "store"
    killed = ground.start(store, **clock(10 * YEAR).variables)
    tools.until(lambda: tools.finished(store) >= 12)
    killed.kill()
    killed.communicate()
    with tools.watched(store):
        several = [
            ground.start(store, executor="local:workers=1", **variables)
            for variables in (clock(-10 * YEAR).variables, {})
        ]
        for process in several:
            ground.finish(process)
    assert (tools.table(store), tools.export(store)) == undisturbed
    assert tools.unfinished(store) <= 2
    tools.check_tidy(store)
