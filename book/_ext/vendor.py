"""Other people's JavaScript: fetched by npm at build time, checked by hash, never committed."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path


class VendorError(Exception):
    """What npm delivered is not what this repository asks for."""


@dataclass(frozen=True)
class Package:
    """A version of an npm package, the hash of its archive, and the files of it that are kept."""

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The name without its scope.

        >>> Package("@some/small", "1.0.0", "", ()).folder
        'small'
        """
        return self.name.rpartition("/")[2]

    @property
    def cdn(self) -> str:
        """Where a page finds the same files on the network."""
        return f"https://cdn.jsdelivr.net/npm/{self.name}@{self.version}"


MATHJAX = Package(
    "mathjax",
    "3.2.2",
    "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
    ("es5/tex-svg-full.js", "LICENSE"),
)
AXE = Package(  # the tests' alone: it looks for barriers to readers
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ("axe.min.js",),
)


def fetch(package: Package, vendor: Path) -> Path | None:
    """Return the folder that holds `package.folder`; None without npm or a network.

    Raises:
        VendorError: the archive differs from its recorded hash, or lacks a file.
    """
    target = vendor / f"{package.folder}-{package.version}"
    if target.is_dir():
        return target
    vendor.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=vendor) as scratch:
        archive = _download(package, Path(scratch))
        if archive is None:
            return None
        _check(archive, package)
        _unpack(archive, package, Path(scratch, "new", package.folder))
        try:
            Path(scratch, "new").rename(target)
        except OSError:  # another build was faster
            if not target.is_dir():
                raise
    return target


def _download(package: Package, into: Path) -> Path | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    command = [npm, "pack", f"{package.name}@{package.version}", "--ignore-scripts"]
    try:
        subprocess.run(command, cwd=into, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return next(into.glob("*.tgz"), None)


def _check(archive: Path, package: Package) -> None:
    digest = hashlib.sha512(archive.read_bytes()).digest()
    found = f"sha512-{base64.b64encode(digest).decode()}"
    if found != package.integrity:
        raise VendorError(
            f"npm delivered {package.name} {package.version} with the hash {found}, "
            f"where {package.integrity} is recorded"
        )


def _unpack(archive: Path, package: Package, into: Path) -> None:
    with tarfile.open(archive) as tar:
        for name in package.files:
            try:
                source = tar.extractfile(f"package/{name}")
            except KeyError:
                source = None
            if source is None:
                raise VendorError(f"{package.name} {package.version} has no file {name}")
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read())
