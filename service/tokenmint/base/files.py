"""Reads files that the configuration names: regular files only, whole, up to a size limit."""

import codecs
import errno
import os
import stat
from pathlib import Path
from typing import Final

MAX_FILE: Final = 1024 * 1024  # bytes
LENGTH: Final = 32
"""Length from which on a word may be a secret or a token; those that tokenmint makes are longer."""


def shown(path: Path) -> str:
    """Return a path for a message. It omits long missing parts, which may be a secret given in place of a file."""
    parts: list[str] = []
    for number, part in enumerate(path.parts, start=1):
        exists = os.path.exists(Path(*path.parts[:number]))  # noqa: PTH110  # unlike pathlib's it never raises
        parts.append(part if exists or len(part) < LENGTH else f"({len(part)} characters)")
    return str(Path(*parts))


def read_bytes(path: Path, most: int = MAX_FILE) -> bytes:
    """Return the content of a regular file of at most ``most`` bytes. Devices, pipes and directories are refused.

    Raises:
        OSError: its ``strerror`` gives the reason.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would block
    except ValueError:
        raise OSError(errno.EINVAL, "its name has the character U+0000") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "it is a directory")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 1024} KiB")
    return content


def read_text(path: Path, most: int = MAX_FILE) -> str:
    """Return the text in a regular file, without a byte order mark. Raises ``OSError``, ``UnicodeDecodeError``."""
    return without_mark(read_bytes(path, most)).decode()


def without_mark(content: bytes) -> bytes:
    """Return a text in UTF-8 without the byte order mark that some programs write before it.

    Parsers may ignore it (RFC 8259 section 8.1, TOML 1.1). In a password it is invisible and wrong.
    """
    return content.removeprefix(codecs.BOM_UTF8)
