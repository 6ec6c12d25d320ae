"""The documentation, held to what is there: links lead somewhere, settings, codes and names in the source are real."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from microgateway import __version__
from microgateway.core.fields import HeadError
from microgateway.data_plane import pipeline, problems
from microgateway.demo import PORTS
from microgateway.exchange import Problem
from microgateway.settings import Settings
from microgateway.tokens.faults import FAULTS

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("benchmarks/**/*.md")])
SETTINGS = {field.alias or name: field for name, field in Settings.model_fields.items()}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\b(?:MICROGATEWAY|CIRCUIT|DEFAULT|JWT|DATABASE|REDIS)_[A-Z_]*[A-Z]\b")
NOT_SETTINGS = {"MICROGATEWAY_ENV_FILE", "MICROGATEWAY_PYTHON"}  # read by the scripts, before there is a gateway

PACKAGE = REPOSITORY / "microgateway"
CODE_SPAN = re.compile(r"`([^`\n]+)`")
MODULE = re.compile(r"(?<![\w/.])[\w/]+\.py\b")
# What a page calls by a name of the source: `function()`, `Class.method()`, `SOME_NUMBER`, `Class`.
NAME = re.compile(r"(\w+\.)?\w+\(\)|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|[A-Z]\w*[a-z]\w*")
NOT_NAMES = {"Allow", "Authorization", "Connection", "Cookie", "Date", "ETag", "Host", "RateLimit", "Via"}  # fields
NOT_NAMES |= {"close()", "gc.freeze()", "loop.call_later()", "shutdown()"}  # the kernel's and Python's


def read(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def page_name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def anchors(page: Path) -> set[str]:
    """The names by which the headings of a page can be linked to, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_broken(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return True
    return bool(anchor) and anchor not in anchors(target)


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=page_name)
    def test_every_relative_link_leads_somewhere(self, page: Path) -> None:
        links = LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
        relative = [link for link in links if not re.match(r"[a-z]+:", link)]
        assert [link for link in relative if is_broken(page, link)] == []

    def test_every_page_can_be_reached_from_the_readme(self) -> None:
        """A page that nothing links to is a page that nobody reads. A linked folder brings its pages along."""
        seen: set[Path] = set()
        waiting = [REPOSITORY / "README.md"]
        while waiting:
            page = waiting.pop()
            if page in seen:
                continue
            seen.add(page)
            for link in LINK.findall(page.read_text(encoding="utf-8")):
                target = (page.parent / link.partition("#")[0]).resolve()
                waiting += target.glob("*.md") if target.is_dir() else [target] if target.suffix == ".md" else []
        assert sorted(page_name(page) for page in set(PAGES) - seen) == []


def modules_named_on(page: Path) -> dict[str, Path]:
    """The source files that a page names: as seen from the repository, from the package, or from the page's folder."""
    roots = (REPOSITORY, PACKAGE, page.parent)
    return {
        name: next((root / name for root in roots if (root / name).is_file()), REPOSITORY / name)
        for name in MODULE.findall(page.read_text(encoding="utf-8"))
    }


def defined_in(module: Path) -> set[str]:
    """Every function, class and assigned name of a module, members with their class in front and without."""
    return set(_defined(ast.parse(module.read_text(encoding="utf-8")), ""))


def _defined(node: ast.AST, owner: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (f"{child.name}()", f"{owner}{child.name}()")
        elif isinstance(child, ast.ClassDef):
            yield child.name
            yield from _defined(child, f"{child.name}.")
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        else:
            yield from _defined(child, owner)


# Pages for operators name no source; what they put into code spans are not our names.
ABOUT_SOURCE = [page for page in PAGES if page.is_relative_to(REPOSITORY / "docs") and modules_named_on(page)]


class TestSource:
    @pytest.mark.parametrize("page", PAGES, ids=page_name)
    def test_every_source_file_that_a_page_names_is_there(self, page: Path) -> None:
        assert [name for name, file in modules_named_on(page).items() if not file.is_file()] == []

    @pytest.mark.parametrize("page", ABOUT_SOURCE, ids=page_name)
    def test_every_name_is_defined_in_a_file_that_the_page_names(self, page: Path) -> None:
        defined = set().union(*map(defined_in, modules_named_on(page).values()))
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        called = {span for span in CODE_SPAN.findall(text) if NAME.fullmatch(span)}
        assert sorted(called - defined - NOT_NAMES - set(SETTINGS)) == []


def codes_in_source() -> dict[str, tuple[int, str]]:
    """Every code that the proxy port answers, with its status and stage, from the source of the data plane and core."""
    made = {
        thing.code: (thing.status, thing.stage)
        for module in (pipeline, problems)
        for thing in vars(module).values()
        if isinstance(thing, Problem)
    }
    made |= {fault.code: (401, "auth") for fault in FAULTS}
    default = inspect.signature(HeadError).parameters["code"].default
    made[default] = (400, "parse")
    for file in sorted([*PACKAGE.glob("core/*.py"), *PACKAGE.glob("data_plane/*.py")]):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                made |= _code_of_call(node, node.func.id)
    return made


def _code_of_call(call: ast.Call, name: str) -> dict[str, tuple[int, str]]:
    """What `Problem(429, title, "code", "stage", …)` or `HeadError(detail, code="…", status=…)` says."""
    given = {keyword.arg: keyword.value.value for keyword in call.keywords if isinstance(keyword.value, ast.Constant)}
    if name == "HeadError" and "code" in given:
        return {str(given["code"]): (int(str(given.get("status", 400))), "parse")}
    constants = [argument.value if isinstance(argument, ast.Constant) else None for argument in call.args]
    if name == "Problem" and len(constants) >= 4 and constants[2] is not None:
        return {str(constants[2]): (int(str(constants[0])), str(constants[3]))}
    return {}


class TestCodes:
    def test_every_code_of_the_proxy_port_is_told_with_status_and_stage(self) -> None:
        rows = re.findall(
            r"^\| `([a-z_]+)` \| (\d{3}) \| `([a-z_]+)` \| \S.* \| \S.* \|$", read("docs/operations.md"), re.MULTILINE
        )
        told = {code: (int(status), stage) for code, status, stage in rows}
        assert len(rows) == len(told)
        assert told == codes_in_source()

    def test_codes_that_are_only_recorded_are_told_too(self) -> None:
        source = (PACKAGE / "data_plane" / "forwarding.py").read_text(encoding="utf-8")
        recorded = set(re.findall(r'_exchange\.code = "([a-z_]+)"', source))
        assert recorded
        assert [code for code in recorded if f"`{code}`" not in read("docs/operations.md")] == []


class TestSettings:
    @pytest.mark.parametrize("variable", SETTINGS)
    def test_every_setting_is_told_with_its_default(self, variable: str) -> None:
        rows = [line for line in read("docs/configuration.md").splitlines() if re.match(rf"\|\s*`{variable}`", line)]
        assert len(rows) == 1, f"docs/configuration.md has {len(rows)} table rows that begin with `{variable}`"
        default = SETTINGS[variable].default
        if isinstance(default, int | float) and not isinstance(default, bool):
            row = re.sub(r"(?<=\d)[ _,](?=\d{3}\b)", "", rows[0])  # however the thousands are set off
            assert re.search(rf"(?<![\d.]){default:.15g}(?:\.0)?\b", row), rows[0]

    @pytest.mark.parametrize("page", PAGES, ids=page_name)
    def test_no_page_speaks_of_a_setting_that_is_not_there(self, page: Path) -> None:
        told = set(VARIABLE.findall(page.read_text(encoding="utf-8")))
        assert told - set(SETTINGS) - NOT_SETTINGS == set()

    def test_the_readme_names_the_default_ports(self) -> None:
        rows = re.findall(r"^\| (control|proxy) \| (\d+) \|", read("README.md"), re.MULTILINE)
        assert {name: int(port) for name, port in rows} == {
            "control": SETTINGS["MICROGATEWAY_PORT"].default,
            "proxy": SETTINGS["MICROGATEWAY_PROXY_PORT"].default,
        }


class TestQuickstart:
    def test_it_names_the_ports_of_the_demo(self) -> None:
        assert f"ports {min(PORTS.values())} to {max(PORTS.values())}" in read("docs/quickstart.md")

    @pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
    def test_its_commands_run_files_that_exist_and_may_be_run(self, page: str) -> None:
        scripts = set(re.findall(r"(?<![\w/])(?:\./\w+\.sh|scripts/\w+|\.ci/\w+)", read(page)))
        assert scripts
        missing = [script for script in scripts if not (REPOSITORY / script).stat().st_mode & 0o100]
        assert missing == []


class TestChangelog:
    def test_the_newest_changes_come_first(self) -> None:
        versions = re.findall(r"^## \[([^\]]+)\]", read("CHANGELOG.md"), re.MULTILINE)
        assert versions[0] == "Unreleased"

    def test_a_released_version_is_the_package_s_own_or_older(self) -> None:
        released = re.findall(r"^## \[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d{2}-\d{2}$", read("CHANGELOG.md"), re.MULTILINE)
        current = tuple(int(part) for part in __version__.split("."))
        assert all(tuple(int(part) for part in version) <= current for version in released)


class TestHouse:
    def test_the_readme_shows_the_floors_that_the_linter_holds(self) -> None:
        """The picture and the contract, name by name. `app` stands outside of the package."""
        contract = re.search(r"^layers = \[\n(.*?)^\]", read("pyproject.toml"), re.MULTILINE | re.DOTALL)
        picture = re.search(r"^```\n(cli, app, .*?)^```", read("README.md"), re.MULTILINE | re.DOTALL)
        assert contract is not None
        assert picture is not None
        held = [set(re.findall(r"\w+", line)) - {"__main__"} for line in contract[1].splitlines()]
        shown = [set(re.findall(r"\w+", line)) - {"app"} for line in picture[1].splitlines()]
        assert [floor for floor in held if floor] == shown

    def test_nothing_names_a_path_of_somebody_s_machine(self) -> None:
        for page in PAGES:
            assert not re.search(r"(?<![\w.])/(?:root|home|work)/", page.read_text(encoding="utf-8")), page
