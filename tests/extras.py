"""Configurations that need an extra of the package, and are complete but for it."""

from pathlib import Path
from typing import Final

from tests.process import CONFIG

SECRET: Final = "sha256:" + "2" * 64
NEEDED: Final = {
    "listen.transport": ("native", '\n[listen]\ntransport = "native"\n'),
    "listen.forwarded": ("native", f'\n[listen.forwarded]\nsecrets = ["{SECRET}"]\n'),
    "keys.aws_kms": ("aws-kms", '\n[keys]\nsigner = "aws-kms"\n[keys.aws_kms]\nregion = "eu-central-1"\n'),
    "keys.pkcs11": (
        "pkcs11",
        '\n[keys]\nsigner = "pkcs11"\n[keys.pkcs11]\nmodule = "module.so"\ntoken = "t"\npin_file = "pin"\n',
    ),
    "tracing.endpoint": ("otel", '\n[tracing]\nendpoint = "https://collector.example"\n'),
}
"""By the setting: the extra that it needs, and its lines."""


def configure(directory: Path, setting: str) -> Path:
    """Write a configuration with one of these settings, and the files that it names."""
    text = CONFIG.format(issuer="https://idp.example", client="0" * 64, operator="1" * 64)
    lines = NEEDED[setting][1]
    if "\n[listen]\n" in lines:
        text = text.replace("\n[listen]\n", lines)
    else:
        text += lines
    (directory / "module.so").write_bytes(b"\x7fELF")
    (directory / "pin").write_text("1234")
    config = directory / "tokenmint.toml"
    config.write_text(text)
    return config
