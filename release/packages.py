"""Each package, built from a tree into the layout of its registry."""

import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from release import archives
from release.trees import BuildFailed, environment, run, timestamp

GO_MODULE: Final = "tokenmint.dev/client-go"
MAVEN_FOLDER: Final = "dev/tokenmint/tokenmint-client"
GOOGLE_PROTOS: Final = ("google/rpc/status.proto", "google/rpc/error_details.proto")
IMAGE: Final = (
    ".dockerignore",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "requirements/*",
    "service/**/*",
)
"""The files of the image's context, by pattern: those that .dockerignore lets pass."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build of packages."""

    tree: Path
    """The sources. Builders work on copies of their parts."""
    work: Path
    """A folder for what is thrown away."""
    out: Path
    """The folder of the packages."""
    version: str
    epoch: int
    released: bool
    """Whether the version is final. Otherwise Go and Maven get one that no cache mistakes for another build's."""

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the programs that build."""
        return environment(self.epoch)

    def part(self, name: str) -> Path:
        """Return a new copy of a folder of the tree."""
        copy = self.work / name.replace("/", "-")
        shutil.copytree(self.tree / name, copy)
        return copy

    def folder(self, name: str) -> Path:
        """Return a new folder for packages."""
        made = self.out / name
        made.mkdir(parents=True, exist_ok=True)
        return made


def service(build: Build) -> None:
    """Build the sdist and the wheel of the service."""
    _python(build, build.tree, "service")


def python_client(build: Build) -> None:
    """Build the sdist and the wheel of the Python client."""
    _python(build, build.tree / "clients" / "python", "client")


def _python(build: Build, source: Path, name: str) -> None:
    """Build the wheel from the sdist: so the sdist has everything that the wheel needs."""
    copy = build.work / f"python-{name}"
    skipped = shutil.ignore_patterns("clients", "tests", "benchmarks", ".git") if source == build.tree else None
    shutil.copytree(source, copy, ignore=skipped)
    made = build.work / f"python-{name}-made"
    made.mkdir()
    call = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    run(sys.executable, "-c", call, made, directory=copy, environ=build.environ)
    (sdist,) = made.iterdir()
    archives.repacked(sdist, build.epoch)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps")
    run(*pip, "--no-build-isolation", "--wheel-dir", made, sdist, directory=build.work, environ=build.environ)
    for file in made.iterdir():
        shutil.move(file, build.folder("python") / file.name)


def node_client(build: Build) -> None:
    """Build the npm package."""
    source = build.part("clients/node")
    install = ("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
    run(*install, directory=source, environ=build.environ)
    run("npm", "run", "--silent", "build", directory=source, environ=build.environ)
    run("npm", "pack", "--silent", "--pack-destination", build.folder("npm"), directory=source, environ=build.environ)


def go_client(build: Build) -> None:
    """Build the Go module, in the layout of a module proxy."""
    source = build.part("clients/go")
    tools = build.part("clients/go/tools")
    run("go", "build", "-o", build.work / "modulezip", "./modulezip", directory=tools, environ=build.environ)
    kind = () if build.released else ("-digest",)
    words = (*kind, source, GO_MODULE, f"v{build.version}", build.folder("go"))
    run(build.work / "modulezip", *words, directory=build.work, environ=build.environ)


def java_client(build: Build) -> None:
    """Build the jars, in the layout of a Maven repository. Javadoc and the bill of materials belong to releases."""
    source = build.part("clients/java")
    target = build.folder("maven")
    maven(
        build, source, "-DskipTests", f"-Dprotos={build.tree / 'protos'}", *(["-Prelease"] if build.released else []),
        "deploy", f"-DaltDeploymentRepository=built::file://{target}",
    )  # fmt: skip
    if build.released:
        # They hold the time of the build. A version without -SNAPSHOT is found without them.
        for file in (target / MAVEN_FOLDER).glob("maven-metadata.xml*"):
            file.unlink()
        bill = source / "target" / "bom.json"
        shutil.move(bill, build.work / "java-bill.json")


def maven(build: Build, source: Path, *arguments: str | Path) -> None:
    """Run Maven on a project."""
    time = f"-Dproject.build.outputTimestamp={timestamp(build.epoch)}"
    run("mvn", "-q", "-B", "-f", source / "pom.xml", time, *arguments, directory=source, environ=build.environ)


def protos(build: Build) -> None:
    """Pack the protos with Google's that they and the answers need; protoc itself has the rest."""
    own = build.tree / "protos"
    files = {path.relative_to(own).as_posix(): path for path in (own / "tokenmint" / "v1").glob("*.proto")}
    google = Path(sysconfig.get_path("purelib"))
    files |= {name: google / name for name in GOOGLE_PROTOS}
    files["LICENSE"] = build.tree / "LICENSE"
    archives.zipped(build.folder("protos") / f"tokenmint-protos-{build.version}.zip", files, build.epoch)


def chart(build: Build) -> None:
    """Pack the Helm chart. `helm package` would put the time of the build into it."""
    source = build.tree / "deploy" / "helm" / "tokenmint"
    ignored = [line for line in (source / ".helmignore").read_text().splitlines() if line and not line.startswith("#")]
    files = {
        f"tokenmint/{path.relative_to(source).as_posix()}": path
        for path in source.rglob("*")
        if path.is_file() and not any(fnmatch(path.name, pattern) for pattern in ignored)
    }
    archives.tar_gz(build.folder("helm") / f"tokenmint-{build.version}.tgz", files, build.epoch)


def image(build: Build) -> None:
    """Pack the image's recipe with its context: `docker build` of the unpacked folder makes the image."""
    files: dict[str, Path] = {}
    for pattern in IMAGE:
        found = [path for path in build.tree.glob(pattern) if path.is_file()]
        if not found:
            raise BuildFailed(f"the image's context has nothing for {pattern}")
        files |= {f"tokenmint-image-{build.version}/{path.relative_to(build.tree).as_posix()}": path for path in found}
    archives.tar_gz(build.folder("image") / f"tokenmint-image-{build.version}.tar.gz", files, build.epoch)


CLIENTS: Final[Mapping[str, Callable[[Build], None]]] = {
    "python": python_client,
    "node": node_client,
    "go": go_client,
    "java": java_client,
}
OTHERS: Final[Mapping[str, Callable[[Build], None]]] = {
    "service": service,
    "protos": protos,
    "chart": chart,
    "image": image,
}
