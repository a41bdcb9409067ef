"""Archives whose bytes depend on their content alone: sorted names, one time, one owner, two modes."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import gmtime
from typing import Final

FILE: Final = 0o644
PROGRAM: Final = 0o755
FOLDER: Final = 0o755
LEVEL: Final = 9


def mode_of(path: Path) -> int:
    """Return the mode that a file has in archives and in the tree that is built: a program's, or a file's."""
    return PROGRAM if path.stat().st_mode & 0o100 else FILE


def tar_gz(target: Path, files: Mapping[str, Path], epoch: int) -> None:
    """Write files as a compressed tar archive.

    Args:
        files: by their names in the archive.
        epoch: the time of every file, in seconds since 1970.
    """
    content = {name: (path.read_bytes(), mode_of(path)) for name, path in files.items()}
    target.write_bytes(_tar_gz(content, epoch))


def _tar_gz(content: Mapping[str, tuple[bytes, int]], epoch: int) -> bytes:
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(content):
            data, mode = content[name]
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), mode, epoch
            archive.addfile(entry, io.BytesIO(data))
    with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=packed, mtime=epoch) as stream:
        stream.write(plain.getvalue())
    return packed.getvalue()


def repacked(archive: Path, epoch: int) -> None:
    """Write a compressed tar archive that another program made anew, with our order, times, owners and modes."""
    content = {}
    with tarfile.open(archive) as old:
        for entry in old.getmembers():
            data = old.extractfile(entry)
            if data is not None:
                content[entry.name] = (data.read(), PROGRAM if entry.mode & 0o100 else FILE)
    archive.write_bytes(_tar_gz(content, epoch))


def zipped(target: Path, files: Mapping[str, Path], epoch: int) -> None:
    """Write files as a zip archive: arguments as for :func:`tar_gz`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, gmtime(epoch)[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | mode_of(files[name])) << 16
            entry.create_system = 3  # Unix, on every system
            archive.writestr(entry, files[name].read_bytes())


def contents(path: Path) -> Iterable[tuple[str, bytes]]:
    """Yield the files of an archive, unpacked, or the file itself."""
    if path.suffix in {".whl", ".zip", ".jar"}:
        with zipfile.ZipFile(path) as packed:
            for item in packed.infolist():
                yield item.filename, packed.read(item)
    elif path.suffix in {".gz", ".tgz"}:
        with tarfile.open(path) as archive:
            for entry in archive.getmembers():
                data = archive.extractfile(entry)
                if data is not None:
                    yield entry.name, data.read()
    else:
        yield path.name, path.read_bytes()
