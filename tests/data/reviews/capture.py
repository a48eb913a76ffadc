#!/usr/bin/env python3
"""Takes pod-2k.json and pod-64k.json from a real API server: KUBEBUILDER_ASSETS=$(tests/cluster/assets/build.sh) capture.py

etcd, kube-apiserver and kube-controller-manager run on loopback, with no admission plugin but the default ones, and a
validating webhook that allows everything and keeps the body of each call.
"""

import base64, http.server, json, os, pathlib, socket, ssl, subprocess, sys, tempfile, threading, time, urllib.request

here = pathlib.Path(__file__).parent
assets = pathlib.Path(os.environ["KUBEBUILDER_ASSETS"])
work = pathlib.Path(tempfile.mkdtemp(prefix="tagwarden-capture-"))
bodies = []


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def certificate(name, subject, extensions=None):
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    sign = ["-x509", "-subj", subject, "-days", "2"]
    if extensions:
        sign += ["-CA", work / "ca.crt", "-CAkey", work / "ca.key"]
        for extension in extensions:
            sign += ["-addext", extension]
    command = ["openssl", "req", *ec, "-keyout", work / f"{name}.key", "-out", work / f"{name}.crt", *sign]
    subprocess.run(command, check=True, capture_output=True)


class Webhook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        bodies.append(body)
        uid = json.loads(body)["request"]["uid"]
        answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": True}}
        answer = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def container(name, image, variables):
    """As those of pod-8k.json are, with as many variables as a service of many settings has."""
    probe = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 2}
    return {
        "name": name,
        "image": image,
        "args": ["--listen=:8080", "--log-format=json"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [
            {"name": f"SETTING_NUMBER_{n:03}", "value": f"the value of setting {n:03} of {name}"} for n in range(variables)
        ],
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/shop"}],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def large():
    images = {"api": "acme/api:v1.4.2", "proxy": "acme/proxy:v2.0.1", "metrics": "acme/metrics:3f9c2d1"}
    containers = [container(name, f"registry.example.com/{image}", 129) for name, image in images.items()]
    labels = {"app": "checkout", "team": "shop"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "checkout", "namespace": "shop-prod"},
        "spec": {
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": containers, "volumes": [{"name": "config", "configMap": {"name": "checkout"}}]},
            },
        },
    }


def small():
    """A Pod of nothing but what is required; without the token's volume."""
    spec = {"containers": [{"name": "a", "image": "registry.example.com/acme/api:v1.4.2"}], "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "shop-prod"}, "spec": spec}


def call(path, body=None):
    context = ssl.create_default_context(cafile=work / "ca.crt")
    context.load_cert_chain(work / "admin.crt", work / "admin.key")
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "user-agent": "c"}
    request = urllib.request.Request(f"https://127.0.0.1:{api}{path}", data=data, headers=headers)
    return urllib.request.urlopen(request, context=context, timeout=10).read()


def until(what, condition):
    for _ in range(300):
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"not in a minute: {what}; see {work}")


def keep(name, wanted):
    body = until(name, lambda: next((body for body in bodies if wanted(json.loads(body)["request"])), None))
    (here / name).write_bytes(body)
    print(name, len(body), "bytes")


certificate("ca", "/CN=ca")
certificate("server", "/CN=server", ["subjectAltName=IP:127.0.0.1"])
certificate("admin", "/O=system:masters/CN=a", ["extendedKeyUsage=clientAuth"])
subprocess.run(f"openssl genrsa -out {work}/sa.key 2048 && openssl rsa -in {work}/sa.key -pubout -out {work}/sa.pub", shell=True, check=True, capture_output=True)

webhook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(work / "server.crt", work / "server.key")
webhook.socket = context.wrap_socket(webhook.socket, server_side=True)
threading.Thread(target=webhook.serve_forever, daemon=True).start()

etcd, peer, api = free_port(), free_port(), free_port()
(work / "cm.kubeconfig").write_text(json.dumps({
    "apiVersion": "v1", "kind": "Config", "current-context": "c",
    "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{api}", "certificate-authority": str(work / "ca.crt")}}],
    "users": [{"name": "u", "user": {"client-certificate": str(work / "admin.crt"), "client-key": str(work / "admin.key")}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
}))
commands = [
    ["etcd", "--data-dir", work / "etcd", f"--listen-client-urls=http://127.0.0.1:{etcd}", f"--advertise-client-urls=http://127.0.0.1:{etcd}", f"--listen-peer-urls=http://127.0.0.1:{peer}"],
    [assets / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", f"--secure-port={api}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC", f"--client-ca-file={work}/ca.crt", f"--tls-cert-file={work}/server.crt", f"--tls-private-key-file={work}/server.key", "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={work}/sa.pub", f"--service-account-signing-key-file={work}/sa.key", "--endpoint-reconciler-type=none"],
    [assets / "kube-controller-manager", f"--kubeconfig={work}/cm.kubeconfig", f"--service-account-private-key-file={work}/sa.key", f"--root-ca-file={work}/ca.crt", "--use-service-account-credentials=true", "--bind-address=127.0.0.1", f"--secure-port={free_port()}"],
]
running = []
try:
    for number, command in enumerate(commands):
        log = open(work / f"{number}.log", "w")
        running.append(subprocess.Popen(command, stdout=log, stderr=log))
        if number == 1:
            until("the API server to be ready", lambda: call("/readyz"))
    call("/api/v1/namespaces", {"metadata": {"name": "shop-prod"}})
    until("the service account", lambda: call("/api/v1/namespaces/shop-prod/serviceaccounts/default"))
    authority = base64.b64encode((work / "ca.crt").read_bytes()).decode()
    call("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", {
        "metadata": {"name": "capture"},
        "webhooks": [{
            "name": "capture.tagwarden.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": f"https://127.0.0.1:{webhook.server_port}/validate", "caBundle": authority},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
        }],
    })
    dry = {**small(), "metadata": {"name": "probe", "namespace": "shop-prod"}}
    until("the first call", lambda: call("/api/v1/namespaces/shop-prod/pods?dryRun=All", dry) and bodies)
    call("/api/v1/namespaces/shop-prod/pods", small())
    keep("pod-2k.json", lambda request: request["name"] == "a")
    call("/apis/apps/v1/namespaces/shop-prod/deployments", large())
    keep("pod-64k.json", lambda request: request["name"].startswith("checkout-"))
finally:
    for process in reversed(running):
        process.terminate()
        process.wait()
