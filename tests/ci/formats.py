"""What programs read of a scenario, read by programs that others wrote: the OpenAPI description by openapi-spec-validator and the
answers by jsonschema against it, the feeds by feedparser, the Statuspage shape by the client statuspage.io, metrics and alert
rules by promtool.

Usage: formats.py LAB-BINARY TOOLS-FOLDER
"""

import contextlib
import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree

import feedparser
import jsonschema
import openapi_spec_validator

import lab
from lab import OPENER, check

SCENARIO = "2025-10-29-azure-front-door"
VERDICT_S = 75
PROMETHEUS = pathlib.Path("deploy/prometheus")
ATOM = "{http://www.w3.org/2005/Atom}"
STATUSPAGE = """
const { Statuspage } = require("statuspage.io");
const page = new Statuspage("faultline");
page.setApiUrl(process.argv[1]);
(async () => {
  const { api } = page;
  const read = {
    summary: await api.getSummary(), status: await api.getStatus(), components: await api.getComponents(),
    incidents: await api.incidents.getAll(), unresolved: await api.incidents.getUnresolved(),
    maintenances: await api.scheduledMaintenances.getAll(),
  };
  console.log(JSON.stringify(read));
})().catch((error) => { console.error(error.message); process.exit(1); });
"""


def main(lab_binary, tools):
    lab.end_when_told()
    promtool = tools / "prometheus/usr/bin/promtool"
    run([promtool, "check", "rules", PROMETHEUS / "faultline.rules.yml"])
    run([promtool, "test", "rules", PROMETHEUS / "faultline.rules.test.yml"])
    with contextlib.ExitStack() as ends:
        play = lab.play(ends, lab_binary, tools / "lab.log", "--scenario", SCENARIO, "--hold", "60")
        home, metrics = play.said("page"), play.said("metrics")
        incident = wait_for_the_verdict(home)
        read_the_api(home, incident)
        read_the_feeds(home, incident)
        read_as_statuspage(home, tools, incident)
        read_the_rest(home)
        read_the_metrics(metrics, promtool)


def wait_for_the_verdict(home):
    deadline = time.monotonic() + VERDICT_S
    while time.monotonic() < deadline:
        found = ask(home + "api/v1/incidents").json()["incidents"]
        for incident in found:
            if incident["state"] == "attributed" and incident["verdict"] == "azure":
                print(f"verdict: {incident['headline']}")
                return incident
        time.sleep(0.2)
    check(False, f"no verdict within {VERDICT_S} s")


def read_the_api(home, incident):
    description = ask(home + "api/v1/openapi.json").json()
    openapi_spec_validator.validate(description)
    strict = copy.deepcopy(description)
    for schema in strict["components"]["schemas"].values():
        # What is answered and not described is found as well.
        if "properties" in schema:
            schema["additionalProperties"] = False
    ids = {"{id}": incident["incident"]}
    for path, item in description["paths"].items():
        if "get" not in item:
            continue  # handed in, not asked for
        answer = ask(home + re.sub(r"\{\w+\}", lambda part: ids[part.group()], path.removeprefix("/")))
        declared = item["get"]["responses"]["200"]["content"][answer.kind]["schema"]
        fits(answer.json(), declared, strict, path)
        print(f"{path}: {len(answer.body)} bytes fit their schema")
    problem = ask(home + "api/v1/incidents/inc-none", status=404)
    check(problem.kind == "application/problem+json", f"a problem is {problem.kind}")
    fits(problem.json(), {"$ref": "#/components/schemas/Problem"}, strict, "problem")
    # An incident's answer changes with its revisions alone: held against one that is over, it is the same.
    first = ask(home + "api/v1/openapi.json")
    again = ask(home + "api/v1/openapi.json", headers={"If-None-Match": first.tag}, status=304)
    check(first.tag and not again.body, "what is held is sent again")
    page = ask(home + "api/v1/incidents?page_size=1").json()
    seen = [page["incidents"][0]["incident"]]
    while page["next_page_token"]:
        page = ask(home + "api/v1/incidents?page_size=1&page_token=" + page["next_page_token"]).json()
        seen += [incident["incident"] for incident in page["incidents"]]
    check(len(seen) == len(set(seen)) and incident["incident"] in seen, f"pages: {seen}")


def fits(value, schema, description, what):
    whole = {**schema, "components": description["components"]}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    errors = list(jsonschema.Draft202012Validator(whole, format_checker=checker).iter_errors(value))
    check(not errors, f"{what}: {errors[0].json_path}: {errors[0].message[:300]}" if errors else "")


def read_the_feeds(home, incident):
    for path in ["history.atom", "history.rss"]:
        answer = ask(home + path)
        feed = feedparser.parse(answer.body, response_headers={"content-type": answer.full_kind})
        check(not feed.bozo, f"{path}: {feed.get('bozo_exception')}")
        check(feed.version in ("atom10", "rss20") and feed.entries, f"{path}: {feed.version}, {len(feed.entries)} entries")
        ids = [entry.id for entry in feed.entries]
        check(len(ids) == len(set(ids)) and any(id.endswith(incident["incident"]) for id in ids), f"{path}: ids {ids}")
        for entry in feed.entries:
            check(entry.link.startswith(home) and entry.title and entry.get("updated", entry.get("published")), f"{path}: {entry}")
        print(f"{path}: {len(feed.entries)} entries as {feed.version}")
    root = xml.etree.ElementTree.fromstring(ask(home + "history.atom").body)
    for element in [root, *root.iter(ATOM + "entry")]:
        # RFC 4287, 4.1.1 and 4.1.2.
        for needed in ["id", "title", "updated"]:
            check(len(element.findall(ATOM + needed)) == 1, f"{element.tag} has not one {needed}")
        at = element.find(ATOM + "updated").text
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", at), f"updated {at}")
        check(re.fullmatch(r"tag:[a-z0-9.-]+,\d{4}:\S+", element.find(ATOM + "id").text), "an id is no tag URI")


def read_as_statuspage(home, tools, incident):
    program = ["node", "-e", STATUSPAGE, home.rstrip("/")]
    # Nothing else of the environment: no proxy has a say.
    env = {"NODE_PATH": str((tools / "node/node_modules").resolve()), "PATH": os.environ["PATH"]}
    read = json.loads(run(program, env=env))
    summary = read["summary"]
    check(summary["status"] == read["status"]["status"], "summary and status differ")
    check(summary["status"]["indicator"] in ("major", "critical"), f"indicator {summary['status']}")
    check("AWS is failing" not in summary["status"]["description"], "AWS is accused")
    statuses = {"operational", "degraded_performance", "partial_outage", "major_outage"}
    components = {component["id"]: component for component in read["components"]["components"]}
    check(all(component["status"] in statuses for component in components.values()), "an unknown component status")
    check(components["azure.front-door"]["status"] == "major_outage", f"{components['azure.front-door']}")
    check(components["aws"]["status"] in ("operational", "degraded_performance"), f"{components['aws']}")
    for component in components.values():
        of_group = component["group_id"] is None or component["id"] in components[component["group_id"]]["components"]
        check(of_group and component["group"] == (component["group_id"] is None), f"group of {component}")
    found = next(one for one in read["unresolved"]["incidents"] if one["id"] == incident["incident"])
    check(found["status"] in ("identified", "monitoring") and found["impact"] == "critical", f"{found}")
    check(found["shortlink"].startswith(home) and found["incident_updates"], f"{found}")
    updates = [update["created_at"] for update in found["incident_updates"]]
    check(updates == sorted(updates, reverse=True), f"updates are out of order: {updates}")
    check(read["maintenances"]["scheduled_maintenances"] == [], "maintenances")
    print(f"statuspage: {summary['status']['indicator']}, {len(components)} components, {len(read['incidents']['incidents'])} incidents")


def read_the_rest(home):
    for path, says in [("badge/azure.svg", "failing"), ("badge/azure/front-door.svg", "failing"), ("badge/aws.svg", "AWS")]:
        badge = ask(home + path)
        root = xml.etree.ElementTree.fromstring(badge.body)
        check(root.tag.endswith("}svg") and says in root.get("aria-label"), f"{path}: {badge.body}")
        check(badge.kind == "image/svg+xml" and "max-age=30" in badge.cache, f"{path}: {badge.kind}, {badge.cache}")
    ask(home + "badge/gcp.svg", status=404)
    index = ask(home + "proto/").text()
    contracts = re.findall(r'href="([^"]+\.proto)"', index)
    check("faultline/feed/v1/feed_service.proto" in contracts, f"contracts: {contracts}")
    for contract in contracts:
        check('syntax = "proto3";' in ask(home + "proto/" + contract).text(), contract)
    print(f"badges and {len(contracts)} contracts")


def read_the_metrics(metrics, promtool):
    text = ask(metrics).text()
    run([promtool, "check", "metrics"], text)
    named = set(re.findall(r"^([a-z_]+)[{ ]", text, re.MULTILINE))
    check('faultline_incident_open{band="high",verdict="azure"} 1' in text, "the verdict is not in the metrics")
    check(re.search(r'faultline_cell_state\{layer="connect",provider="azure",region="front-door"\} [12]', text), "no failing cell")
    check(re.search(r"^faultline_results_taken_total [1-9]", text, re.MULTILINE), "no result was taken")
    for file in ["faultline.rules.yml", "faultline-dashboard.json"]:
        asked = set(re.findall(r"\b(?:faultline|process)_[a-z_]+", (PROMETHEUS / file).read_text()))
        check(asked <= named, f"{file} asks for what is not there: {asked - named}")
    print(f"metrics: {len(named)} names")


class Answer:
    def __init__(self, answer):
        self.status, self.body = answer.status, answer.read()
        self.full_kind = answer.headers["content-type"] or ""
        self.kind = self.full_kind.split(";")[0]
        self.tag, self.cache = answer.headers["etag"], answer.headers["cache-control"] or ""

    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


def ask(url, headers=None, status=200):
    try:
        with OPENER.open(urllib.request.Request(url, headers=headers or {}), timeout=10) as answer:
            found = Answer(answer)
    except urllib.error.HTTPError as answer:
        found = Answer(answer)
    check(found.status == status, f"{url}: {found.status} for {status}: {found.body[:300]}")
    return found


def run(command, text=None, env=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, env=env)
    check(done.returncode == 0, f"{' '.join(map(str, command))[:200]}: exit {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
    print("formats: all read")
