"""The built-in executors that need nothing but this machine run the kit that strangers run."""

from llt_core.testing import ExecutorConformance
from llt_plugins.executors.inline import Inline
from llt_plugins.executors.local import Local


class TestInline(ExecutorConformance):
    component = Inline()
    own_processes = False


class TestLocal(ExecutorConformance):
    component = Local(workers=2, threads=1)


class TestLocalWithFreshWorkers(ExecutorConformance):
    component = Local(workers=2, threads=1, fresh=True)
