"""The house rules of DESIGN section 3 and 8, each with a machine that checks it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import redis

from live.cli import app
from live.protocol.codes import Code
from live.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
TOP = {"live", "workers", "static", "loadtest", "tests", "pyproject.toml", "Procfile", "README.md"}
MADE = {"__pycache__", "build", "dist"}  # by tools, never committed
# A migration is written by alembic, one statement a table: it is as long as the shop is wide, and nobody edits it.
GENERATED = ROOT / "live" / "migrations" / "versions"
FORBIDDEN = {"utils", "helpers", "manager", "service", "base"}
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]


def files(*folders: str, end: str = ".py") -> list[Path]:
    """Our own files under these folders."""
    found = [path for folder in folders for path in (ROOT / folder).rglob(f"*{end}")]
    return sorted(path for path in found if not {"vendor", "node_modules", "__pycache__"} & set(path.relative_to(ROOT).parts))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def longer(paths: list[Path], limit: int) -> dict[str, int]:
    lengths = {named(path): len(path.read_text("utf-8").splitlines()) for path in paths if GENERATED not in path.parents}
    return {name: lines for name, lines in lengths.items() if lines > limit}


def imports(path: Path) -> Iterator[str]:
    """Names of the modules a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def importers(package: str) -> set[str]:
    """Files of live and workers that import a package."""
    return {named(path) for path in files("live", "workers") if any(name.split(".")[0] == package for name in imports(path))}


@pytest.mark.parametrize(
    ("folders", "end", "limit"),
    [
        (("live", "workers", "loadtest", "tests"), ".py", 450),
        (("live",), ".lua", 80),
        (("static",), ".js", 300),
        (("static",), ".mjs", 450),
    ],
)
def test_a_file_is_one_thing(folders: tuple[str, ...], end: str, limit: int) -> None:
    assert longer(files(*folders, end=end), limit) == {}


def test_a_function_is_at_most_40_lines() -> None:
    long = {}
    for path in files("live", "workers", "loadtest"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))) if GENERATED not in path.parents else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := (node.end_lineno or 0) - node.lineno + 1) > 40:
                long[f"{named(path)}:{node.name}"] = lines
    assert long == {}


def test_the_top_level_holds_the_eight_names_and_nothing_else() -> None:
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".") and path.suffix != ".egg-info"} - MADE
    assert found == TOP


def test_no_file_is_named_for_what_it_has_no_name_for() -> None:
    everything = files("live", "workers", "loadtest", "tests") + files("static", end=".js") + files("live", end=".lua")
    words = {named(path): set(re.split(r"[._-]", "_".join(path.relative_to(ROOT).parts))) for path in everything}
    assert {name for name, parts in words.items() if parts & FORBIDDEN} == set()


def test_every_module_says_what_lives_in_it() -> None:
    silent = [
        named(path) for path in files("live", "workers", "loadtest")
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]  # fmt: skip
    assert silent == []


def test_layers_and_borders_hold() -> None:
    program = "import sys; from importlinter.cli import lint_imports_command; sys.argv = ['lint-imports']; lint_imports_command()"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in ran.stdout


def test_no_rules_file_is_left_out_of_the_contract_that_keeps_them_pure() -> None:
    contract = next(each for each in CONTRACTS if each["name"] == "rules are pure")
    assert sorted(contract["source_modules"]) == sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files("live") if path.name == "rules.py"
    )
    outside = {named(path): set(imports(path)) for path in files("live") if path.name == "rules.py"}
    known = sys.stdlib_module_names | {"__future__"}

    def pure(module: str) -> bool:
        return module.split(".")[0] in known or module.endswith(".rules")  # rules of a lower noun are as pure

    assert {name: found for name, found in outside.items() if any(not pure(each) for each in found)} == {}


def test_starlette_is_known_to_doors_only() -> None:
    # The simulator plays WeChat: a server of its own beside the shop, with its own doors.
    assert {name for name in importers("starlette") if not name.startswith(("live/web/", "live/payments/simulator"))} == {
        *(named(path) for path in files("live") if path.name == "api.py"), "live/infra/doors.py", "live/infra/once.py",
    }  # fmt: skip


def test_arq_is_known_to_two_files() -> None:
    assert importers("arq") == {"live/infra/jobs.py", "workers/main.py"}


def test_only_the_settings_read_the_environment() -> None:
    others = {
        "live/launch.py",  # hands it on to the processes it starts, with the command line's flags in it
        "live/infra/embedded.py",  # hands it on to PostgreSQL without PG*
        "live/infra/supervisor.py",  # NO_COLOR is the terminal's, not ours
    }
    readers = {named(path) for path in files("live", "workers") if re.search(r"os\.environ|getenv", path.read_text("utf-8"))}
    assert readers == others
    for name in sorted(others - {"live/infra/supervisor.py"}):
        assert not re.search(r"environ(\.get\(|\[)\"LIVE_", (ROOT / name).read_text("utf-8")), name


def test_every_setting_is_used() -> None:
    through = {"public_web_url": "web_url", "public_hub_url": "hub_url", "trusted_proxies": "proxies", "allowed_origins": "origins"}
    text = "\n".join(path.read_text("utf-8") for path in files("live", "workers", "loadtest") if path.name != "settings.py")
    unused = [name for name in Settings.model_fields if not re.search(rf"(\.|[\"'])({through.get(name, name)})\b", text)]
    assert unused == []
    own = (ROOT / "live" / "settings.py").read_text("utf-8")
    assert all(f"self.{name}" in own for name in through)


# Codes that Lua or rules say as words, and where: rules import nothing of ours, and Lua cannot.
SPOKEN = {
    Code.SOLD_OUT: "live/offers/lua/check.lua", Code.NOT_STARTED: "live/offers/lua/check.lua", Code.TEAM_FULL: "live/offers/lua/check.lua",
    Code.WRONG_WORD: "live/offers/lua/check.lua", Code.WATCH_LONGER: "live/offers/lua/check.lua",
    Code.TEAM_CLOSED: "live/offers/parties/rules.py",
    Code.BAD_WORDS: "live/rooms/rules.py", Code.EMPTY: "live/rooms/rules.py",
}  # fmt: skip
UNSAID = {
    Code.PENDING: "not a refusal: the hub says ok {pending: true}; the pages need its text",
    Code.SOLD_OUT_PENDING: "DESIGN 5.1 names it; the turnstile says sold_out until it is told what is held",
}


def test_every_code_is_said_somewhere() -> None:
    text = "\n".join(path.read_text("utf-8") for path in files("live") if path.name != "codes.py")
    raised = {code for code in Code if re.search(rf"\bCode\.{code.name}\b", text)}
    assert raised | set(SPOKEN) | set(UNSAID) == set(Code)
    assert raised & (set(SPOKEN) | set(UNSAID)) == set()
    for code, where in SPOKEN.items():
        assert re.search(rf"[\"']{code.value}[\"']", (ROOT / where).read_text("utf-8")), code


def test_every_script_is_loaded_and_says_what_it_promises() -> None:
    loaded = set()
    for path in files("live", "workers"):
        for line in path.read_text("utf-8").splitlines():
            if package := re.search(r'Script\("(live\.[a-z._]+)"', line):
                loaded |= {(package[1].replace(".", "/"), name) for name in re.findall(r'"([a-z_]+)"', line)}
    for path in files("live", end=".lua"):
        script, folder = path.read_text("utf-8"), path.parent.parent
        fragment = re.compile(rf"^-- include: ({'.'.join(folder.relative_to(ROOT).parts)}/)?{path.stem}$", re.MULTILINE)
        assert script.startswith("-- "), named(path)
        if (named(folder), path.stem) in loaded:
            assert "KEYS: " in script, named(path)
            assert "Answer: " in script, named(path)
        else:
            assert any(fragment.search(other.read_text("utf-8")) for other in files("live", end=".lua")), named(path)


def test_the_procfile_names_five_processes_by_commands_there_are() -> None:
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    processes = dict(re.fullmatch(r"(\w+): (.+)", line).groups() for line in lines)  # type: ignore[union-attr]
    assert set(processes) == {"release", "web", "hub", "ledger", "worker"}
    commands = {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    for name, line in processes.items():
        program, target = line.split()
        if program == "live":
            assert target in commands, name
        else:
            assert program == "arq"
            module, _, settings = target.rpartition(".")
            assert f'name == "{settings}"' in (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")  # made when asked for


def test_pip_has_not_walked_arq_back() -> None:
    assert redis.__version__ < "6"
    assert tuple(int(part) for part in version("arq").split(".")[:2]) >= (0, 28)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert {"redis[hiredis]>=5.3,<6", "arq>=0.28"} <= set(wanted)
    assert [each for each in wanted if ">=" not in each] == []
