"""The pictures of the documentation, from a real run on made photos: `python -m benchmarks.pictures [DEMO]`.

DEMO is a folder of edge-demo, which is run where it is not there: by default runs/pictures. The page of a bin at
work and parity.html are shot in a headless Chromium.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from benchmarks.record import ROOT
from edge.manifest import MANIFEST
from tests.browser import DESKTOP, Browser

BIN = Path(sys.executable).parent
IMAGES = ROOT / "docs" / "images"
SCENE = "demo://?seed=2000000&deposits=1000"
DECISIONS = 6
"""Shown on the page before it is shot."""
MOST_BYTES = 150_000
PARITY = (1000, 1080)


def main() -> None:
    """Write docs/images/bin.png and docs/images/parity.png."""
    bundle = bundle_of(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "pictures")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
        with _at_work(bundle) as url:
            browser.size(DESKTOP)
            browser.open(url)
            browser.until(f"document.querySelectorAll('#decisions li').length >= {DECISIONS}", 300)
            browser.until("document.querySelector('#sight img').naturalWidth > 0")
            _shoot(browser, "bin.png")
        browser.size(PARITY)
        browser.open((bundle / "parity.html").resolve().as_uri())
        browser.until("document.querySelector('.verdict')")
        _shoot(browser, "parity.png")


def bundle_of(demo: Path) -> Path:
    """Return the bundle in a folder of edge-demo, which makes both where there is none. Ends where it did not."""
    if not demo.exists():
        subprocess.run([BIN / "edge-demo", "-o", demo], check=False)  # what it falls short of is no matter here
    bundle = demo / "run" / "bundle"
    if not (bundle / MANIFEST).is_file():
        sys.exit(f"{bundle} is no bundle, expected one of edge-demo: name another folder, or remove {demo}")
    return bundle


@contextmanager
def _at_work(bundle: Path) -> Iterator[str]:
    """Run a bin on the moving scene, and give the address of its page."""
    words = [BIN / "edge-run", bundle, SCENE, "--web", "0", "--web-live", "--bin", "kitchen-3", "--events"]
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        with subprocess.Popen(
            [*words, events, "--allow-failed-parity"], stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stderr
            try:
                said = next(line for line in running.stderr if "the page is at" in line)
                yield re.sub(r".* at ", "", said).strip()
            finally:
                running.kill()


def _shoot(browser: Browser, name: str) -> None:
    """Keep what is on the screen in 256 colours, which halves the file and is hardly seen."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / name
        browser.picture(shot)
        picture = Image.open(io.BytesIO(shot.read_bytes())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    taken = (IMAGES / name).stat().st_size
    sys.stdout.write(f"{IMAGES / name}: {taken} bytes\n")
    if taken >= MOST_BYTES:
        sys.exit(f"{name} is larger than {MOST_BYTES} bytes")


if __name__ == "__main__":
    main()
