# SPDX-License-Identifier: Apache-2.0
"""What all tests with real guests need: the guest's kernel and RAM disk, made once."""
import os
import shutil
import subprocess
import tempfile

import pytest

from hvbed import GUEST


def pytest_configure(config):
    config.addinivalue_line("markers", "long: left out for time unless GW_LONG is set")


def pytest_collection_modifyitems(config, items):
    if not os.environ.get("GW_LONG"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def images():
    if not [f for f in os.listdir("/boot") if f.startswith("vmlinuz-") and f.endswith("-cloud-amd64")]:
        pytest.skip("no Debian cloud kernel in /boot: apt-get install linux-image-cloud-amd64")
    out = tempfile.mkdtemp(prefix="gwguest-")      # not pytest's, which emulators with a user of their own cannot enter
    os.chmod(out, 0o755)
    try:
        subprocess.run([GUEST, out], check=True)
        yield out
    finally:
        shutil.rmtree(out, ignore_errors=True)
