"""What receivers that others wrote make of webhooks: the Standard Webhooks library verifies, the CloudEvents SDK parses, and
Debian's Alertmanager shows, what commands and a coordinator really sent while a scenario was played.

Usage: webhooks.py FAULTLINE-BINARY LAB-BINARY
"""

import contextlib
import http.server
import json
import pathlib
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

import lab
from lab import OPENER, check, fail, until

SPEED = 8
READY_S = 20
VERDICT_S = 90
MOST_BYTES = 20_000


def main(faultline, lab_binary):
    lab.end_when_told()
    with contextlib.ExitStack() as ends:
        data = pathlib.Path(ends.enter_context(tempfile.TemporaryDirectory()))
        receiver = Receiver(ends)
        alertmanager = start_alertmanager(ends, data)

        def command(*words):
            done = subprocess.run([faultline, *words], capture_output=True, text=True, timeout=30)
            check(done.returncode == 0, f"{words}: {done.returncode} {done.stdout} {done.stderr}")
            return done.stdout

        def webhook(*words):
            return command("webhook", *words, "--data-dir", str(data / "feed"))

        command("init", "--data-dir", str(data / "feed"), "--dns", "localhost")
        added = webhook("add", "ops", receiver.url, "--allow-private", "--heartbeat", "10s")
        secrets = re.findall(r"whsec_\S+", added)
        webhook("add", "alerts", alertmanager, "--format", "alertmanager", "--allow-private")
        try_the_commands(webhook, receiver, alertmanager, secrets)
        words = ["--speed", SPEED, "--webhooks", data / "feed" / "webhooks", "--exit-on-verdict", "--hold", VERDICT_S]
        lab.play(ends, lab_binary, data / "lab.log", *words)
        watch_the_incident(receiver, secrets)
        watch_the_alert(alertmanager)


def try_the_commands(webhook, receiver, alertmanager, secrets):
    check(len(secrets) == 1 and secrets[0] not in webhook("list"), "the secret is shown once")
    webhook("test", "ops")
    event = receiver.event(secrets)
    check(event.get_type() == "net.faultline.test.v1", f"test: {event}")
    try:
        receiver.verified("whsec_" + "A" * 32)
        fail("a wrong secret verifies")
    except WebhookVerificationError:
        pass
    secrets += re.findall(r"whsec_\S+", webhook("rotate", "ops"))
    webhook("test", "ops")
    receiver.event(secrets)
    log = json.loads(webhook("log", "ops", "-o", "json"))
    check([attempt["status"] for attempt in log] == [200, 200], f"log: {log}")
    webhook("test", "alerts")
    until("the Alertmanager shows the test", READY_S, lambda: alerts(alertmanager, "FaultlineTest"))
    print("commands: both secrets verify, the Alertmanager shows the test")


def watch_the_incident(receiver, secrets):
    seen, beats, deadline = [], 0, time.monotonic() + VERDICT_S
    while True:
        event = receiver.event(secrets, deadline - time.monotonic())
        check(event.get_specversion() == "1.0" and event.get_source(), f"attributes: {event.get_attributes()}")
        kind, change = event.get_type(), event.get_data()
        if kind == "net.faultline.heartbeat.v1":
            check(change["below_quorum"] is False, f"a heart beats though nothing is seen: {change}")
            beats += 1
        if not kind.startswith("net.faultline.incident.v1."):
            continue
        check(kind.endswith("." + change["state"]), f"{kind}: {change['state']}")
        check(event.get_subject() == change["incident"], f"subject: {event.get_subject()}")
        check(event.get_id() == f"{change['incident']}.{change['revision']}", f"id: {event.get_id()}")
        seen.append((int(event.get_extension("sequence")), event.get_id()))
        if change["state"] == "attributed" and change["verdict"] == "azure":
            break
    check(seen == sorted(set(seen)), f"not in order, or twice: {seen}")
    check(change["element"] == "azure/front-door" and change["evidence"], f"data: {change}")
    check(beats > 0, "no heart beat")
    print(f"events: {len(seen)} revisions in order, {beats} heartbeats, the last: {change['headline']}")


def watch_the_alert(alertmanager):
    found = until("the Alertmanager shows the incident", 20, lambda: alerts(alertmanager, "FaultlineIncident"))
    labels = found[-1]["labels"]
    check(labels["verdict"] == "azure" and labels["severity"] == "critical", f"labels: {labels}")
    check(found[-1]["status"]["state"] == "active", f"status: {found[-1]['status']}")
    print(f"alert: {labels}")


def alerts(alertmanager, name):
    with OPENER.open(f"{alertmanager}/api/v2/alerts", timeout=5) as answer:
        shown = json.load(answer)
    return [alert for alert in shown if alert["labels"]["alertname"] == name]


def start_alertmanager(ends, data):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = data / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    lab.Program(ends, [
        "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={data / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ], data / "alertmanager.log")
    address = f"http://127.0.0.1:{port}"

    def is_ready():
        with contextlib.suppress(OSError), OPENER.open(f"{address}/-/ready", timeout=5) as answer:
            return answer.status == 200
        return False

    until("the Alertmanager is ready", READY_S, is_ready)
    return address


class Receiver:
    """Takes messages on loopback, and hands them over in their order."""

    def __init__(self, ends):
        self.got, self.last = queue.Queue(), None
        got = self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                got.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ends.callback(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_address[1]}/events"

    def event(self, secrets, seconds=READY_S):
        """The next event, verified with each secret."""
        try:
            self.last = self.got.get(timeout=max(seconds, 0))
        except queue.Empty:
            fail("no event in time")
        headers, body = self.last
        check(len(body) < MOST_BYTES, f"{len(body)} bytes")
        check(headers["content-type"] == "application/cloudevents+json", f"content-type: {headers['content-type']}")
        for secret in secrets:
            self.verified(secret)
        event = from_http_event(HTTPMessage(headers=headers, body=body))
        check(headers["webhook-id"] == event.get_id().replace(".", "-r"), f"id: {headers['webhook-id']}, {event.get_id()}")
        return event

    def verified(self, secret):
        headers, body = self.last
        return Webhook(secret).verify(body, headers)


if __name__ == "__main__":
    main(*sys.argv[1:])
