"""The house rules that a machine can check: files, faces, forbidden calls, imports, and what the pages claim."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import socket
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from softwood.papers import pages

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "softwood"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
PAPERS = [folder for folder in FOLDERS if folder.parent.name == "papers"]  # one test runs all of them
FACES = [".".join(("softwood", *folder.relative_to(PACKAGE).parts)) for folder in FOLDERS]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _run_python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------- files


def test_there_is_something_to_check():
    assert len(SOURCES) > 10
    assert {"softwood", "softwood.core", "softwood.artifacts"} <= set(FACES)


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=_name)
def test_a_file_has_at_most_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_implementation_files_start_with_an_underscore(path):
    assert path.name.startswith("_")


def test_every_folder_with_code_has_a_face():
    assert {path.parent for path in SOURCES} == set(FOLDERS)


@pytest.mark.parametrize("folder", [f for f in FOLDERS if f not in (PACKAGE, *PAPERS)], ids=_name)
def test_tests_mirror_the_rooms(folder):
    assert list((ROOT / "tests" / folder.relative_to(PACKAGE)).glob("test_*.py"))


def test_constraints_are_exact_and_name_no_place():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert "torch==2.13.0" in pins
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin)] == []


def _normal(name: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", name).group().lower().replace("_", "-")


def test_constraints_pin_everything_that_we_ask_for():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = content["project"]["optional-dependencies"]
    asked = {*content["build-system"]["requires"], *content["project"]["dependencies"]}
    for extra in ("parquet", "export", "plot", "docs", "dev"):
        asked.update(extras[extra])
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {_normal(line.partition("==")[0]) for line in lines if not line.startswith("#")}
    assert {_normal(re.split("[<>=]", need)[0]) for need in asked} - pins == set()


def test_every_install_goes_through_the_constraints():
    recipes = (ROOT / "Makefile").read_text() + (ROOT / "README.md").read_text()
    installs = [line for line in recipes.splitlines() if re.search(r"(PIP\)|pip) install", line)]
    assert len(installs) >= 3
    assert [line for line in installs if "-c constraints.txt" not in line] == []


# ---------------------------------------------------------------- what sources may not hold

_UNPICKLERS = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
_LOADERS = {("torch", "load"), ("torch", "save"), ("joblib", "load"), ("joblib", "dump")}


def _forbidden(tree: ast.AST) -> list[str]:
    """Name what a source does that could run or leak something."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in _UNPICKLERS]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            found += [module] if module in _UNPICKLERS else []
            found += [f"{module}.{alias.name}" for alias in node.names if (module, alias.name) in _LOADERS]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] if (node.value.id, node.attr) in _LOADERS else []
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec", "__import__"}:
                found.append(node.func.id)
            found += [word.arg for word in node.keywords if word.arg == "allow_pickle"]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_sources_unpickle_and_evaluate_nothing(path):
    assert _forbidden(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from cloudpickle import loads",
        "torch.load('a')",
        "from joblib import load",
        "eval('1')",
        "exec('1')",
        "np.load('a', allow_pickle=True)",
    ],
)
def test_the_check_above_sees_what_it_looks_for(code):
    assert _forbidden(ast.parse(code)) != []


# put together here, so that this file does not find itself; catching another library's error is no stub
_UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "raise " + "NotImplemented"]) + ")")


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=_name)
def test_nothing_is_left_unfinished(path):
    assert _UNFINISHED.findall(path.read_text()) == []


@pytest.mark.parametrize("path", TESTS, ids=_name)
def test_tests_do_not_sleep(path):
    assert not re.search(r"\bsleep\(", path.read_text().replace(r"\bsleep\(", ""))


_MACHINE = re.compile(r"(?<![\w.~/-])/(?:" + "|".join(["work", "root", "home", "opt", "Users"]) + r")/|file:" + "//")


@pytest.mark.parametrize(
    "path", [*SOURCES, *TESTS, *PAGES, ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "constraints.txt"], ids=_name
)
def test_no_file_names_a_place_on_one_machine(path):
    assert _MACHINE.findall(path.read_text()) == []


# ---------------------------------------------------------------- faces


def _public(face: str):
    module = importlib.import_module(face)
    return [(name, getattr(module, name)) for name in module.__all__]


@pytest.mark.parametrize("face", FACES)
def test_a_face_says_what_it_is_for_and_lists_its_names(face):
    module = importlib.import_module(face)
    assert len(module.__doc__.strip().splitlines()) >= 3
    assert len(set(module.__all__)) == len(module.__all__)
    assert module.__all__ or face.startswith("softwood.papers.")  # a family's papers are found by their ids


@pytest.mark.parametrize("face", FACES)
def test_a_face_holds_no_implementation(face):
    if face == "softwood":
        return  # its lazy imports are what keeps the first import quick; the timing test below is about them
    tree = ast.parse((PACKAGE.joinpath(*face.split(".")[1:]) / "__init__.py").read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == []


@pytest.mark.parametrize("face", FACES)
def test_public_names_are_documented(face):
    missing = []
    for name, thing in _public(face):
        if inspect.ismodule(thing) or not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        text = (vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__) or ""
        # a dataclass without a docstring gets its signature for one
        if not text.strip() or text.startswith(f"{name}(") or "Example" not in text:
            missing.append(name)
    assert missing == []


# ---------------------------------------------------------------- imports


def test_importing_softwood_is_quick_and_brings_no_torch():
    code = """
        import sys, time
        start = time.perf_counter()
        import softwood
        print(time.perf_counter() - start, "torch" in sys.modules)
    """
    seconds, has_torch = zip(*(_run_python(code).split() for _ in range(3)), strict=True)
    assert set(has_torch) == {"False"}
    assert min(map(float, seconds)) < 1.0


@pytest.mark.parametrize("room", ["core", "kernels", "artifacts"])
def test_what_ships_imports_where_torch_is_not_installed(room):
    code = f"""
        import sys

        class NoTorch:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "torch":
                    raise ModuleNotFoundError("torch is blocked in this test")

        sys.meta_path.insert(0, NoTorch())
        import softwood.{room} as room
        print(sorted(room.__all__) == sorted(name for name in room.__all__ if hasattr(room, name)))
    """
    assert _run_python(code).strip() == "True"


def test_the_network_is_closed_to_tests():
    with pytest.raises(RuntimeError, match="no network"):
        socket.getaddrinfo("softwood.invalid", 80)
    with socket.socket() as outgoing, pytest.raises(RuntimeError, match="no network"):
        outgoing.connect(("192.0.2.1", 80))  # an address reserved for documentation


# ---------------------------------------------------------------- what the pages claim

_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?<!import )softwood ([a-z][a-z-]*)((?: [^`\n|]*)?)")


def _commands(text: str) -> list[tuple[str, list[str]]]:
    """Find each command that a page names, with its options."""
    code = "\n".join([*(body for _, body in _BLOCK.findall(text)), *re.findall(r"`(softwood [^`\n]+)`", text)])
    return [(name, re.findall(r"--[a-z][a-z-]*", rest)) for name, rest in _COMMAND.findall(code)]


def _softwood(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    program = [sys.executable, "-c", "from softwood.cli import main; main()"]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, env=environment, cwd=cwd, timeout=300)


def test_pages_name_only_commands_and_options_that_exist(tmp_path):
    named: dict[str, set[str]] = {}
    for page in PAGES:
        for command, options in _commands(page.read_text()):
            named.setdefault(command, set()).update(options)
    assert {"fit", "predict", "score", "certify", "export", "doctor", "demo"} <= set(named)
    for command, options in named.items():
        shown = _softwood(command, "--help", cwd=tmp_path)
        assert shown.returncode == 0, f"softwood {command} is named in the pages: {shown.stderr}"
        assert {option for option in options if option not in shown.stdout} == set(), command


def test_pages_name_only_make_targets_that_exist():
    named = {
        target
        for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
        for target in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check"} <= named <= targets


def test_links_between_pages_lead_somewhere():
    broken = []
    made = {ROOT / "docs" / path for path in pages()}  # while the documentation is built
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "api").glob("*.md"))]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in link and page.parent / link not in made and not (page.parent / link).exists():
                broken.append((_name(page), link))
    assert broken == []


def test_every_room_has_a_reference_page():
    rooms = {folder.name for folder in FOLDERS if folder.parent == PACKAGE} - {"cli"}
    assert rooms <= {page.stem for page in (ROOT / "docs" / "api").glob("*.md")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/getting-started.md",
        "docs/tables.md",
        "docs/artefact-format.md",
        "docs/choosing.md",
        "docs/coming-from.md",
    ],
)
def test_pages_run_as_they_stand(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # the README's table has no maker on the page; any table with a column y will do
    (tmp_path / "data.csv").write_text("a,b,y\n" + "".join(f"{i},{i % 7},{int(i > 60)}\n" for i in range(120)))
    names: dict[str, object] = {}
    ran = 0
    for language, body in _BLOCK.findall((ROOT / page).read_text()):
        if language == "python":
            exec(compile(body, page, "exec"), names)
            ran += 1
            continue
        for line in body.splitlines():
            if line.startswith("softwood "):
                done = _softwood(*line.split()[1:], cwd=tmp_path)
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                ran += 1
    assert ran > 0
