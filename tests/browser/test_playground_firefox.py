"""The playground in Firefox, which no driver steers here: the page presses Play and reports."""

import json
import queue
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .conftest import missing
from .test_playground_page import written

REPORTS = """<script>
const report = (what) => fetch("http://127.0.0.1:PORT", {
  method: "POST", mode: "no-cors", body: JSON.stringify(what),
});
addEventListener("error", ({ message }) => report({ error: message }));
addEventListener("playground:run", ({ detail }) => setTimeout(() => {
  const { state, accuracy, density } = document.querySelector("#playground").dataset;
  const said = document.querySelector("#playground [role=status]").textContent;
  report({ state, accuracy, density, said, stops: detail.stops });
}));
addEventListener("load", () => document.querySelector("#playground button").click());
</script></html>"""


@pytest.fixture
def reports():
    """The port of a server, and the queue of what is reported to it."""
    heard = queue.Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, heard
        server.shutdown()


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_one_press_of_play_trains_and_prunes_in_firefox_too(reports, tmp_path):
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        missing("no Firefox: install the Debian package firefox-esr")
    port, heard = reports
    page = written(tmp_path / "site") / "book" / "light.html"
    text = page.read_text("utf-8").replace("</html>", REPORTS.replace("PORT", str(port)))
    page.write_text(text, "utf-8")
    (tmp_path / "profile").mkdir()
    command = [program, "--headless", "--no-remote", "--profile", tmp_path / "profile"]
    firefox = subprocess.Popen([*command, page.as_uri()], stderr=subprocess.DEVNULL)
    try:
        found = heard.get(timeout=240)
    finally:
        firefox.terminate()
        firefox.wait(30)
    assert "error" not in found
    assert found["state"] == "done"
    assert float(found["accuracy"]) >= 0.85
    assert float(found["density"]) <= 0.2
    assert len(found["stops"]) == 9
    assert found["said"].startswith("Done: 17 % of the weights left")
