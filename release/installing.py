"""`make install-check`: each package of a release, installed into an empty project, does one real thing there.

The installed service mints a token, and each client, installed, exchanges and verifies one (its README's example).
Nothing comes from the checkout but the tests' provider and the pinned versions of dependencies.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.clients.runner import HERE, example_environment
from tests.clients.world import World, world
from tests.deploy.chart import EXAMPLES
from tests.deploy.schemas import KUBERNETES
from tests.extras import NEEDED, configure
from tests.pages import blocks_of
from tests.process import Service

from release import archives, sums
from release.packages import MAVEN_FOLDER, Build, service
from release.trees import ROOT, BuildFailed, environment, run
from release.versions import python_version

LANGUAGES: Final = ("python", "node", "go", "java")
PIN: Final = re.compile(r"^([A-Za-z0-9._-]+==[^ ]+)( ; [^\\\n]+)?", re.MULTILINE)
_COPIED: Final = re.compile(r"^COPY (?!--from)(.+) \S+$", re.MULTILINE)
_HELM: Final = ROOT / "build" / "deploy-tools" / "helm"


class Project:
    """Empty folders outside the checkout, and the packages that are installed into them."""

    def __init__(self, dist: Path, root: Path) -> None:
        self.dist = dist
        self.root = root
        # Without variables that would let the checkout in.
        self.environ = environment(0)
        del self.environ["SOURCE_DATE_EPOCH"]
        (chart,) = (dist / "helm").iterdir()
        self.version = chart.name.removeprefix("tokenmint-").removesuffix(".tgz")

    def folder(self, name: str) -> Path:
        """Return a new empty folder."""
        made = self.root / name
        made.mkdir()
        return made

    def run(self, *command: str | Path, directory: Path, **more: str) -> str:
        """Run a program in a folder, and return its output."""
        return run(*command, directory=directory, environ={**self.environ, **more})

    def expect(self, holds: bool, fault: str) -> None:
        """Raise BuildFailed if something does not hold."""
        if not holds:
            raise BuildFailed(fault)


def installed_service(project: Project) -> Path:
    """Install the wheel as users do, by name of the file; return the interpreter. The demo has to work."""
    place = project.folder("service")
    project.run(sys.executable, "-m", "venv", "venv", directory=place)
    python = place / "venv" / "bin" / "python"
    pins = place / "pins.txt"
    pins.write_text("".join(f"{pin}{marker or ''}\n" for pin, marker in PIN.findall(requirements("runtime"))))
    wheel = project.dist / "python" / f"tokenmint-{python_version(project.version)}-py3-none-any.whl"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    project.run(*pip, "--constraint", pins, wheel, directory=place)
    project.run(python, "-m", "pip", "check", "--disable-pip-version-check", directory=place)
    command = python.with_name("tokenmint")
    told = project.run(command, "--version", directory=place).strip()
    project.expect(told == f"tokenmint {python_version(project.version)}", f"--version printed {told!r}")
    project.run(command, "demo", directory=place)
    return python


def extras(project: Project) -> None:
    """Check that the service, which was installed without extras, names the one that a configuration needs."""
    command = project.root / "service" / "venv" / "bin" / "tokenmint"
    for setting, (extra, _) in NEEDED.items():
        place = project.folder(f"extra-{setting}")
        words = [str(command), "config", "check", "--config", str(configure(place, setting))]
        done = subprocess.run(words, cwd=place, env=project.environ, capture_output=True, text=True, check=False)
        named = f"install tokenmint[{extra}]" in " ".join(done.stderr.split())
        project.expect(done.returncode == 2 and named, f"{setting}: status {done.returncode}: {done.stderr[-500:]}")


def tutorial(project: Project) -> None:
    """Install as docs/tutorial.md tells, in a folder with the packages: the command and the client are there."""
    place = project.folder("tutorial")
    (place / "python").symlink_to(project.dist / "python")
    (block,) = [block for block in blocks_of(ROOT / "docs" / "tutorial.md") if block.mark == "packages"]
    told = block.text.replace("VERSION", python_version(project.version))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    pins = {"PIP_CONSTRAINT": str(project.root / "service" / "pins.txt"), "PIP_QUIET": "1", "PATH": path}
    script = f"set -eu\n{told}\ntokenmint --version\npython -c 'import tokenmint_client as c; print(c.__file__)'"
    version, client = project.run("bash", "-c", script, directory=place, **pins).strip().splitlines()[-2:]
    project.expect(version == f"tokenmint {python_version(project.version)}", f"--version printed {version!r}")
    project.expect(client.startswith(str(place)), f"the client is {client}")


def requirements(name: str) -> str:
    """Return the pinned requirements of a set."""
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def sdists(project: Project) -> None:
    """Build the wheel of each sdist: it has the same files as the released one."""
    place = project.folder("sdists")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps")
    for sdist in (project.dist / "python").glob("*.tar.gz"):
        project.run(*pip, "--no-build-isolation", "--wheel-dir", place, sdist, directory=place)
    for wheel in (project.dist / "python").glob("*.whl"):
        same_files(place / wheel.name, wheel)


def same_files(one: Path, other: Path) -> None:
    """Check that two archives have the same files.

    Raises:
        BuildFailed: they do not.
    """
    first, second = dict(archives.contents(one)), dict(archives.contents(other))
    different = [name for name in first.keys() | second.keys() if first.get(name) != second.get(name)]
    if different:
        raise BuildFailed(f"{other.name}: built elsewhere it has other files: {', '.join(sorted(different))}")


def image(project: Project) -> None:
    """Check that the image's context has all that its Dockerfile copies, and makes the released wheel."""
    place = project.folder("image")
    (context,) = (project.dist / "image").iterdir()
    project.run("tar", "-xzf", context, "--strip-components=1", directory=place)
    copied = [word for line in _COPIED.findall((place / "Dockerfile").read_text()) for word in line.split()]
    missing = [word for word in copied if not (place / word).exists()]
    project.expect(bool(copied) and not missing, f"the image's context lacks {missing or 'a COPY'}")
    (place / "work").mkdir()
    made = Build(place, project.folder("image-work"), place / "out", project.version, 0, released=True)
    service(made)
    (wheel,) = (place / "out" / "python").glob("*.whl")
    same_files(wheel, project.dist / "python" / wheel.name)


def protos(project: Project) -> None:
    """Generate code from the packed protos alone, as another language would."""
    place = project.folder("protos")
    (packed,) = (project.dist / "protos").iterdir()
    shutil.unpack_archive(packed, place)
    names = [path.relative_to(place).as_posix() for path in place.rglob("*.proto")]
    (place / "out").mkdir()
    words = (sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=out", "--grpc_python_out=out")
    project.run(*words, *names, directory=place)
    project.expect((place / "out/tokenmint/v1/token_exchange_service_pb2_grpc.py").exists(), "protoc wrote no stub")


def chart(project: Project) -> None:
    """Render the packed chart by Helm."""
    if shutil.which("go") is None:
        raise BuildFailed("go is not installed: Helm is built by it")
    if not _HELM.exists():
        project.run(
            "go", "build", "-o", _HELM, "helm.sh/helm/v3/cmd/helm", directory=ROOT / "tests" / "deploy" / "tools"
        )
    (packed,) = (project.dist / "helm").iterdir()
    values = ("--values", EXAMPLES / "minimal.yaml", "--kube-version", KUBERNETES)
    told = project.run(_HELM, "template", "tokenmint", packed, *values, directory=project.folder("chart"))
    project.expect(f"tokenmint:{project.version}" in told, "the rendering names another image")


def client(language: str, project: Project, live: World) -> None:
    """Install a client into an empty project; its README's example gets a token of the service and verifies it."""
    place = project.folder(language)
    more = {"PACKAGES": str(project.dist)}
    if language == "go":
        more |= {
            # What another build of this version left there would be taken for this one.
            "GOMODCACHE": str(project.folder("go-modules")), "GOFLAGS": "-mod=mod -modcacherw",
            "GOPROXY": f"file://{module_cache()},{goenv('GOPROXY')}",
        }  # fmt: skip
    if language == "java":
        repository = ROOT / "build" / "maven"
        shutil.rmtree(repository / MAVEN_FOLDER, ignore_errors=True)
        more["MAVEN_OPTS"] = f"-Dmaven.repo.local={repository}"
    environ = {**project.environ, **example_environment(live), **more}
    told = run(HERE / "drivers" / language / "example", place, directory=place, environ=environ).strip()
    project.expect(told.endswith("hello ada"), f"the example printed {told[-200:]!r}")


def goenv(name: str) -> str:
    """Return a setting of go."""
    return subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip()


def module_cache() -> Path:
    """Return the downloads of Go's module cache: a module proxy by itself."""
    return Path(goenv("GOMODCACHE")) / "cache" / "download"


@contextmanager
def live_service(root: Path, python: Path) -> Iterator[World]:
    """Start the installed service, with the tests' provider and a store."""

    class Installed(Service):
        interpreter = str(python)

    place = root / "world"
    place.mkdir()
    with world(place, Installed) as live:
        yield live


_PARTS: Final = (extras, tutorial, sdists, image, protos, chart)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    dist = parser.parse_args().dist.resolve()
    os.environ.pop("PYTHONPATH", None)  # with it the checkout would be found
    failed = 0

    def attempt(name: str, action: Callable[[], None]) -> None:
        nonlocal failed
        try:
            action()
        except (BuildFailed, AssertionError, OSError) as error:
            failed += 1
            print(f"{name}: FAILED: {error}", flush=True)
        else:
            print(f"{name}: ok", flush=True)

    with tempfile.TemporaryDirectory(prefix="tmi") as temporary:
        try:
            sums.check(dist)
            project = Project(dist, Path(temporary))
            python = installed_service(project)
            origin = project.run(python, "-c", "import tokenmint; print(tokenmint.__file__)", directory=project.root)
            project.expect(origin.startswith(temporary), f"the service is {origin}")
        except BuildFailed as error:
            print(f"install-check: {error}", file=sys.stderr)
            return 1
        print(f"service {project.version}: --version and demo: ok", flush=True)
        for check in _PARTS:
            attempt(check.__name__, partial(check, project))
        with live_service(project.root, python) as live:
            for language in LANGUAGES:
                attempt(f"client for {language}", partial(client, language, project, live))
    print(f"{len(_PARTS) + 1 + len(LANGUAGES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
