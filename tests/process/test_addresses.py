"""The addresses that the gateway prints, and that its own commands call, are ones that answer."""

import asyncio
import socket

import pytest

from microgateway.process.addresses import reachable


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "127.0.0.1", "::1", "localhost"])
async def test_what_listens_on_a_host_is_reached(host: str) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host or None, 0)
    async with server:
        address = reachable(host).strip("[]")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        ports = {sock.family: sock.getsockname()[1] for sock in server.sockets}  # each has one of its own
        port = ports[family]
        _, writer = await asyncio.open_connection(address, port)
        assert writer.get_extra_info("peername")[1] == port
        writer.close()


def test_an_address_of_ipv6_has_brackets() -> None:
    assert [reachable(host) for host in ("::", "2001:db8::1", "gateway.example")] == [
        "[::1]",
        "[2001:db8::1]",
        "gateway.example",
    ]
