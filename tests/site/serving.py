"""A server that treats the site as static hosts do: compressed, cached for some minutes, kept alive."""

import contextlib
import functools
import gzip
import http.server
import itertools
import re
import threading
import time
from pathlib import Path

import brotli

COMPRESSED = {".html", ".css", ".js", ".json", ".svg", ".txt", ".md", ".xml", ".py", ".ipynb"}


@functools.cache
def compressed(path, encoding):
    """Return a file's bytes, compressed as a browser asked for it."""
    data = Path(path).read_bytes()
    if encoding == "br":
        return brotli.compress(data, quality=11)
    return gzip.compress(data, 9) if encoding == "gzip" else data


class Host(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        """Send a file, or the page for what is not found."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        status = 200 if path.is_file() else 404
        path = path if status == 200 else Path(self.directory) / "404.html"
        accepted = self.headers.get("Accept-Encoding", "")
        encoding = "br" if "br" in accepted else "gzip" if "gzip" in accepted else ""
        encoding = encoding if path.suffix in COMPRESSED else ""
        body = compressed(str(path), encoding)
        self.send_response(status)
        kind = self.guess_type(str(path))
        text = kind.startswith("text/") or kind.endswith(("javascript", "json"))
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
        self.send_header("Cache-Control", "public, max-age=600")
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
            self.send_header("Vary", "Accept-Encoding")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)


class Dripping(Host):
    """Sends a page tag by tag up to its text, and then in drops of some tags, as a slow line may."""

    DROP = 20  # tags
    PAUSE = 0.02  # seconds: longer than a browser takes from one picture of the page to the next

    def do_GET(self):
        """Send a page in drops, and everything else at once."""
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html":
            super().do_GET()
            return
        tags = re.split(r"(?=<\w)", path.read_text(encoding="utf-8"))
        text = next(i for i, tag in enumerate(tags) if tag.startswith("<article"))
        ends = [*range(1, text), *range(text, len(tags), self.DROP), len(tags)]
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        for start, end in itertools.pairwise([0, *ends]):
            self.wfile.write("".join(tags[start:end]).encode())
            time.sleep(self.PAUSE)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing of browsers that hang up."""


@contextlib.contextmanager
def serving(folder, host=Host):
    """Serve a folder on a free port of this machine, and give the address."""
    handler = functools.partial(host, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
