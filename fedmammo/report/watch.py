"""A study's report while it runs: served to this machine alone, growing with every round."""

import secrets
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd

from fedmammo.config.study import StudyConfig
from fedmammo.federation.spread import FINISHED
from fedmammo.report.blocks import Block, Figure, Section, Table, text
from fedmammo.report.charts import losses
from fedmammo.report.page import page_html
from fedmammo.report.run_page import run_page
from fedmammo.run.results import Run

FAREWELL_SECONDS = 5.0  # how long the last page waits for whoever watches
MOST_ROWS = 1500  # of rounds, in the page
SHOWN = ["deployment", "stage", "round", "hospital", "status", "loss", "epsilon_spent"]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a browser that went away: the terminal shows progress."""


class Watch:
    """Serves the page; use it as a context, which ends with the finished report.

    Args:
        study: that runs.
        out: folder of its run.

    Attributes:
        url: where the page is: on this machine, under a name that nobody can guess.
    """

    def __init__(self, study: StudyConfig, out: Path) -> None:
        self._run, self._key = Run(out, study), secrets.token_urlsafe(12)
        self._lock, self._asked_last = threading.Lock(), threading.Event()
        self._stages: dict[str, dict[str, Any]] = {}
        self._rows: list[dict[str, Any]] = []
        self._done, self._finished = 0, False
        self._of = sum(1 for _ in study.deployments)
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{self._key}/"

    def __enter__(self) -> "Watch":
        """Begin to serve."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let the page fetch the finished report, if somebody watches; then end."""
        with self._lock:
            self._finished, watched = kind is None, self._asked_last.is_set()
            self._asked_last.clear()
        if watched and self._finished:
            with suppress(KeyboardInterrupt):  # the study is finished: nothing is interrupted but the waiting
                self._asked_last.wait(FAREWELL_SECONDS)
        self._server.shutdown()
        self._server.server_close()

    def update(self, event: dict[str, Any]) -> None:
        """Take up one report of the server (fedmammo.federation.server)."""
        name = event["deployment"]["name"]
        with self._lock:
            if event["stage"] == FINISHED:
                self._done += 1
                self._stages.pop(name, None)
            else:
                before = self._stages.get(name, {})
                answered = [state == "ok" for state in event["hospitals"].values()]
                told = f"{sum(answered)} of {len(answered)}" if answered else before.get("hospitals answered", "")
                self._stages[name] = {
                    "deployment": name, "stage": event["stage"], "round": event["round"],
                    "of": event["rounds"], "hospitals answered": told,
                }  # fmt: skip
            self._rows = [*self._rows, *({"deployment": name, **row} for row in event["rows"])][-MOST_ROWS:]

    def page(self) -> str:
        """Return the page as it is now: what is at work, or the report of what is finished."""
        with self._lock:
            finished = self._finished
        if finished:
            return run_page(self._run)
        head = [text("Running. What follows grows; nothing here is decided before the study ends.", kind="notice")]
        return page_html(self._run.study.name, head, [self._now()], live="now")

    def _now(self) -> Section:
        with self._lock:
            stages, rows = pd.DataFrame(list(self._stages.values())), pd.DataFrame(self._rows)
            done = f"{self._done} of {self._of} deployments are finished."
        blocks: list[Block] = [text(done)]
        if len(stages):
            blocks.append(Table.whole("At work", stages))
        if len(rows):
            newest = list(dict.fromkeys(rows["deployment"]))[::-1]
            shown = pd.concat([rows.loc[rows["deployment"] == name, SHOWN] for name in newest], ignore_index=True)
            table = Table("Rounds", shown, {key: key.replace("_", " ") for key in SHOWN}, folded=True)
            if shown["loss"].notna().any():
                blocks.append(Figure(losses(shown), table, "loss of each hospital by round"))
            else:
                blocks.append(table)
        return Section("now", "Now", blocks)

    def _answer(self, path: str) -> tuple[str, str]:
        """Return what a path shows, and its kind; nothing where there is no such path."""
        if path == f"/{self._key}/":
            content = self.page()
            if self._finished:
                self._asked_last.set()
            return content, "text/html"
        if path == f"/{self._key}/now":
            if not self._finished:
                self._asked_last.set()  # somebody watches
            return ("finished" if self._finished else str(self._now().html())), "text/plain"
        return "", ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer this machine's browser, and no page of elsewhere that was led here."""
                host = (self.headers.get("Host") or "").rpartition(":")[0]
                content, kind = answer(self.path) if host in ("127.0.0.1", "localhost") else ("", "")
                body = content.encode()
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", f"{kind or 'text/plain'}; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: the terminal shows progress."""

        return Handler
