"""Running the checks of the kit as a test runner would."""

from unittest import SkipTest

import pytest


def _failures(kit, instance, *names, **attributes):
    checks = type("Checks", (kit,), {"component": instance, **attributes})()
    found = {}
    for name in names or [name for name in dir(checks) if name.startswith("test_")]:
        try:
            getattr(checks, name)()
        except SkipTest:
            pass
        except Exception as error:
            found[name] = str(error)
    return found


@pytest.fixture
def failures():
    """Run all checks of a kit on a plugin, or those named; return the messages that fail."""
    return _failures
