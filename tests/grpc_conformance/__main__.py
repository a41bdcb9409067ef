"""`make test-grpc-conformance`: the transports against connectconformance and h2spec, less what is known to fail.

`known/SUITE-TRANSPORT.txt` lists what is known to fail, each group with its reason. What else fails, and what is listed
and does not fail any more, fails the lane.
"""

import asyncio
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import grpc_tools
import structlog
from tests.grpc_conformance.serve import for_stubs, serving
from tests.grpc_conformance.service import Messages

HERE: Final = Path(__file__).resolve().parent
BUILD: Final = HERE.parents[1] / "build" / "grpc_conformance"
PATIENCE: Final = 300.0  # seconds for one suite against one transport
SERVER_WAS_FIRST: Final = re.compile(r"Timeouts/.*\n\tactual error contain 1 details; expecting 0\Z")
"""A failure that is none. At a deadline the client and the server answer DEADLINE_EXCEEDED at the same time. The suite
wants the client's own answer, without details; the server's has an ErrorInfo, like each of our refusals."""
CONFIG: Final = """\
features:
  versions: [HTTP_VERSION_2]
  protocols: [PROTOCOL_GRPC]
  codecs: [CODEC_PROTO]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP]
  supportsTls: false
"""


@dataclass(frozen=True)
class Result:
    """The findings of a suite. ``failed`` has a line for each case that is not as its list says."""

    passed: int
    known: int
    failed: list[str]


def built() -> Messages:
    """Build both suites, pinned in tools/go.sum, and read the messages of connectconformance's own protos."""
    BUILD.mkdir(parents=True, exist_ok=True)
    tools = HERE / "tools"
    programs = ("connectrpc.com/conformance/cmd/connectconformance", "github.com/summerwind/h2spec/cmd/h2spec")
    subprocess.run(["go", "build", "-o", f"{BUILD}/", *programs], cwd=tools, check=True)
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", "connectrpc.com/conformance"]
    module = subprocess.run(listed, cwd=tools, check=True, capture_output=True, text=True).stdout.strip()
    protos = sorted(map(str, Path(module).glob("proto/connectrpc/conformance/v1/*.proto")))
    descriptors = BUILD / "suite.binpb"
    standard = Path(grpc_tools.__file__).parent / "_proto"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{module}/proto", f"-I{standard}", "--include_imports"]
    subprocess.run([*protoc, f"--descriptor_set_out={descriptors}", *protos], check=True)
    return Messages(descriptors)


def known(suite: str, transport: str) -> tuple[set[str], set[str]]:
    """Return what is known to fail, and, after a tilde, what is known to fail now and then."""
    lines = (HERE / "known" / f"{suite}-{transport}.txt").read_text().splitlines()
    listed = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return {line for line in listed if line[0] != "~"}, {line[1:].strip() for line in listed if line[0] == "~"}


async def output(*command: str | Path) -> tuple[int, str]:
    """Run a suite; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(PATIENCE):
            printed, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    return await process.wait(), printed.decode(errors="replace")


async def connectconformance(transport: str, messages: Messages, folder: Path) -> Result:
    """Play the suite's client against the transport. It fails by itself where a case is not as the list says."""
    config, socket = folder / "features.yaml", folder / f"{transport}.sock"
    config.write_text(CONFIG)
    async with for_stubs(transport, messages, socket):
        status, printed = await output(
            BUILD / "connectconformance", "--mode", "server", "--conf", config, "--parallel", "4",
            "--known-failing", f"@{HERE / 'known' / f'connectconformance-{transport}.txt'}",
            "--", sys.executable, "-I", HERE / "stub.py", socket,
        )  # fmt: skip
    (BUILD / f"connectconformance-{transport}.log").write_text(printed)
    counts = re.search(r"^(\d+) passed, \d+ failed$", printed, re.MULTILINE)
    expected = re.search(r"^\(Another (\d+) failed as expected", printed, re.MULTILINE)
    if counts is None:
        return Result(0, 0, [f"no counts in what the suite printed:\n{printed[-2000:]}"])
    failures = re.findall(r"^(?:FAILED|UNEXPECTED)\S* (.+(?:\n\t.+)*)", printed, re.MULTILINE)
    failed = [failure.replace("\n\t", " ") for failure in failures if not SERVER_WAS_FIRST.search(failure)]
    if status and not failures:
        failed = [printed[-2000:]]
    known_to_suite = int(expected[1]) if expected else 0
    return Result(int(counts[1]), known_to_suite + len(failures) - len(failed), failed)


async def h2spec(transport: str, messages: Messages, folder: Path) -> Result:
    """Play h2spec's client: RFC 9113 and RFC 7541, as far as it is about servers."""
    report = folder / f"h2spec-{transport}.xml"
    async with serving(transport, messages) as address:
        _, printed = await output(
            BUILD / "h2spec", "-h", address.host, "-p", str(address.port), "-P", "/x/y", "-o", "5", "-j", report
        )
    (BUILD / f"h2spec-{transport}.log").write_text(printed)
    listed, flaky = known("h2spec", transport)
    passed, seen = 0, set()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # written by the suite a moment ago
        if case.find("failure") is not None or case.find("error") is not None:
            seen.add(f"{case.get('package')} {case.get('classname')}")
        elif case.find("skipped") is None:
            passed += 1
    failed = [*sorted(seen - listed - flaky), *(f"{name}: listed, and does not fail" for name in sorted(listed - seen))]
    return Result(passed, len(seen & (listed | flaky)), failed)


SUITES: Final = (
    (connectconformance, "grpcio"),
    (connectconformance, "native"),
    # Not grpcio: gRPC's core answers nothing but gRPC, and 22 of h2spec's 145 cases wait in vain for another answer.
    (h2spec, "native"),
)


async def run(messages: Messages) -> bool:
    """Run the suites; print a line for each. Return whether everything is as the lists say."""
    good = True
    with tempfile.TemporaryDirectory() as name:
        for suite, transport in SUITES:
            result = await suite(transport, messages, Path(name))
            good = good and not result.failed
            counts = f"passed {result.passed}, known {result.known}, failed {len(result.failed)}"
            print(f"{suite.__name__:19} {transport:7} {counts}", flush=True)
            for line in result.failed:
                print(f"  {line}", flush=True)
    return good


def main() -> int:
    """Return the exit status."""
    if shutil.which("go") is None:
        print("test-grpc-conformance: no go on PATH: nothing was tested", file=sys.stderr)
        return 1 if os.environ.get("TOKENMINT_REQUIRE_LANES") else 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # refusals are meant
    return 0 if asyncio.run(run(built())) else 1


if __name__ == "__main__":
    sys.exit(main())
