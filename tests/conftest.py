"""What every test gets: one thread, fixed seeds, and no network."""

from __future__ import annotations

import ipaddress
import os
import random
import socket
import sys

# Set before numpy or torch is imported: with two workers on two cores, more threads only wait for each other.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import numpy as np
import pytest

# The same examples in every run, and no verdict that depends on how busy the machine is.
hypothesis.settings.register_profile("softwood", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("softwood")


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _guard(original, host_of):
    def guarded(*args, **kwargs):
        host = host_of(*args)
        if not _is_local(host):
            raise RuntimeError(f"tests use no network, but something asked for {host!r}")
        return original(*args, **kwargs)

    return guarded


def _host_of_address(_socket, address):
    return address[0] if isinstance(address, tuple) else "localhost"  # a Unix socket's address is a path


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Make every connection that would leave this machine fail."""
    for method in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, method, _guard(getattr(socket.socket, method), _host_of_address))
    monkeypatch.setattr(socket, "getaddrinfo", _guard(socket.getaddrinfo, lambda host, *_: host))


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Start each test from the same random state, whatever ran before it in this process."""
    random.seed(0)
    np.random.seed(0)
    torch = sys.modules.get("torch")  # a test that needs no torch should not pay for its import
    if torch is not None:
        torch.manual_seed(0)
        torch.set_num_threads(1)
