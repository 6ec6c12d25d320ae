"""A request as somebody describes it, and as it would come over a connection."""

from dataclasses import dataclass

DEFAULT_HOST = "localhost"
DEFAULT_ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request. `target` is the path with its query; `client_ip` is where the connection comes from.

    `fields` are header lines in order. What has to be there and is not said is added: Host, and the body's length.
    """

    method: str = "GET"
    target: str = "/"
    host: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    api_key: str | None = None
    token: str | None = None
    client_ip: str = DEFAULT_ADDRESS

    def octets(self, api_key_header: str) -> bytes:
        """What a client would write."""
        said = {name.lower() for name, _ in self.fields}
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        if self.host is not None or "host" not in said:
            lines.append(f"Host: {self.host or DEFAULT_HOST}")
        lines += [f"{name}: {value}" for name, value in self.fields]
        if self.api_key is not None:
            lines.append(f"{api_key_header}: {self.api_key}")
        if self.token is not None:
            lines.append(f"Authorization: Bearer {self.token}")
        if self.body and not said & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body
