"""Samplers, guidance, operators and readers of one's own: files of a folder, classes of a session, entry points."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import xappa
from xappa import operators
from xappa.diffusion import guidance, samplers
from xappa.diffusion.guidance import GUIDANCE, Guidance
from xappa.diffusion.samplers import DDIM, SAMPLERS, Sampler
from xappa.errors import ExtensionError, ExtensionWarning, ObservationError, OptionError
from xappa.observations import READERS
from xappa.operators import OPERATORS, Operator, choose_operator
from xappa.registry import Registry, import_modules, subclass_of
from xappa.tasks.planning import choose_guidance, choose_sampler

REGISTRIES: dict[str, Registry] = {registry.kind: registry for registry in (SAMPLERS, GUIDANCE, OPERATORS, READERS)}

MODULE = {
    "sampler": "from xappa.samplers import DDIM\nclass Own(DDIM):\n    pass\n",
    "guidance": "from xappa.guidance import SDA\nclass Own(SDA):\n    pass\n",
    "operator": "from xappa.operators import Nearest\nclass Own(Nearest):\n    pass\n",
    "reader": (
        "import pandas as pd\nfrom xappa.observations import Reader\n"
        "class Own(Reader):\n"
        "    def matches(self, path, head):\n        return head.startswith(b'OWN1')\n"
        "    def read(self, path):\n        return pd.read_csv(path, skiprows=1)\n"
    ),
}
REPORTS = "OWN1\ntime,lat,lon,t2m (K)\n2001-03-13T00,10,20,280\n"


@pytest.fixture
def install(tmp_path, monkeypatch) -> Callable[..., None]:
    """Put a distribution with an entry point on the path of modules."""

    def call(group: str, code: str, name: str = "own", package: str = "own-package") -> None:
        folder, module = tmp_path / package, package.replace("-", "_")
        about = folder / f"{module}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:Own\n")
        (folder / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return call


@pytest.fixture(params=sorted(REGISTRIES))
def registry(request, monkeypatch) -> Registry:
    monkeypatch.setattr(REGISTRIES[request.param], "_warned", set())
    return REGISTRIES[request.param]


@pytest.mark.parametrize("kind", ["sampler", "guidance", "operator"])
def test_entries_work_without_options(kind):
    choose = {"sampler": lambda n: choose_sampler(n, None), "guidance": choose_guidance, "operator": choose_operator}
    base = {"sampler": Sampler, "guidance": Guidance, "operator": Operator}[kind]
    assert len(REGISTRIES[kind]) > 4 and list(REGISTRIES[kind]) == sorted(REGISTRIES[kind])
    for name in REGISTRIES[kind]:
        assert isinstance(choose[kind](name), base)


@pytest.mark.parametrize(("folder", "registry"), [(samplers, SAMPLERS), (guidance, GUIDANCE), (operators, OPERATORS)])
def test_every_class_that_is_registered_is_public(folder, registry):
    public = importlib.import_module(folder.__name__.replace("diffusion.", ""))
    entries = [entry if isinstance(entry, type) else type(entry) for entry in registry.registered.values()]
    for kind in entries:
        assert getattr(public, kind.__name__) is kind and kind.__name__ in public.__all__
    assert {kind.__module__ for kind in entries} <= {
        f"{folder.__name__}.{module.name}" for module in pkgutil.iter_modules(folder.__path__)
    }


@pytest.mark.parametrize(
    ("folder", "registry", "kind"),
    [
        ("xappa.diffusion.samplers", "SAMPLERS", "sampler"),
        ("xappa.diffusion.guidance", "GUIDANCE", "guidance"),
        ("xappa.operators", "OPERATORS", "operator"),
        ("xappa.observations.readers.formats", "READERS", "reader"),
    ],
)
def test_a_file_in_the_folder_is_enough(tmp_path, folder, registry, kind):
    """In a process of its own, with a further place for modules of the folder."""
    home = "xappa.observations" if kind == "reader" else folder
    code = (
        f"import sys, {folder} as folder; folder.__path__.append(sys.argv[1]);"
        "from xappa.registry import import_modules; import_modules(folder.__name__, folder.__path__);"
        f"from {home} import {registry}; print(sorted({registry}), 'torch' in sys.modules)"
    )
    own = MODULE[kind].replace("class Own", f"@{registry}.register('own')\nclass Own")
    (tmp_path / "own.py").write_text(f"from {home} import {registry}\n{own}")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(xappa.__file__).parent.parent,
    )
    assert "'own'" in done.stdout
    assert done.stdout.split()[-1] == str(folder.startswith("xappa.diffusion"))


def test_a_name_is_given_once_and_a_cell_may_run_again():
    registry: Registry = Registry("sampler", "xappa.none", subclass_of(Sampler))

    def define(name: str) -> type:
        @registry.register("own")
        @dataclass(frozen=True)
        class Own(DDIM):
            pass

        Own.__qualname__ = name
        return Own

    first = define("Own")
    assert registry["own"] is first
    second = define("Own")
    assert registry["own"] is second
    with pytest.raises(ExtensionError, match=r"sampler 'own' is defined twice.*DDPM2.*Expected another name"):
        registry.register("own")(type("DDPM2", (DDIM,), {}))
    with pytest.raises(ExtensionError, match=r"sampler 'other': found 5, expected a subclass of .*Sampler"):
        registry.register("other")(5)


def test_entry_points_are_found(registry, install):
    assert "own" not in registry
    install(registry.group, MODULE[registry.kind])
    assert "own" in registry and "own" in list(registry)
    entry = registry["own"]
    assert (entry if isinstance(entry, type) else type(entry)).__module__ == "own_package"


def test_names_of_entry_points_choose(install):
    for kind in ("sampler", "guidance", "operator"):
        install(REGISTRIES[kind].group, MODULE[kind], package=f"own-{kind}")
    assert type(choose_sampler("own", 3)).__name__ == "Own" and choose_sampler("own", 3).steps == 3
    assert type(choose_guidance("own")).__module__ == "own_guidance"
    assert type(choose_operator("own")).__module__ == "own_operator"
    assert choose_operator({"synop": "own"}).operators["synop"] == choose_operator("own")


def test_a_function_may_be_an_operator(install):
    install(OPERATORS.group, "def Own(state):\n    return state['2m_temperature'] * 2\n")
    assert repr(choose_operator("own")) == "Own"


@pytest.mark.parametrize("packed", [False, True])
def test_a_reader_reads_files_of_its_format(install, tmp_path, packed):
    install(READERS.group, MODULE["reader"])
    path = tmp_path / ("reports.own.gz" if packed else "reports.own")
    if packed:
        import gzip

        path.write_bytes(gzip.compress(REPORTS.encode()))
    else:
        path.write_text(REPORTS)
    obs = xappa.read_observations(path)
    np.testing.assert_array_equal(obs["2m_temperature"], [280.0])
    assert float(obs["latitude"][0]) == 10
    plain = tmp_path / "table.csv"
    plain.write_text(REPORTS.partition("\n")[2])
    np.testing.assert_array_equal(xappa.read_observations(plain)["2m_temperature"], [280.0])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import a_module_that_nobody_has\n", r"ModuleNotFoundError.*a_module_that_nobody_has"),
        ("raise RuntimeError('out of order')\n", "RuntimeError: out of order"),
        ("Other = 1\n", "AttributeError"),
        ("Own = 5\n", "found 5, expected a"),
        ("class Own:\n    pass\n", "expected a"),
    ],
)
def test_a_broken_package_is_named(registry, install, code, said):
    before = list(registry)
    install(registry.group, code)
    with pytest.raises(ExtensionError, match=rf"{registry.kind} 'own' of the installed package 'own-package'.*{said}"):
        registry["own"]
    with pytest.warns(ExtensionWarning, match=rf"'own-package'.*{said}.*left out") as caught:
        assert list(registry) == before
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(registry) == before and registry.get(before[0] if before else "none") is not registry


def test_a_broken_package_harms_nobody_who_does_not_use_it(install):
    install(SAMPLERS.group, "raise RuntimeError('out of order')\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_sampler("ddim", 3) == DDIM(3)
    with pytest.raises(ExtensionError, match="own-package"):
        choose_sampler("own", 3)


def test_names_of_this_package_and_of_two_are_refused(registry, install):
    taken = next(iter(registry.registered), None)
    if taken is not None:
        install(registry.group, MODULE[registry.kind], name=taken, package="greedy")
        with pytest.warns(ExtensionWarning, match=rf"'{taken}' of the installed package 'greedy' is refused"):
            found = registry[taken]
        assert (found if isinstance(found, type) else type(found)).__module__.startswith("xappa.")
    for package in ("first", "second"):
        install(registry.group, MODULE[registry.kind], package=package)
    with pytest.raises(ExtensionError, match=r"packages '(first|second)' and '(first|second)'.*Uninstall all but one"):
        registry["own"]


class TestReaders:
    def write(self, tmp_path: Path) -> Path:
        path = tmp_path / "reports.own"
        path.write_text(REPORTS)
        return path

    def test_two_that_match(self, install, tmp_path):
        install(READERS.group, MODULE["reader"], name="one", package="first")
        install(READERS.group, MODULE["reader"], name="two", package="second")
        with pytest.raises(ObservationError, match="reports.own.*readers 'one' and 'two' both match"):
            xappa.read_observations(self.write(tmp_path))

    def test_one_that_fails_when_asked(self, install, tmp_path):
        install(READERS.group, MODULE["reader"].replace("head.startswith", "1 / 0 or head.startswith"))
        with pytest.raises(ObservationError, match="reader 'own' failed while it was asked.*ZeroDivisionError"):
            xappa.read_observations(self.write(tmp_path))

    def test_one_that_fails_while_reading(self, install, tmp_path):
        install(READERS.group, MODULE["reader"].replace("return pd", "raise KeyError('no field') or pd"))
        with pytest.raises(ObservationError, match=r"reports.own.*no field"):
            xappa.read_observations(self.write(tmp_path))

    def test_one_that_returns_something_else(self, install, tmp_path):
        install(READERS.group, MODULE["reader"].replace("return pd.read_csv(path, skiprows=1)", "return 5"))
        with pytest.raises(ObservationError, match=r"reports.own.*returned int; expected a DataFrame or a Dataset"):
            xappa.read_observations(self.write(tmp_path))


def test_a_wrong_name_lists_those_of_installed_packages(install):
    install(SAMPLERS.group, MODULE["sampler"])
    with pytest.raises(OptionError, match=r"Unknown sampler 'onw'; expected one of .*'own'"):
        choose_sampler("onw", None)


def test_modules_are_imported_in_order(tmp_path, monkeypatch):
    (tmp_path / "folder_of_modules").mkdir()
    for name in ("b", "a", "__init__"):
        (tmp_path / "folder_of_modules" / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import_modules("folder_of_modules", [str(tmp_path / "folder_of_modules")])
    names = [name for name in sys.modules if name.startswith("folder_of_modules.")]
    assert names == ["folder_of_modules.a", "folder_of_modules.b"]
