"""The listening sockets that a process may hand to others: opened once, and closed with the last who holds them."""

import socket

from microgateway.data_plane.listener import BACKLOG, not_listening
from microgateway.errors import StartupError

CONTROL_BACKLOG = 128


def listen_control(host: str, port: int) -> socket.socket:
    """The control port's socket. Opened before anything else, so that a taken port is told before anything is done.

    It listens at once: until then another socket, such as the proxy port's, could still be bound to the same port. Who
    connects before the gateway is up waits for an answer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(CONTROL_BACKLOG)
    except OSError as error:
        listening.close()
        raise StartupError(not_listening("MICROGATEWAY", host, port, error)) from None
    listening.set_inheritable(True)
    return listening


def listen_proxy(host: str, port: int) -> list[socket.socket]:
    """The proxy port's sockets: one for each address that the host stands for, all on one port.

    Workers share them, so what has been accepted by none yet is lost with none of them.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            chosen = port or (opened[0].getsockname()[1] if len(opened) > 1 else 0)
            one.bind((address[0], chosen, *address[2:]))
            one.listen(BACKLOG)
    except OSError as error:
        for one in opened:
            one.close()
        raise StartupError(not_listening("MICROGATEWAY_PROXY", host, port, error)) from None
    return opened
