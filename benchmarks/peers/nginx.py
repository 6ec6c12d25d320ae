"""nginx, bare and with the policy in Lua; and nginx as the upstream. All from Debian, in their own folders."""

import getpass
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.contender import METERED_BY_KEY, Contender, LineCount, Place
from benchmarks.peers.templates import write_config
from benchmarks.processes import Process, free_port, running

LUA_PARTS = (Path("/usr/lib/nginx/modules/ngx_http_lua_module.so"), Path("/usr/share/lua/5.1/resty/core.lua"))


def find_nginx() -> str | None:
    """Debian keeps it in /usr/sbin, which is not on every user's PATH."""
    return shutil.which("nginx", path=os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin")


@contextmanager
def running_nginx(
    name: str, template: str, place: Place, *, port: int, values: dict[str, object] | None = None
) -> Iterator[Process]:
    """nginx with one of our configurations, listening on `port`, with every file of it in the place's folder."""
    folder = place.folder
    shared: dict[str, object] = {
        "port": port,
        "upstream_port": place.upstream_port,
        # As root nginx would make its workers `nobody`, who may not enter our folder; for others it is no use.
        "user": f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
        "temporary": write_config("nginx-temporary.conf", folder),
    }
    config = write_config(template, folder, **shared, **(values or {}))
    command = [find_nginx() or "nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    with running(name, command, core=place.core, folder=folder) as process:
        process.wait_for_port(port)
        yield process


@dataclass(frozen=True, slots=True)
class BareNginx:
    """nginx that only proxies. `extra` are further lines of configuration, for the streaming benchmark."""

    name: str = "nginx"
    does: str = "proxies only: no key, no limit, no log"
    extra: str = ""

    def missing(self) -> str | None:
        return None if find_nginx() else "nginx is not installed (Debian: nginx)"

    @contextmanager
    def start(self, place: Place) -> Iterator[Contender]:
        port = free_port()
        with running_nginx(self.name, "nginx-bare.conf", place, port=port, values={"extra": self.extra}) as process:
            yield Contender(name=self.name, process=process, port=port, stranger=200)


LEAN_PHASES = 'access_by_lua_block { require("policy").admit() }'

# The rest of the gateway's job: breaker, forwarding fields, credential withheld, limit told to the client.
FULL_PHASES = """access_by_lua_block { require("policy").admit_and_tell() }
            log_by_lua_block { require("policy").report() }
            proxy_set_header X-API-Key "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header Via "1.1 nginx";
            add_header Via "1.1 nginx";"""


@dataclass(frozen=True, slots=True)
class LuaNginx:
    """nginx with the policy in Lua. `phases` are lines of its location: how much of the gateway's job it does."""

    name: str = "nginx-lua"
    does: str = "key look-up, token bucket per key, access log, all in Lua"
    phases: str = LEAN_PHASES

    def missing(self) -> str | None:
        if not find_nginx() or not all(part.exists() for part in LUA_PARTS):
            return "nginx with Lua is not installed (Debian: nginx libnginx-mod-http-lua lua-resty-core)"
        return None

    @contextmanager
    def start(self, place: Place) -> Iterator[Contender]:
        port = free_port()
        write_config("policy.lua", place.folder)
        with running_nginx(self.name, "nginx-lua.conf", place, port=port, values={"phases": self.phases}) as process:
            records = LineCount(place.folder / "access.log")
            yield Contender(name=self.name, process=process, port=port, metered=METERED_BY_KEY, records=records)


def full_lua_nginx() -> LuaNginx:
    """nginx doing in Lua all that the gateway does."""
    does = "the same with circuit breaker, forwarding fields and RateLimit fields, as the gateway"
    return LuaNginx(name="nginx-lua-full", does=does, phases=FULL_PHASES)
