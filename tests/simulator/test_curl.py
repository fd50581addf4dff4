"""curl in a pod: what it says of what the network does, in the words and with the exit codes of the real one."""

import pytest
from kubernetes import client

IMAGE = "curlimages/curl:8.10.1"
CA = "/trusted/ca.crt"
OUT = "%{stderr}%{http_code} %{exitcode} %{errormsg}\\n"
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": "kubesphere-v1"}
BALANCED = {"role": "host", "load_balancer": "139.198.110.23"}
NO_ISSUER = "SSL certificate problem: unable to get local issuer certificate"
SUBJECT = "SSL: no alternative certificate subject name matches target"


@pytest.fixture
def curl(connect, wait_for):
    """Run curl in a pod of a cluster and return its exit code and its log."""

    def run(cluster, *words, authority="", image=IMAGE):
        pod = {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "curl",
                    "image": image,
                    "command": ["curl", *words],
                    "volumeMounts": [{"name": "trusted", "mountPath": "/trusted"}],
                }
            ],
            "volumes": [
                {
                    "name": "trusted",
                    "downwardAPI": {
                        "items": [
                            {"path": "ca.crt", "fieldRef": {"fieldPath": "metadata.annotations['example.com/ca']"}}
                        ]
                    },
                }
            ],
        }
        template = {"metadata": {"annotations": {"example.com/ca": authority}}, "spec": pod}
        cluster.put("jobs", {"metadata": {"name": "c"}, "spec": {"backoffLimit": 0, "template": template}}, "default")
        (ended,) = wait_for(
            lambda: [
                pod for pod in cluster.objects("pods", "default") if pod["status"]["phase"] in ("Succeeded", "Failed")
            ]
        )
        api = client.CoreV1Api(connect(cluster, "admin"))
        # Without this the client returns the representation of bytes.
        log = api.read_namespaced_pod_log(ended["metadata"]["name"], "default", _preload_content=False).data.decode()
        state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
        return state["exitCode"], log

    return run


def authority_of(cluster):
    return cluster.object("configmaps", "kube-root-ca.crt", "kube-system")["data"]["ca.crt"]


def test_a_member_is_reached_with_its_own_authority(simulate, curl):
    clusters = simulate(members=[{"name": "m1"}]).clusters
    url = f"{clusters['m1'].pod_server}/version"
    words = ("--silent", "--cacert", CA, "--write-out", OUT, "--output", "/dev/null", url)
    code, log = curl(clusters["host"], *words, authority=authority_of(clusters["m1"]))
    assert (code, log) == (0, "200 0 \n")


@pytest.mark.parametrize(
    ("authority", "url", "says"),
    [
        ("host", "https://10.20.1.1:6443/", f"60 {NO_ISSUER}"),
        ("", "https://10.20.1.1:6443/", f"77 error setting certificate file: {CA}"),
        ("m2", "https://10.20.2.1:6443/", "7 Failed to connect to 10.20.2.1 port 6443 after "),
        ("m1", "https://no.such.example/", "6 Could not resolve host: no.such.example"),
        ("m1", "https://10.20.0.1:30001/", "7 Failed to connect to 10.20.0.1 port 30001 after "),
        ("m1", "https://10.250.1.1/", "7 Failed to connect to 10.250.1.1 port 443 after "),
    ],
    ids=["unknown authority", "no authority", "refused", "no name", "nothing there", "no route"],
)
def test_curl_says_why_nothing_is_reached(simulate, curl, authority, url, says):
    clusters = simulate(members=[{"name": "m1"}, {"name": "m2", "reachable": False}]).clusters
    trusted = authority_of(clusters[authority]) if authority else ""
    code, log = curl(clusters["host"], "-s", "--cacert", CA, "-w", OUT, url, authority=trusted)
    assert code == int(says.partition(" ")[0])
    assert log.startswith(f"000 {says}")


def test_a_certificate_of_another_name_is_refused_unless_nobody_looks(simulate, curl):
    clusters = simulate(members=[{"name": "m1"}]).clusters
    to = ("--connect-to", "api.example.com:6443:10.20.1.1:6443", "https://api.example.com:6443/version")
    code, log = curl(clusters["host"], "-s", "--cacert", CA, "-w", OUT, *to, authority=authority_of(clusters["m1"]))
    assert (code, log) == (60, f"000 60 {SUBJECT} host name 'api.example.com'\n")
    code, log = curl(clusters["m1"], "-s", "--insecure", "-w", OUT, "-o", "/dev/null", *to)
    assert (code, log) == (0, "200 0 \n")


def test_one_who_is_cut_off_waits_as_long_as_he_says(simulate, curl):
    clusters = simulate(host=BALANCED, members=[{"name": "m1", "reaches_tower": False}]).clusters
    words = ("--silent", "--show-error", "--connect-timeout", "0.2", "http://139.198.110.23:8080/health")
    code, log = curl(clusters["m1"], *words)
    assert code == 28
    assert log.startswith("curl: (28) Connection timed out after 2")


def test_tower_is_well_and_upgrades_who_speaks_its_protocol(simulate, curl):
    clusters = simulate(host=BALANCED, members=[{"name": "m1"}]).clusters
    upgrade = [word for key, value in UPGRADE.items() for word in ("--header", f"{key}: {value}")]
    address = "http://139.198.110.23:8080"
    words = ["-s", "-m", "0.3", "-o", "/dev/null", "-w", OUT, *upgrade, address]
    code, log = curl(clusters["m1"], *words, "--next", "-s", "-w", OUT, f"{address}/health")
    upgraded, healthy, body = log.splitlines()
    assert upgraded.startswith("101 28 Operation timed out after 3")
    assert upgraded.endswith(" milliseconds with 12 bytes received")
    assert (code, healthy, body) == (0, "200 0 ", "OK")


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        (["https://139.198.110.23:8080/"], 35, "curl: (35) TLS connect error: error:0A00010B:"),
        (["--fail", "http://139.198.110.23:8080/"], 22, "curl: (22) The requested URL returned error: 404"),
        (["http://10.20.0.1:6443/"], 0, "Client sent an HTTP request to an HTTPS server."),
        (["--ftp", "x"], 2, "curl: option --ftp: is unknown"),
        (["--include", "http://139.198.110.23:8080/health"], 0, "HTTP/1.1 200 OK\ncontent-length: 3"),
    ],
    ids=["https to http", "--fail", "http to https", "no option", "--include"],
)
def test_curl_says_what_answers(simulate, curl, words, exit_code, says):
    clusters = simulate(host=BALANCED, members=[{"name": "m1"}]).clusters
    code, log = curl(clusters["host"], *words)
    assert (code, log[: len(says)]) == (exit_code, says)
