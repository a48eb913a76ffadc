//! `check` and `explain` with a real registry on loopback: what is asked, how often, and as whom.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tagwarden::cli::{ExampleImage, ExampleRegistry};
use tokio::runtime::Runtime;

use crate::cli_support::{Ran, Scene};

/// A registry that stands for `r.example.com`, with threads of its own.
pub struct Loopback {
    pub registry: ExampleRegistry,
    pub runtime: Runtime,
}

impl Loopback {
    /// With `acme/api` (v1.0.0, and a channel that carries it), and `acme/web`, whose channel carries no release.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let registry = runtime.block_on(ExampleRegistry::start(i64::try_from(now).unwrap())).unwrap();
        let loopback = Loopback { registry, runtime };
        loopback.push("acme/api", &["v1.0.0", "env-prod"], "1.0.0");
        loopback.push("acme/web", &["v1.0.0"], "1.0.0");
        loopback.push("acme/web", &["env-prod"], "unreleased");
        loopback
    }

    /// Pushes an image over two platforms; its digest.
    pub fn push(&self, repository: &str, tags: &[&str], version: &str) -> String {
        let labels = [("org.opencontainers.image.version", version)];
        let image = ExampleImage { platforms: &["linux/amd64", "linux/arm64"], labels: &labels };
        let digest = self.registry.push(repository, &image).unwrap();
        tags.iter().for_each(|tag| self.registry.tag(repository, tag, &digest));
        digest.to_string()
    }

    /// Takes it down: connections are refused.
    pub fn go_down(&mut self) {
        self.runtime.block_on(self.registry.go_down());
    }

    /// Writes a configuration that knows it, with further lines of its entry.
    pub fn configure(&self, scene: &Scene, further: &[&str]) {
        scene.write("ca.crt", self.registry.authority().as_bytes());
        let mut text = format!(
            "registries:\n  - host: r.example.com\n    endpoint: {}\n    ca: {}\n    private: true\n",
            self.registry.endpoint(),
            shown(&scene.path().join("ca.crt")),
        );
        further.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        scene.write("config.yaml", text.as_bytes());
    }
}

/// A path as YAML takes it.
pub fn shown(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

const POLICY: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: p}
spec:
  mode: enforce
  rules:
    - {name: acme, images: [\"r.example.com/acme/**\"], tags: [release, channel], pin: pods}
    - {name: plain, images: [\"r.example.com/plain/**\"], tags: [release]}
";

/// Pods with one image each.
fn pods(images: &[&str]) -> String {
    let pod = |(at, image): (usize, &&str)| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a{at}, namespace: shop}}\nspec: {{containers: [{{name: c, image: \"{image}\"}}]}}\n---\n"
        )
    };
    images.iter().enumerate().map(pod).collect()
}

fn check(scene: &Scene, images: &[&str]) -> Ran {
    let arguments = ["check", "--policies", "p", "--config", "config.yaml", "--format", "json", "-"];
    scene.run_with_input(&arguments, &pods(images))
}

fn ids(ran: &Ran) -> Vec<String> {
    let findings = ran.json()["findings"].as_array().unwrap().clone();
    findings.iter().map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
}

fn scene() -> Scene {
    Scene::new(&[("p/p.yaml", POLICY)])
}

#[test]
fn the_registry_decides_and_its_silence_exits_with_3() {
    let (scene, mut loopback) = (scene(), Loopback::new());
    loopback.configure(&scene, &[]);
    let other = loopback.push("acme/api", &["v2.0.0"], "2.0.0");
    let mismatch = format!("r.example.com/acme/api:v1.0.0@{other}");
    for (image, code, id) in [
        ("r.example.com/acme/api:v1.0.0", 0, None),
        ("r.example.com/acme/api:env-prod", 0, None),
        ("r.example.com/acme/web:env-prod", 1, Some("TW201")),
        (&mismatch, 1, Some("TW200")),
        ("r.example.com/acme/api:v9.0.0", 3, Some("TW901")),
    ] {
        let ran = check(&scene, &[image]);
        assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{image}: {}", ran.stdout);
        assert_eq!(ids(&ran), Vec::from_iter(id.map(str::to_owned)), "{image}");
    }
    loopback.go_down();
    let ran = check(&scene, &["r.example.com/acme/api:env-prod"]);
    assert_eq!((ran.code, ids(&ran)), (3, vec!["TW900".to_owned()]), "{}", ran.stdout);
    let both = check(&scene, &["r.example.com/acme/api:env-prod", "r.example.com/acme/api:latest"]);
    assert_eq!((both.code, ids(&both)), (1, vec!["TW900".to_owned(), "TW120".to_owned()]), "{}", both.stdout);
}

#[test]
fn what_one_object_learned_serves_the_next_and_text_asks_nothing() {
    let (scene, loopback) = (scene(), Loopback::new());
    loopback.configure(&scene, &[]);
    let image = "r.example.com/acme/api:v1.0.0";
    assert_eq!(check(&scene, &[image]).code, 0);
    let once = loopback.registry.requests();
    assert!(once > 0);
    assert_eq!(check(&scene, &[image; 20]).code, 0);
    assert_eq!(loopback.registry.requests(), 2 * once, "twenty Pods cost what one costs");

    // Denied by its text, or of a rule that needs no fact.
    assert_eq!(check(&scene, &["r.example.com/acme/api:latest", "r.example.com/plain/api:v1.0.0"]).code, 1);
    let offline = ["check", "--policies", "p", "--config", "config.yaml", "--offline", "-"];
    assert_eq!(scene.run_with_input(&offline, &pods(&["r.example.com/acme/api:env-prod"])).code, 3);
    assert_eq!(loopback.registry.requests(), 2 * once);
}

#[test]
fn explain_shows_what_the_registry_said() {
    let (scene, loopback) = (scene(), Loopback::new());
    loopback.configure(&scene, &[]);
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let explain = ["explain", "--policies", "p", "--config", "config.yaml", "r.example.com/acme/api:v1.0.0"];
    let ran = scene.run(&explain);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("fact        v1.0.0 is {digest}\n")), "{}", ran.stdout);
    let pinned = format!("pinned      r.example.com/acme/api:v1.0.0@{digest}\n");
    assert!(ran.stdout.contains(&pinned), "{}", ran.stdout);
}

#[test]
fn credentials_are_the_configured_ones_or_the_callers() {
    let (scene, loopback) = (scene(), Loopback::new());
    loopback.registry.require_login("acme/api", "jane", "secret");
    // jane:secret, and jane:wrong
    let login = |auth: &str| format!("{{\"auths\": {{\"r.example.com\": {{\"auth\": \"{auth}\"}}}}}}");
    let (right, wrong) = (login("amFuZTpzZWNyZXQ="), login("amFuZTp3cm9uZw=="));
    let image = "r.example.com/acme/api:v1.0.0";
    loopback.configure(&scene, &[]);
    let ran = check(&scene, &[image]);
    assert_eq!((ran.code, ids(&ran)), (3, vec!["TW901".to_owned()]), "{}", ran.stdout);

    scene.write(".docker/config.json", right.as_bytes());
    assert_eq!(check(&scene, &[image]).code, 0);
    scene.write(".docker/config.json", wrong.as_bytes());
    let ran = check(&scene, &[image]);
    assert_eq!((ran.code, ids(&ran)), (3, vec!["TW901".to_owned()]), "{}", ran.stdout);
    // What cannot be read is told, and the registry is asked without it.
    scene.write(".docker/config.json", b"{");
    let ran = check(&scene, &[image]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.starts_with("warning: ") && ran.stderr.contains("config.json"), "{}", ran.stderr);

    std::fs::remove_file(scene.path().join(".docker/config.json")).unwrap();
    scene.write("login.json", right.as_bytes());
    let file = format!("credentials: {{dockerConfig: {}}}", shown(&scene.path().join("login.json")));
    loopback.configure(&scene, &[&file]);
    assert_eq!(check(&scene, &[image]).code, 0);
}

#[test]
fn an_authority_that_cannot_be_read_is_an_error() {
    let (scene, loopback) = (scene(), Loopback::new());
    loopback.configure(&scene, &[]);
    std::fs::remove_file(scene.path().join("ca.crt")).unwrap();
    let ran = check(&scene, &["r.example.com/acme/api:v1.0.0"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("ca.crt"), "{}", ran.stderr);
}
