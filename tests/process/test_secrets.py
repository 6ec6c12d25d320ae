"""Who may see the keys and the admin token: each is shown once, to whoever has it made, and is in no other place."""

import stat
from pathlib import Path

from microgateway.core import api_keys
from tests.kit.upstream import running_upstream
from tests.process.command import REPOSITORY
from tests.process.gateway import Gateway, request, running_gateway

SEED = REPOSITORY / "seed_data" / "data.json"


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def kept(folder: Path) -> dict[str, bytes]:
    """Every file of the data folder, by name."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def use_everything(gateway: Gateway, upstream_url: str) -> list[str]:
    """Traffic and changes that go well, and some that do not; answers the texts of the keys that were made."""
    operator = gateway.operator
    operator.create_public_route("/shop", upstream_url, auth="required")
    issued = operator.create("keys", name="client", owner="Ada")
    strangers = api_keys.generate(lambda below: 7 % below)
    with gateway.connect() as client:
        for text in (issued["key"], strangers, issued["key"] + "x"):
            client.ask(request("/shop", text))
            client.ask(request(f"/nothing-here?key={text}", text))
    operator.change("keys", issued["id"], team="engines")
    operator.all("keys")
    assert operator.http.post("/api/keys", json={"name": issued["key"] * 9, "burst_size": -1}).status_code == 422
    assert operator.http.get("/api/keys", headers={"Authorization": f"Bearer {issued['key']}"}).status_code == 401
    operator.delete("keys", issued["id"])
    return [issued["key"], strangers]


def test_texts_are_shown_once_and_kept_nowhere(folder: Path) -> None:
    """Not even with MICROGATEWAY_DEBUG."""
    with running_upstream() as upstream:
        with running_gateway(folder, MICROGATEWAY_SEED=str(SEED), MICROGATEWAY_DEBUG="true") as gateway:
            seeded = [line.split()[-1] for line in gateway.command.stderr.lines if line.startswith("API key ")]
            used = use_everything(gateway, upstream.url)
            admin_token, running = gateway.admin_token, kept(folder)
            gateway.command.terminate()
            gateway.command.wait()
            said = gateway.command.said
        with running_gateway(folder, MICROGATEWAY_DEBUG="true") as gateway:
            gateway.command.terminate()
            gateway.command.wait()
            said_later = gateway.command.said

    assert len(seeded) == 2
    assert [said.count(text) for text in seeded] == [1, 1]
    assert [said.count(text) for text in used] == [0, 0]
    assert said.count(admin_token) == 1
    assert [text for text in (*seeded, *used, admin_token, "mgw_live_") if text in said_later] == []
    for files in (running, kept(folder)):
        assert files.pop("admin_token").decode().strip() == admin_token
        content = b"".join(files.values())
        assert api_keys.shown_prefix(used[0]).encode() in content, "the keys are not kept where this test looks"
        assert [text for text in (*seeded, *used, admin_token) if text.encode() in content] == []


def test_nobody_else_may_look_into_the_data_folder(folder: Path) -> None:
    """Whatever the umask lets through."""
    with running_gateway(folder, umask=0) as gateway:
        assert gateway.operator.all("keys") == []
        assert permissions(folder) == 0o700
        assert permissions(folder / "admin_token") == 0o600


def test_a_token_file_that_others_can_read_is_closed_to_them(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "admin_token").write_text("a token from another machine\n")
    (folder / "admin_token").chmod(0o644)
    with running_gateway(folder) as gateway:
        assert gateway.operator.all("keys") == []
        assert permissions(folder / "admin_token") == 0o600
        assert gateway.admin_token not in gateway.command.said


def test_a_given_admin_token_is_neither_kept_nor_shown(folder: Path) -> None:
    token = "given by the operator"
    with running_gateway(folder, MICROGATEWAY_ADMIN_TOKEN=token) as gateway:
        assert gateway.operator.all("keys") == []
        assert gateway.operator.http.get("/api/keys", headers={"Authorization": "Bearer other"}).status_code == 401
        assert token not in gateway.command.said
        assert b"".join(kept(folder).values()).count(token.encode()) == 0
        assert not (folder / "admin_token").exists()
