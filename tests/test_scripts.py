"""The scripts, run as people run them, and the files that tell other machines what to run."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPTS = ["start.sh", "test.sh", "scripts/check", ".ci/run"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==[\w.]+$")


def read(path: str) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def load_yaml(path: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(read(path))
    return loaded


def pins(path: str) -> set[str]:
    """The names that a requirements file pins, in their normal form (PEP 503)."""
    lines = [line for line in read(path).splitlines() if line and not line.startswith(("#", "-r "))]
    matches = [PIN.match(line) for line in lines]
    assert all(matches), f"{path} holds a line that is no exact pin"
    return {re.sub(r"[-_.]+", "-", match[1]).lower() for match in matches if match}


def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


def run(
    command: list[str], *, cwd: Path, path: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=110)


def copy_scripts(root: Path) -> Path:
    """The scripts, empty lists of requirements, and a gateway and a pytest that tell how they were run."""
    shutil.copytree(REPOSITORY / "scripts", root / "scripts")
    for name in ("start.sh", "test.sh"):
        shutil.copy(REPOSITORY / name, root / name)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (root / name).write_text("# nothing\n")
    for package in ("microgateway", "pytest"):
        (root / package).mkdir()
        (root / package / "__main__.py").write_text(
            "import json, os, sys; print(json.dumps([os.getpid(), os.getcwd(), sys.prefix, sys.argv[1:]]))\n"
        )
    return root


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A checkout just made. The space in its name is meant."""
    return copy_scripts(tmp_path / "a checkout")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A checkout just made, and what comes of the first `./start.sh` in it, from elsewhere."""
    elsewhere = tmp_path_factory.mktemp("prepared")
    root = copy_scripts(elsewhere / "a checkout")
    return root, run([str(root / "start.sh"), "--demo", "--port", "0"], cwd=elsewhere)


@pytest.fixture(scope="module")
def prepared(started: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    root, _ = started
    answer = run(["./test.sh"], cwd=root)
    assert answer.returncode == 0, answer.stderr
    return root


@pytest.fixture
def ready(prepared: Path, tmp_path: Path) -> Path:
    """A checkout whose environment was set up for the tests already: a copy, since making one takes seconds."""
    shutil.copytree(prepared, tmp_path / "a checkout", symlinks=True)
    return tmp_path / "a checkout"


class TestSyntax:
    @pytest.mark.parametrize("script", [*SCRIPTS, "scripts/environment.sh", "scripts/browser.sh"])
    def test_bash_can_read_it(self, script: str) -> None:
        assert run(["bash", "-n", script], cwd=REPOSITORY).stderr == ""

    @pytest.mark.parametrize("script", SCRIPTS)
    def test_it_may_be_run_and_stops_at_the_first_error(self, script: str) -> None:
        assert os.access(REPOSITORY / script, os.X_OK)
        assert read(script).startswith("#!/usr/bin/env bash\n")
        assert "\nset -euo pipefail\n" in read(script)

    @pytest.mark.parametrize("script", [*SCRIPTS, "scripts/environment.sh", "scripts/browser.sh"])
    def test_the_files_that_it_names_exist(self, script: str) -> None:
        named = set(re.findall(r"(?<![\w/])(?:scripts/[\w.]+|[\w-]+\.(?:sh|txt|py))\b", read(script)))
        assert [name for name in named if not (REPOSITORY / name).is_file()] == []


class TestSetUp:
    """These make real virtual environments; the requirements are empty, so no registry is asked."""

    def test_start_sets_up_once_and_runs_the_gateway_in_its_own_place(
        self, started: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        root, first = started
        assert first.returncode == 0, first.stderr
        assert "Creating .venv" in first.stderr
        _, where, prefix, arguments = json.loads(first.stdout)
        assert (where, prefix) == (str(root), str(root / ".venv"))
        assert arguments == ["run", "--demo", "--port", "0"]

        second = run([str(root / "start.sh")], cwd=tmp_path)
        assert second.stderr == ""
        assert json.loads(second.stdout)[3] == ["run"]

    def test_changed_requirements_are_installed_again(self, ready: Path) -> None:
        assert run(["./test.sh"], cwd=ready).stderr == ""
        assert run(["./start.sh"], cwd=ready).stderr == ""  # the development set holds the other
        (ready / "requirements.txt").write_text("# still nothing, but told differently\n")
        assert run(["./start.sh"], cwd=ready).stderr == "Installing requirements.txt into .venv ...\n"
        assert run(["./test.sh"], cwd=ready).stderr == "Installing requirements-dev.txt into .venv ...\n"

    def test_an_install_that_fails_is_tried_again(self, ready: Path) -> None:
        (ready / "requirements.txt").write_text("./no-such-folder\n")
        for _ in range(2):
            failed = run(["./start.sh"], cwd=ready)
            assert failed.returncode != 0
            assert failed.stdout == ""  # the gateway was not started
        (ready / "requirements.txt").write_text("# nothing\n")
        assert run(["./start.sh"], cwd=ready).returncode == 0

    def test_an_environment_whose_python_is_gone_is_made_anew(self, ready: Path) -> None:
        for python in (ready / ".venv" / "bin").glob("python*"):
            python.unlink()
        answer = run(["./start.sh"], cwd=ready)
        assert "Creating .venv" in answer.stderr
        assert json.loads(answer.stdout)[3] == ["run"]

    def test_arguments_reach_pytest_unchanged(self, ready: Path) -> None:
        answer = run(["./test.sh", "-k", "two words"], cwd=ready)
        given = json.loads(answer.stdout)[3]
        assert given[:4] == ["--numprocesses", str(len(os.sched_getaffinity(0)) + 1), "--dist", "worksteal"]
        assert given[-2:] == ["-k", "two words"]

    def test_the_process_is_the_script_s_own_so_that_signals_arrive(self, ready: Path) -> None:
        process = subprocess.Popen(["./start.sh"], cwd=ready, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, _ = process.communicate(timeout=110)
        assert json.loads(out)[0] == process.pid

    def test_without_a_recent_python_it_says_so(self, fresh: Path) -> None:
        tools = fresh / "tools"
        tools.mkdir()
        for tool in ("bash", "dirname", "cmp", "env"):
            found = shutil.which(tool)
            assert found is not None
            (tools / tool).symlink_to(found)
        old = tools / "python3"
        old.write_text("#!/usr/bin/env bash\nexit 1\n")  # what a Python before 3.11 answers to the question
        old.chmod(0o755)
        answer = run(["./start.sh"], cwd=fresh, path=str(tools))
        assert answer.returncode == 1
        assert answer.stderr == "error: MicroGateway needs Python 3.11 or newer, and none is on the PATH.\n"

    def test_a_python_asked_for_by_name_is_the_only_candidate(self, fresh: Path) -> None:
        answer = run(["./start.sh"], cwd=fresh, MICROGATEWAY_PYTHON="no-such-python")
        assert answer.returncode == 1
        assert "MICROGATEWAY_PYTHON is 'no-such-python'" in answer.stderr


class TestCheck:
    def test_every_check_runs_and_any_failure_counts(self, ready: Path) -> None:
        """Stand-ins for the tools: what is looked at is the script, which must not stop at the first that fails."""
        for tool, code in {"ruff": 1, "mypy": 0, "lint-imports": 1}.items():
            stand_in = ready / ".venv" / "bin" / tool
            stand_in.write_text(f"#!/usr/bin/env bash\nexit {code}\n")
            stand_in.chmod(0o755)
        answer = run([str(ready / "scripts" / "check")], cwd=ready.parent)
        assert answer.returncode == 1
        ran = ["ruff check .", "ruff format --check .", "mypy", "lint-imports --no-logo"]
        assert answer.stdout.splitlines() == [f"+ {command}" for command in ran]
        assert answer.stderr.splitlines() == [f"failed: {command}" for command in ran if command != "mypy"]

    def test_ci_runs_the_tests_then_the_checks(self) -> None:
        commands = [line for line in read(".ci/run").splitlines() if line and not line.startswith(("#", "set", "cd"))]
        assert commands == ["./test.sh", "scripts/check"]


class TestContainers:
    def test_the_image_runs_both_ports_as_nobody_special(self) -> None:
        lines = read("Dockerfile").splitlines()
        assert lines[-1] == 'CMD ["python", "-m", "microgateway", "run", "--host", "0.0.0.0"]'
        assert "EXPOSE 8017 8080" in lines
        assert "USER gateway" in lines

    def test_the_image_is_made_of_what_the_build_may_see(self) -> None:
        copied = [line.split()[1] for line in read("Dockerfile").splitlines() if line.startswith("COPY")]
        let_in = [line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")]
        assert sorted(copied) == sorted(let_in)
        assert [name for name in copied if not (REPOSITORY / name).exists()] == []

    def test_compose_runs_the_gateway_and_the_demo_upstream_from_one_image(self) -> None:
        services = load_yaml("docker-compose.yml")["services"]
        gateway, upstream = services["gateway"], services["demo-upstream"]
        assert gateway["build"] == "."
        assert gateway["image"] == upstream["image"]
        assert upstream["command"] == ["python", "-m", "microgateway.demo"]
        assert upstream["network_mode"] == "service:gateway"  # the sample data says 127.0.0.1
        assert (REPOSITORY / gateway["environment"]["MICROGATEWAY_SEED"]).is_file()

    def test_compose_shows_the_control_port_to_this_machine_only(self) -> None:
        ports = load_yaml("docker-compose.yml")["services"]["gateway"]["ports"]
        assert ports == ["127.0.0.1:8017:8017", "8080:8080"]


class TestContinuousIntegration:
    def test_the_workflow_runs_what_one_runs_at_home(self) -> None:
        workflow = load_yaml(".github/workflows/ci.yml")
        job = workflow["jobs"]["check"]
        assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
        assert (
            f"python{job['strategy']['matrix']['python'][0]}" == "python" + project()["project"]["requires-python"][2:]
        )

    def test_it_may_only_read(self) -> None:
        assert load_yaml(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}


class TestRequirements:
    def test_every_dependency_is_pinned(self) -> None:
        def names(requirements: list[str]) -> set[str]:
            return {re.split(r"[\[>]", requirement)[0].lower() for requirement in requirements}

        metadata = project()["project"]
        assert names(metadata["dependencies"]) <= pins("requirements.txt")
        assert names(metadata["optional-dependencies"]["dev"]) <= pins("requirements-dev.txt") | pins(
            "requirements.txt"
        )

    def test_the_development_set_begins_with_the_other(self) -> None:
        assert "\n-r requirements.txt\n" in read("requirements-dev.txt")
        assert pins("requirements.txt").isdisjoint(pins("requirements-dev.txt"))

    def test_the_core_s_contract_forbids_every_package_there_is(self) -> None:
        contracts = {contract["name"]: contract for contract in project()["tool"]["importlinter"]["contracts"]}
        forbidden = set(contracts["The core is standard library only"]["forbidden_modules"])
        installed = {
            module
            for module, distributions in packages_distributions().items()
            if {name.lower().replace("_", "-") for name in distributions} & pins("requirements.txt")
        }
        public = {module for module in installed if not module.startswith("_") and not module.endswith("__mypyc")}
        assert public - forbidden == set()
