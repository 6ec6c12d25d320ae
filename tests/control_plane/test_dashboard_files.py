"""The dashboard's files: served with a policy, asked for once, small, and without a way to run what data says."""

import re
from pathlib import Path

import pytest

from tests.control_plane.control import Control

ROOM = Path(__file__).resolve().parents[2] / "microgateway" / "dashboard"
FILES = sorted(path for path in ROOM.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"})
MODULES = [path for path in FILES if path.suffix == ".js"]
VIEWS = sorted((ROOM / "js" / "views").glob("*.js"))
MOST_BYTES = 150_000  # for a view and all that it needs, before compression
DANGEROUS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.srcdoc|cssText|DOMParser"
)
IMPORT = re.compile(r'^import .*? from "([^"]+)";$', re.MULTILINE)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOM))


def imports(path: Path) -> list[str]:
    return IMPORT.findall(path.read_text(encoding="utf-8")) if path.suffix == ".js" else []


async def test_everything_is_served_with_its_type(control: Control) -> None:
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    for path in FILES:
        answer = await control.client.get(f"/assets/{name_of(path)}")
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith(types[path.suffix])
        assert answer.content == path.read_bytes()
    assert (await control.client.get("/")).content == (ROOM / "index.html").read_bytes()


async def test_the_page_may_load_and_run_what_comes_from_here_and_nothing_else(control: Control) -> None:
    policy = (await control.client.get("/")).headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


@pytest.mark.parametrize("path", ["/", "/assets/js/main.js"])
async def test_what_a_browser_has_already_is_not_sent_again(control: Control, path: str) -> None:
    first = await control.client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = await control.client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await control.client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/assets/", "/assets/__init__.py", "/assets/js/../__init__.py", "/assets/js/none.js", "/assets/js"]
)
async def test_nothing_else_is_served(control: Control, path: str) -> None:
    assert (await control.client.get(path)).status_code == 404


@pytest.mark.parametrize("view", VIEWS, ids=name_of)
def test_whichever_view_is_the_first_it_needs_little(view: Path) -> None:
    needed = {ROOM / "js" / "main.js", view, *(path for path in FILES if path.suffix != ".js")}
    while more := {(path.parent / name).resolve() for path in needed for name in imports(path)} - needed:
        needed |= more
    assert sum(path.stat().st_size for path in needed) < MOST_BYTES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_makes_no_markup_of_text_and_imports_from_beside_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert DANGEROUS.findall(text) == []
    assert "http://www.w3.org" in text or "//" not in re.sub(r"//.*|http://(10|127)\.[\d.:]+", "", text)
    for name in imports(path):
        assert (path.parent / name).resolve() in MODULES, name


def test_every_module_is_used() -> None:
    imported = {(path.parent / name).resolve() for path in MODULES for name in imports(path)}
    shown = re.findall(r'view\("(\w+)"', (ROOM / "js" / "views.js").read_text())
    assert set(MODULES) - imported == {
        ROOM / "js" / "main.js",
        *(ROOM / "js" / "views" / f"{name}.js" for name in shown),
    }


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".css"], ids=name_of)
def test_a_style_sheet_loads_nothing_from_elsewhere(path: Path) -> None:
    addresses = re.findall(r'url\("?([^")]+)', path.read_text())
    assert [address for address in addresses if not (path.parent / address).is_file()] == []
