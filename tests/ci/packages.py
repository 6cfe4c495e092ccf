"""Checks the infrastructure's files of deploy/ with libraries that others wrote, without a cloud: what a tool cannot see here is
printed as not run. Each check can fail: a chart is rendered with what it uses of Helm's language and nothing else, so that a
template with more of it is refused and not guessed.

Usage: packages.py DEPLOY ROOT-WITH-CLOUD-INIT ROOT-WITH-UNPACKED-PACKAGES
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hcl2
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

YAMLLINT = "{extends: default, rules: {line-length: {max: 170}, braces: {max-spaces-inside: 1}, document-start: disable, comments: {require-starting-space: false}}}"
MODULE_FILES = ["main.tf", "outputs.tf", "variables.tf", "versions.tf"]
PASSED = 0


def passed(claim):
    global PASSED
    PASSED += 1
    print(f"ok {PASSED}: {claim}")


def fail(why):
    sys.exit(f"FAILED: {why}")


def run(command, what):
    """Runs a command; its output is the reason if it fails."""
    settings = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, env=settings)
    if done.returncode != 0:
        fail(f"{what}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def yaml_is_clean(deploy):
    files = [path for end in ("yaml", "yml") for path in sorted(deploy.rglob(f"*.{end}")) if path.parent.name != "templates"]
    if len(files) < 10:
        fail(f"{len(files)} YAML files")
    run([sys.executable, "-m", "yamllint", "--strict", "-d", YAMLLINT, *map(str, files)], "yamllint")
    passed(f"yamllint has nothing to say about {len(files)} files")


def cloud_init(deploy, root):
    """Asks cloud-init itself, in its root, what it makes of each user data; the Terraform template with values in it too."""
    template = (deploy / "terraform/modules/bootstrap/user-data.yaml.tftpl").read_text()
    values = {
        "repository": "https://packages.example.org/debian",
        "jsonencode(repository_key)": json.dumps("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nx\n-----END PGP PUBLIC KEY BLOCK-----\n"),
        'jsonencode("${token_command} | faultline-agent join ${coordinator}")': json.dumps(
            'ask --name "join token" | faultline-agent join probe.example.org:7443'
        ),
    }
    for expression, value in values.items():
        if "${" + expression + "}" not in template:
            fail(f"user-data.yaml.tftpl no longer says {expression}")
        template = template.replace("${" + expression + "}", value)
    if "${" in template:
        fail(f"user-data.yaml.tftpl has a value that is not filled in here: {template}")
    data = {path.name: path.read_text() for path in sorted((deploy / "cloud-init").glob("*.yaml"))}
    data["bootstrap"] = template
    for name, text in data.items():
        if re.search(r"flj1\.", text):
            fail(f"{name}: a token in user data")
        place = root / "tmp/user-data"
        place.write_text(text)
        said = run(["chroot", str(root), "cloud-init", "schema", "--config-file", "/tmp/user-data"], f"cloud-init schema of {name}")
        if "Valid cloud-config" not in said:
            fail(f"cloud-init schema of {name}: {said}")
    broken = root / "tmp/user-data"
    broken.write_text("#cloud-config\nruncmd: 3\n")
    done = subprocess.run(["chroot", str(root), "cloud-init", "schema", "--config-file", "/tmp/user-data"], capture_output=True, timeout=50)
    if done.returncode == 0:
        fail("cloud-init calls everything valid")
    passed(f"cloud-init takes {', '.join(data)}; no secret is in them")


def name(label):
    """A label as the parser gives it, without the quotes of newer versions."""
    return label.strip('"')


def terraform(deploy):
    modules = sorted((deploy / "terraform/modules").iterdir())
    for module in modules:
        if sorted(path.name for path in module.glob("*.tf")) != MODULE_FILES:
            fail(f"{module}: not {MODULE_FILES}")
        parsed = {path.name: hcl2.loads(path.read_text()) for path in module.glob("*.tf")}
        text = "".join(path.read_text() for path in module.glob("*.tf"))
        declared = set()
        for block in parsed["variables.tf"]["variable"]:
            for label, body in block.items():
                if label.startswith("__"):
                    continue
                declared.add(name(label))
                if "description" not in body or "type" not in body:
                    fail(f"{module}: variable {label} lacks a description or a type")
        for block in parsed["outputs.tf"]["output"]:
            for label, body in block.items():
                if not label.startswith("__") and "description" not in body:
                    fail(f"{module}: output {label} lacks a description")
        body = re.sub(r"#.*", "", text)
        used = set(re.findall(r"\bvar\.([a-z_]+)", body))
        if used != declared:
            fail(f"{module}: declared and not used {declared - used}, used and not declared {used - declared}")
        resources = {(name(kind), name(label)) for block in parsed["main.tf"].get("resource", [])
                     for kind, named in block.items() if not kind.startswith("__") for label in named if not label.startswith("__")}
        for kind, label in re.findall(r"\b((?:aws|azurerm|hcloud)_[a-z_]+)\.([a-z_0-9]+)", body):
            if (kind, label) not in resources:
                fail(f"{module}: no resource {kind}.{label}")
        providers = {kind.split("_")[0] for kind, _ in resources}
        required = set(re.findall(r"^    ([a-z]+) = \{", (module / "versions.tf").read_text(), re.M))
        if providers != required:
            fail(f"{module}: uses providers {providers}, requires {required}")
        for wrong in ("\t", " \n"):
            if wrong in text:
                fail(f"{module}: a tab, or a space at the end of a line")
    passed(f"{', '.join(path.name for path in modules)}: HCL parses; variables, resources and providers are those that are used")
    if not shutil.which("terraform"):
        print("not run: terraform fmt, validate and test (terraform is not installed)")
        return
    run(["terraform", "fmt", "-check", "-recursive", str(deploy / "terraform")], "terraform fmt")
    with tempfile.TemporaryDirectory() as work:
        module = Path(work) / "bootstrap"
        shutil.copytree(deploy / "terraform/modules/bootstrap", module)
        for step in (["init", "-backend=false", "-input=false"], ["validate"], ["test"]):
            said = run(["terraform", f"-chdir={module}", step[0], "-no-color", *step[1:]], f"terraform {step[0]} of bootstrap")
    if not re.search(r"^Success! [1-9][0-9]* passed, 0 failed", said, re.M):
        fail(f"terraform test of bootstrap: {said}")
    passed("terraform has nothing to format; bootstrap is valid, and its plans are what its tests say")
    print("not run: terraform validate and plan of agent-* (their providers are not to be had here; plans need accounts)")


def rendered(template, release, values, used):
    """What Helm makes of a template that prints values and asks for one: every other action is refused."""
    lines, open_ifs = [], []

    def look_up(expression):
        if expression == ".Release.Name":
            return release
        found = values
        for key in expression.removeprefix(".Values.").split("."):
            if not isinstance(found, dict) or key not in found:
                fail(f"{expression} is not in values.yaml")
            found = found[key]
        used.add(expression)
        return found

    def printed(match):
        action = re.fullmatch(r"(\.Release\.Name|\.Values(?:\.\w+)+)( \| quote)?", match[1])
        if not action:
            fail(f"not known here: {match[0]}")
        value = look_up(action[1])
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return json.dumps(text) if action[2] else text

    for line in template.splitlines():
        if begins := re.fullmatch(r"\s*\{\{- if (\.Values(?:\.\w+)+) \}\}", line):
            open_ifs.append(bool(look_up(begins[1])))
        elif re.fullmatch(r"\s*\{\{- end \}\}", line):
            open_ifs.pop()
        elif all(open_ifs):
            lines.append(re.sub(r"\{\{ (.*?) \}\}", printed, line))
    if open_ifs:
        fail("an if without an end")
    return "\n".join(lines)


def paths(values, above=".Values"):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from paths(value, f"{above}.{key}")
        else:
            yield f"{above}.{key}"


def chart(deploy):
    folder = deploy / "helm/faultline-agent"
    meta = yaml.safe_load((folder / "Chart.yaml").read_text())
    if meta["name"] != folder.name or meta["apiVersion"] != "v2":
        fail(f"Chart.yaml: {meta}")
    values = yaml.safe_load((folder / "values.yaml").read_text())
    used = set()
    for host_network in (True, False):
        values["hostNetwork"] = host_network
        values["join"]["coordinator"] = "probe.example.org:7443" if host_network else ""
        text = rendered((folder / "templates/statefulset.yaml").read_text(), "fra", values, used)
        made = yaml.safe_load(text)
        pod = made["spec"]["template"]
        spec = pod["spec"]
        [container] = spec["containers"]
        holds = {
            "one replica": made["kind"] == "StatefulSet" and made["spec"]["replicas"] == 1,
            "its own pods": made["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(),
            "no token of the cluster": spec["automountServiceAccountToken"] is False,
            "the node's network": spec["hostNetwork"] is host_network and ("dnsPolicy" in spec) is host_network,
            "the image's user": spec["securityContext"]["runAsUser"] == 65532 and spec["securityContext"]["runAsNonRoot"] is True,
            "no capability": container["securityContext"]["capabilities"]["drop"] == ["ALL"],
            "a root that is only read": container["securityContext"]["readOnlyRootFilesystem"] is True,
            "volumes that there are": {mount["name"] for mount in container["volumeMounts"]}
            == {volume["name"] for volume in spec["volumes"]} | {claim["metadata"]["name"] for claim in made["spec"]["volumeClaimTemplates"]},
            "a join string in a file, where it shall join": (container.get("env"), "join" in {volume["name"] for volume in spec["volumes"]})
            == (([{"name": "FAULTLINE_JOIN", "value": "probe.example.org:7443"}], True) if host_network else (None, False)),
            "a claim": len(made["spec"]["volumeClaimTemplates"]) == 1,
        }
        for what, is_so in holds.items():
            if not is_so:
                fail(f"chart, hostNetwork {host_network}: not {what}: {text}")
    idle = set(paths(values)) - used
    if idle:
        fail(f"values that nothing uses: {idle}")
    passed("the chart is one agent that is locked in, with or without the node's network; every value is used")
    print("not run: helm lint and install (helm is not to be had here)")


def compose(deploy):
    made = yaml.safe_load((deploy / "compose/compose.yaml").read_text())
    known = {"image", "network_mode", "read_only", "cap_drop", "security_opt", "restart", "mem_limit", "tmpfs", "volumes", "environment", "secrets"}
    for service, body in made["services"].items():
        dockerfile = (deploy / f"container/Dockerfile.{service}").read_text()
        inside = set(json.loads(re.search(r"^VOLUME (.*)$", dockerfile, re.M)[1]))
        program = re.search(r"^COPY (\S+) ", dockerfile, re.M)[1]
        mounted = {volume.split(":")[1] for volume in body["volumes"]}
        if body.keys() - known:
            fail(f"{service}: options that nobody looked at: {body.keys() - known}")
        if body["image"] != program or not inside <= mounted:
            fail(f"{service}: image {body['image']} for {program}, mounts {mounted} for {inside}")
        if not set(body.get("secrets", [])) <= made.get("secrets", {}).keys():
            fail(f"{service}: secrets that are not declared")
        if body["read_only"] is not True or body["cap_drop"] != ["ALL"]:
            fail(f"{service}: not locked in")
        named = {volume.split(":")[0] for volume in body["volumes"] if not volume.startswith("./")}
        if not named <= made["volumes"].keys():
            fail(f"{service}: volumes that are not declared: {named}")
    passed("the compose file runs the two images, locked in, with their volumes outside")
    print("not run: docker compose config and up (no docker daemon here)")


def bills_of_materials(root):
    """Each package tells of every crate in its program what Cargo knows. A few more are told: Cargo's metadata also name crates of
    features that are off."""
    for package, crate in (("faultline", "faultline-coordinator"), ("faultline-agent", "faultline-agent")):
        text = (root / f"usr/share/doc/{package}/{package}.cdx.json").read_text()
        if wrong := JsonStrictValidator(SchemaVersion.V1_5).validate_str(text):
            fail(f"{package}.cdx.json: {wrong}")
        if os.getcwd() in text:
            fail(f"{package}.cdx.json tells where it was built")
        bill = json.loads(text)
        parts = [bill["metadata"]["component"], *bill["components"]]
        for part in parts:
            if not part.get("licenses") or not all(licence.get("expression") for licence in part["licenses"]):
                fail(f"{package}.cdx.json: no licence of {part['name']}")
            if part["bom-ref"].startswith("registry+") and not part.get("hashes"):
                fail(f"{package}.cdx.json: no hash of {part['name']}")
        told = {(part["name"], part["version"]) for part in bill["components"]}
        tree = run(["cargo", "tree", "--locked", "--package", crate, "--edges", "normal", "--prefix", "none", "--format", "{p}"], "cargo tree")
        linked = {(line.split()[0], line.split()[1].removeprefix("v")) for line in tree.splitlines()} - {(crate, parts[0]["version"])}
        if parts[0]["name"] != package or linked - told or not 100 < len(linked) <= len(told) < 1.2 * len(linked):
            fail(f"{package}.cdx.json is of {parts[0]['name']}; too much {told - linked}, too little {linked - told}")
        passed(f"{package}.cdx.json names all {len(linked)} crates of the program and {len(told - linked)} more, with version, hash and licence")


def main():
    deploy, root, unpacked = map(Path, sys.argv[1:])
    bills_of_materials(unpacked)
    yaml_is_clean(deploy)
    cloud_init(deploy, root)
    terraform(deploy)
    chart(deploy)
    compose(deploy)
    print(f"packages.py: {PASSED} passed, 0 failed")


main()
