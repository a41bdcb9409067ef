"""The wiring of traces: nothing of the extra is loaded before it is used."""

import subprocess
import sys

import pytest

LOADED = "[name for name in sys.modules if name.startswith('opentelemetry.proto')]"


@pytest.mark.slow
@pytest.mark.processes
def test_without_a_collector_nothing_of_the_extra_is_imported() -> None:
    program = (
        "import sys\n"
        "import tokenmint.cli, tokenmint.process.worker, tokenmint.process.app\n"
        "from tokenmint.config.load import load\n"
        "assert load(None, {}).tracing is None\n"
        f"assert not {LOADED}\n"
        "settings = load(None, {'TOKENMINT_TRACING__ENDPOINT': 'http://127.0.0.1:4317'})\n"
        f"assert settings.tracing is not None and not {LOADED}\n"
        "import tokenmint.tracing.otlp\n"
        f"assert {LOADED}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
