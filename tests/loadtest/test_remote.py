"""Which addresses are this machine's."""

from __future__ import annotations

import pytest

from loadtest.remote import loopback


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "ws://127.8.8.8/ws", "http://[::1]:8000", "http://localhost", "HTTP://LOCALHOST:1"]
)
def test_this_machine(url: str) -> None:
    assert loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1",
        "https://shop.example",
        "ws://0.0.0.0:1/ws",
        "http://127.0.0.1.example",
        "http://127.0.0.1@shop.example",
        "",
        "127.0.0.1",
    ],
)
def test_not_surely_this_machine(url: str) -> None:
    assert not loopback(url)
