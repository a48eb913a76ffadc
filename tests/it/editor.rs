//! What an editor shows of our files: the schemas in yaml-language-server, the real one, spoken to as editors do.
//!
//! `make test` names the server, which tests/editor/build.sh installs, by `TAGWARDEN_YAML_LS`. The protocol:
//! <https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/>

use std::collections::HashMap;
use std::io::{BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli_support::Scene;

/// For one message; the server begins by loading Node, on a machine that may have much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A language server with a folder to work in.
struct Server {
    scene: Scene,
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    requests: u64,
    /// The setting `yaml.schemas`.
    schemas: Value,
    /// What was last published of a document, by its address.
    diagnostics: HashMap<String, Vec<Value>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a server for a folder as `init` makes it, with the schema of configuration files beside it.
    fn start() -> Self {
        Self::start_with(json!({}))
    }

    /// The same with schemas that the settings name for files.
    fn start_with(schemas: Value) -> Self {
        let program = std::env::var_os("TAGWARDEN_YAML_LS")
            .expect("run 'make test', or set TAGWARDEN_YAML_LS to the path that tests/editor/build.sh prints");
        let scene = Scene::new(&[]);
        assert_eq!(scene.run(&["init"]).code, 0);
        scene.write("policies/config-v1.schema.json", scene.run(&["schema", "config"]).stdout.as_bytes());
        let mut command = Command::new("node");
        command.arg(program).arg("--stdio").current_dir(scene.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("node is on the PATH");
        let (stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut stdout) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut server = Server { scene, child, stdin, messages, requests: 0, schemas, diagnostics: HashMap::new() };
        server.initialize();
        server
    }

    fn initialize(&mut self) {
        let formats = json!(["markdown", "plaintext"]);
        let capabilities = json!({"textDocument": {
            "completion": {"completionItem": {"documentationFormat": formats, "snippetSupport": true}},
            "hover": {"contentFormat": formats},
        }});
        let root = format!("file://{}", self.scene.path().display());
        let answer =
            self.request("initialize", json!({"processId": null, "rootUri": root, "capabilities": capabilities}));
        assert!(answer["capabilities"]["hoverProvider"].as_bool().unwrap(), "{answer}");
        self.notify("initialized", json!({}));
        // It asks for its settings, and reads documents anew after the answer.
        while self.next()["method"] != "workspace/configuration" {}
    }

    fn address(&self, name: &str) -> String {
        format!("file://{}/{name}", self.scene.path().join("policies").display())
    }

    /// Opens a document of a name that was not opened before; `line:column: message` of what is wrong with it.
    fn open(&mut self, name: &str, text: &str) -> Vec<String> {
        let uri = self.address(name);
        let document = json!({"uri": uri, "languageId": "yaml", "version": 1, "text": text});
        self.notify("textDocument/didOpen", json!({"textDocument": document}));
        while !self.diagnostics.contains_key(&uri) {
            self.next();
        }
        let shown = |problem: &Value| {
            let start = &problem["range"]["start"];
            let at = |key: &str| start[key].as_u64().unwrap() + 1;
            format!("{}:{}: {}", at("line"), at("character"), problem["message"].as_str().unwrap())
        };
        self.diagnostics[&uri].iter().map(shown).collect()
    }

    /// What is offered at a place (both counted from 1): label, text to insert, documentation.
    fn complete(&mut self, name: &str, place: (u64, u64)) -> Vec<[String; 3]> {
        let answer = self.at("textDocument/completion", name, place);
        let item = |item: &Value| {
            let text = |value: &Value| value["value"].as_str().or(value.as_str()).unwrap_or_default().to_owned();
            [&item["label"], &item["insertText"], &item["documentation"]].map(text)
        };
        answer["items"].as_array().unwrap().iter().map(item).collect()
    }

    /// What is shown at a place, without the backslashes that keep signs from being markup.
    fn hover(&mut self, name: &str, place: (u64, u64)) -> String {
        let answer = self.at("textDocument/hover", name, place);
        answer["contents"]["value"].as_str().unwrap_or_default().replace('\\', "")
    }

    fn at(&mut self, method: &str, name: &str, (line, column): (u64, u64)) -> Value {
        let position = json!({"line": line - 1, "character": column - 1});
        let document = json!({"uri": self.address(name)});
        self.request(method, json!({"textDocument": document, "position": position}))
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let message = self.next();
            if message["id"] == id && message["method"].is_null() {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        self.stdin.flush().unwrap();
    }

    /// The next message; diagnostics are kept, and what the server asks is answered.
    fn next(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE).expect("the server says something in time");
        let params = &message["params"];
        match message["method"].as_str() {
            Some("textDocument/publishDiagnostics") => {
                let (uri, found) = (params["uri"].as_str().unwrap(), params["diagnostics"].as_array().unwrap());
                self.diagnostics.insert(uri.to_owned(), found.clone());
            }
            Some("workspace/configuration") => {
                // Without the store, which would be asked for a list of schemas over the network.
                let mut yaml =
                    json!({"schemaStore": {"enable": false}, "validate": true, "hover": true, "completion": true});
                yaml["schemas"] = self.schemas.clone();
                let of = |item: &Value| if item["section"] == "yaml" { yaml.clone() } else { json!({}) };
                let answers: Vec<Value> = params["items"].as_array().unwrap().iter().map(of).collect();
                self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": answers}));
            }
            Some(_) if !message["id"].is_null() => {
                self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": null}));
            }
            _ => {}
        }
        message
    }
}

/// One message of the base protocol; none at its end.
fn read(from: &mut impl std::io::BufRead) -> Option<Value> {
    let mut length = None;
    loop {
        let mut header = String::new();
        if from.read_line(&mut header).ok()? == 0 {
            return None;
        }
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length?];
    from.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

/// Asserts what is offered: label, text to insert, and a part of the documentation.
fn offers(offered: &[[String; 3]], expected: &[[&str; 3]]) {
    for [label, insert, says] in expected {
        let item = offered.iter().find(|item| item[0] == *label).unwrap_or_else(|| panic!("{label}: {offered:?}"));
        assert_eq!(item[1], *insert, "{label}");
        assert!(item[2].contains(says), "{label}: {}", item[2]);
    }
}

const POLICY: &str = "# yaml-language-server: $schema=./imagepolicy-v1.schema.json
apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: acme}
spec:
  mode: enforce
  unmatched: deny
  rules:
    - name: first-party
      images: [\"registry.example.com/acme/**\"]
      pin: pods
";

#[test]
fn a_policy_is_completed_explained_and_checked_as_it_is_written() {
    let mut server = Server::start();
    let written = std::fs::read_to_string(server.scene.path().join("policies/policy.yaml")).unwrap();
    assert_eq!(server.open("policy.yaml", &written), [] as [&str; 0], "what `init` wrote is clean");
    assert_eq!(server.open("clean.yaml", POLICY), [] as [&str; 0]);

    // Within a rule, on a line that has not begun.
    let rule = POLICY.split("      images").next().unwrap().to_owned() + "      \n";
    server.open("rule.yaml", &rule);
    offers(
        &server.complete("rule.yaml", (10, 7)),
        &[
            ["images", "images:\n  - ${1}", "Globs over registry host and repository"],
            ["tags", "tags:\n  - ${1}", "Tag classes and patterns over the whole tag"],
            ["pin", "pin: ", "Whether Pods are pinned to digests: none (default), pods, required."],
            ["channel", "channel:\n  ", "What a channel tag must carry."],
        ],
    );
    let modes = [
        ["audit", "audit", "Allowed, and recorded in log, metrics and audit annotations."],
        ["warn", "warn", "Allowed, with a warning to whoever asked."],
        ["enforce", "enforce", "Denied."],
    ];
    server.open("mode.yaml", &POLICY.replace("enforce", ""));
    let offered = server.complete("mode.yaml", (6, 9));
    offers(&offered, &modes);
    assert_eq!(offered.len(), modes.len(), "{offered:?}");

    let unmatched = server.hover("clean.yaml", (7, 5));
    assert!(unmatched.contains("What becomes of an image that no rule names"), "{unmatched}");
    assert!(unmatched.contains("`deny`: Refused"), "and what its words mean: {unmatched}");
    assert!(unmatched.starts_with("#### ImagePolicy\n"), "{unmatched}");
    let pin = server.hover("clean.yaml", (11, 8));
    assert!(pin.contains("Whether Pods are pinned to digests"), "{pin}");

    for (name, from, to, expected) in [
        ("typo.yaml", "      pin", "      relase: x\n      pin", "11:7: Property relase is not allowed."),
        (
            "word.yaml",
            "mode: enforce",
            "mode: enforc",
            "6:9: Value is not accepted. Valid values: \"audit\", \"warn\", \"enforce\".",
        ),
        (
            "kind.yaml",
            "kind: ImagePolicy",
            "kind: ImagePolicies",
            "3:7: Value is not accepted. Valid values: \"ImagePolicy\".",
        ),
        ("type.yaml", "[\"registry.example.com/acme/**\"]", "7", "10:15: Incorrect type. Expected \"array\"."),
        ("missing.yaml", "  mode: enforce\n", "", "5:1: Missing property \"mode\"."),
    ] {
        assert_eq!(server.open(name, &POLICY.replacen(from, to, 1)), [expected], "{name}");
    }
}

const TEST: &str = "# yaml-language-server: $schema=./imagepolicytest-v1.schema.json
apiVersion: tagwarden.dev/v1
kind: ImagePolicyTest
policies: [policy.yaml]
now: 2026-01-01T00:00:00Z
cases:
  - image: registry.example.com/acme/api:v1.4.2
    expect: allow
";

#[test]
fn a_file_of_tests_is_completed_explained_and_checked() {
    let mut server = Server::start();
    let written = std::fs::read_to_string(server.scene.path().join("policies/policy.test.yaml")).unwrap();
    assert_eq!(server.open("policy.test.yaml", &written), [] as [&str; 0], "what `init` wrote is clean");
    assert_eq!(server.open("clean.test.yaml", TEST), [] as [&str; 0]);

    server.open("case.test.yaml", &format!("{TEST}    \n"));
    offers(
        &server.complete("case.test.yaml", (9, 5)),
        &[
            ["ids", "ids:\n  - ${1}", "The ids of its findings: exactly these."],
            ["namespace", "namespace: ", "The namespace of the image"],
            ["pinned", "pinned: ", "The image as admission writes it into the Pod"],
        ],
    );
    server.open("word.test.yaml", &TEST.replace("allow", ""));
    offers(
        &server.complete("word.test.yaml", (8, 13)),
        &[["allow", "allow", "Nothing is wrong."], ["deny", "deny", "Something is wrong that is not let in."]],
    );
    let expect = server.hover("clean.test.yaml", (8, 6));
    assert!(expect.contains("What must become of it.") && expect.starts_with("#### ImagePolicyTest\n"), "{expect}");
    for (name, from, to, expected) in [
        ("a.test.yaml", "    expect", "    exepct: x\n    expect", "8:5: Property exepct is not allowed."),
        (
            "b.test.yaml",
            "allow",
            "alow",
            "8:13: Value is not accepted. Valid values: \"allow\", \"audit\", \"warn\", \"deny\", \"unresolved\".",
        ),
    ] {
        assert_eq!(server.open(name, &TEST.replacen(from, to, 1)), [expected], "{name}");
    }
}

const CONFIG: &str = "# yaml-language-server: $schema=./config-v1.schema.json
policies:
  dirs: [policies]
log:
  level: info
";

#[test]
fn the_servers_configuration_is_completed_explained_and_checked() {
    let mut server = Server::start();
    assert_eq!(server.open("config.yaml", CONFIG), [] as [&str; 0]);
    server.open("top.yaml", &format!("{CONFIG}\n"));
    offers(
        &server.complete("top.yaml", (6, 1)),
        &[
            ["registries", "registries:\n  - host: ", "What is to be known of registries"],
            ["limits", "limits:\n  ", "Bounds of one request and of all."],
        ],
    );
    server.open("level.yaml", &CONFIG.replace("info", ""));
    offers(
        &server.complete("level.yaml", (5, 10)),
        &[["error", "error", "Failures of our own."], ["debug", "debug", "And connections."]],
    );
    let level = server.hover("config.yaml", (5, 4));
    assert!(level.contains("`warn`: And what needs attention"), "{level}");
    for (name, from, to, expected) in [
        ("a.yaml", "policies:\n", "polices: {}\npolicies:\n", "2:1: Property polices is not allowed."),
        (
            "b.yaml",
            "info",
            "loud",
            "5:10: Value is not accepted. Valid values: \"error\", \"warn\", \"info\", \"debug\", \"trace\".",
        ),
    ] {
        assert_eq!(server.open(name, &CONFIG.replacen(from, to, 1)), [expected], "{name}");
    }
}

#[test]
fn each_document_of_a_file_names_its_schema() {
    let mut server = Server::start();
    let wrong = POLICY.replace("enforce", "enforc");
    let again = wrong.replace("# yaml-language-server: $schema=./imagepolicy-v1.schema.json\n", "");
    let said = "Value is not accepted. Valid values: \"audit\", \"warn\", \"enforce\".";
    assert_eq!(
        server.open("named.yaml", &format!("{wrong}---\n{wrong}")),
        [format!("6:9: {said}"), format!("18:9: {said}")]
    );
    assert_eq!(server.open("unnamed.yaml", &format!("{wrong}---\n{again}")), [format!("6:9: {said}")]);
}

/// The settings that docs/editor.md shows.
#[test]
fn settings_name_the_schemas_of_files_that_do_not() {
    let documented = include_str!("../../docs/editor.md");
    let settings = documented.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let settings: Value = serde_json::from_str(settings).unwrap();
    let mut server = Server::start_with(settings["yaml.schemas"].clone());
    let without = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!(server.open("a.yaml", &without(POLICY)), [] as [&str; 0]);
    assert_eq!(server.open("a.test.yaml", &without(TEST)), [] as [&str; 0]);
    let policy = server.open("b.yaml", &without(POLICY).replace("  unmatched", "  unmatchd"));
    assert_eq!(policy, ["6:3: Property unmatchd is not allowed."]);
    let test = server.open("b.test.yaml", &without(TEST).replace("now:", "nwo: x\nnow:"));
    assert_eq!(test, ["4:1: Property nwo is not allowed."]);
}
