"""The manifests: what Kubernetes and KEDA take, what our programs take, and that all the names in them meet."""

import os
import re
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml

from conftest import DEPLOY

FOLDER = DEPLOY / "kubernetes"
# The oldest that has what the manifests need (preStop's sleep), and the newest there is a schema of.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
PROGRAMS = {
    "gateway": os.environ.get("DUNLIN_TEST_STATIC_GATEWAY"),
    "autoscaler": os.environ.get("DUNLIN_TEST_AUTOSCALER"),
    "worker": os.environ.get("DUNLIN_TEST_WORKER"),
}


def read(path):
    return list(yaml.safe_load_all(path.read_text()))


KUSTOMIZATION = read(FOLDER / "kustomization.yaml")[0]
OBJECTS = [(name, thing) for name in KUSTOMIZATION["resources"] for thing in read(FOLDER / name)]


def of_kind(kind):
    return {thing["metadata"]["name"]: thing for _, thing in OBJECTS if thing["kind"] == kind}


DEPLOYMENTS = of_kind("Deployment")
SETTINGS = of_kind("ConfigMap")["settings"]["data"]
SCALED = of_kind("ScaledObject")["worker"]["spec"]


def pod(service):
    return DEPLOYMENTS[service]["spec"]["template"]["spec"]


def container(service):
    (only,) = pod(service)["containers"]
    return only


def test_every_file_is_applied():
    assert sorted(KUSTOMIZATION["resources"]) == sorted(
        path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    images = {image["name"] for image in KUSTOMIZATION["images"]}
    assert images == {container(service)["image"] for service in DEPLOYMENTS}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(version):
    own = [(name, thing) for name, thing in OBJECTS if not thing["apiVersion"].startswith("keda.sh/")]
    assert len(own) > 10
    for name, thing in own:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}: {error}")


def test_kubernetes_would_refuse_a_mistake():
    thing = read(FOLDER / "worker.yaml")[0]
    thing["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(thing, VERSIONS[-1], strict=True)


def strict(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
# The fields of KEDA's type ScaledObject (v1alpha1, KEDA 2.22), but for those of its status. https://keda.sh/docs/latest/reference/scaledobject-spec
SCALED_OBJECT = strict(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "ScaledObject"},
    metadata={"type": "object", "required": ["name"]},
    spec=strict(
        ["scaleTargetRef", "triggers"],
        scaleTargetRef=strict(["name"], apiVersion=TEXT, kind=TEXT, name=TEXT, envSourceContainerName=TEXT),
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        initialCooldownPeriod=COUNT,
        idleReplicaCount=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        fallback=strict(["failureThreshold", "replicas"], failureThreshold=COUNT, replicas=COUNT, behavior=TEXT),
        advanced=strict(
            [],
            restoreToOriginalReplicaCount=FLAG,
            # `behavior` is Kubernetes' own type, and is checked as one below.
            horizontalPodAutoscalerConfig=strict([], name=TEXT, behavior={"type": "object"}),
            scalingModifiers={"type": "object"},
        ),
        triggers={
            "type": "array",
            "minItems": 1,
            "items": strict(
                ["type", "metadata"],
                type=TEXT,
                name=TEXT,
                useCachedMetrics=FLAG,
                metricType={"enum": ["AverageValue", "Value", "Utilization"]},
                # KEDA takes texts alone: a number or a bare true is refused.
                metadata={"type": "object", "additionalProperties": TEXT},
                authenticationRef=strict(["name"], name=TEXT, kind=TEXT),
            ),
        },
    ),
)


def test_keda_takes_the_scaled_object():
    jsonschema.validate(of_kind("ScaledObject")["worker"], SCALED_OBJECT)


@pytest.mark.parametrize("mistake", ["spec.cooldown", "spec.triggers.0.address", "spec.triggers.0.metadata.tolerance"])
def test_keda_would_refuse_a_mistake(mistake):
    thing = read(FOLDER / "scaledobject.yaml")[0]
    place = thing
    *path, last = mistake.split(".")
    for part in path:
        place = place[int(part) if part.isdigit() else part]
    place[last] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(thing, SCALED_OBJECT)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_autoscaler_that_keda_makes_of_it(version):
    behaviour = SCALED["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    metric = {"metric": {"name": "s0-desired_workers"}, "target": {"type": "AverageValue", "averageValue": "1"}}
    made = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-worker"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": 1,
            "maxReplicas": SCALED["maxReplicaCount"],
            "metrics": [{"type": "External", "external": metric}],
            "behavior": behaviour,
        },
    }
    kubernetes_validate.validate(made, version, strict=True)
    # Both directions are the autoscaler's to hold back, not the HPA's.
    assert {direction["stabilizationWindowSeconds"] for direction in behaviour.values()} == {0}


def test_scaled_object_scales_the_workers_by_our_autoscaler():
    assert SCALED["scaleTargetRef"] == {"name": "worker"}
    assert "replicas" not in DEPLOYMENTS["worker"]["spec"], "applying it again would undo KEDA's number"
    assert SCALED["maxReplicaCount"] == int(SETTINGS["max-workers"])
    (trigger,) = SCALED["triggers"]
    assert trigger["type"] == "external-push"
    host, port = trigger["metadata"]["scalerAddress"].split(":")
    service, namespace, kind = host.split(".")[:3]
    assert (namespace, kind) == (KUSTOMIZATION["namespace"], "svc")
    assert int(port) in [one["port"] for one in of_kind("Service")[service]["spec"]["ports"]]
    assert 0 <= float(trigger["metadata"]["tolerance"]) < 1


def test_names_meet():
    labels = {name: thing["spec"]["template"]["metadata"]["labels"] for name, thing in DEPLOYMENTS.items()}
    ports = {name: {port["name"] for port in container(name).get("ports", [])} for name in DEPLOYMENTS}
    for name, thing in DEPLOYMENTS.items():
        assert thing["spec"]["selector"]["matchLabels"] == labels[name]
        assert pod(name)["serviceAccountName"] in of_kind("ServiceAccount")
        for variable in container(name)["env"]:
            reference = variable["valueFrom"].get("configMapKeyRef")
            assert reference is None or (reference["name"] == "settings" and reference["key"] in SETTINGS)
    for name, thing in of_kind("Service").items():
        assert thing["spec"]["selector"] == labels[name]
        assert {port["targetPort"] for port in thing["spec"]["ports"]} <= ports[name]
    for name, thing in of_kind("PodDisruptionBudget").items():
        assert thing["spec"]["selector"]["matchLabels"] == labels[name]
    policies = of_kind("NetworkPolicy")
    assert policies.pop("nobody")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    for name, thing in policies.items():
        assert thing["spec"]["podSelector"]["matchLabels"] == labels[name]
        assert {port["port"] for rule in thing["spec"]["ingress"] for port in rule["ports"]} <= ports[name]
    # Whoever has a port has a policy that opens it.
    assert set(policies) == {name for name in DEPLOYMENTS if ports[name]}


@pytest.mark.parametrize("service", DEPLOYMENTS)
def test_pod_may_do_what_it_needs_and_no_more(service):
    assert of_kind("Namespace")["dunlin"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    rules = pod(service)["securityContext"]
    assert rules["runAsNonRoot"] and rules["runAsUser"] == 65532, "the user of the image"
    assert rules["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(service)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(service)["automountServiceAccountToken"] is False
    assert of_kind("ServiceAccount")[service]["automountServiceAccountToken"] is False
    assert {"requests", "limits"} == set(container(service)["resources"])
    assert not of_kind("Role") and not of_kind("ClusterRole")


@pytest.mark.parametrize("service", DEPLOYMENTS)
def test_pod_has_longer_to_end_than_the_program_takes(service):
    flags = dict(re.findall(r"--(\w+)=(\d+)s", " ".join(container(service)["args"])))
    sleep = container(service).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    # The autoscaler has nothing to finish here: the workers are not its own.
    grace = 0 if service == "autoscaler" else int(flags["grace"])
    assert pod(service)["terminationGracePeriodSeconds"] >= sleep + grace + 10


def arguments(service):
    """As Kubernetes puts them together."""
    values = {}
    for variable in container(service)["env"]:
        source = variable["valueFrom"]
        setting = source.get("configMapKeyRef")
        values[variable["name"]] = SETTINGS[setting["key"]] if setting else "192.0.2.7"

    def value(match):
        return values[match[1]]

    return [re.sub(r"\$\((\w+)\)", value, argument) for argument in container(service)["args"]]


@pytest.mark.parametrize("service", DEPLOYMENTS)
def test_program_takes_the_options(service):
    program = PROGRAMS[service]
    if not program:
        pytest.skip(f"no program of {service} is named")
    given = arguments(service)
    assert all("$(" not in argument for argument in given)
    # A program that finds a mistake tells all there are, and starts nothing.
    mistake = "--is-the-only-mistake"
    done = subprocess.run([program, *given, mistake], env={}, capture_output=True, text=True, timeout=60)
    errors = re.findall(r"^error: (.*)$", done.stderr, re.MULTILINE)
    if any(error.startswith("--store: ") for error in errors):
        pytest.skip(f"this {service} is built without AWS")
    assert errors == [f"unexpected argument '{mistake}' found"], done.stderr
