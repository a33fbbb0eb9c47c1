# SPDX-License-Identifier: Apache-2.0
"""Whoever ends the tests with SIGTERM (a CI, `timeout`) ends them as Ctrl-C does: what they made is taken away."""
import signal


def pytest_configure(config):  # pylint: disable=unused-argument
    signal.signal(signal.SIGTERM, signal.default_int_handler)
