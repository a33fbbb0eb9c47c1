# SPDX-License-Identifier: Apache-2.0
"""What all tests with real guests need: the guest's kernel and RAM disk, made once."""
import os
import subprocess

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
def images(tmp_path_factory):
    if not [f for f in os.listdir("/boot") if f.startswith("vmlinuz-") and f.endswith("-cloud-amd64")]:
        pytest.skip("no Debian cloud kernel in /boot: apt-get install linux-image-cloud-amd64")
    out = tmp_path_factory.mktemp("guest")
    subprocess.run([GUEST, str(out)], check=True)
    return out
