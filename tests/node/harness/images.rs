//! The images of the suite, and how they get into the node's registry.

use super::kubectl::Outcome;
use super::node::{REGISTRY, REGISTRY_HOST};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A release of ours, which every policy of the suite lets in.
pub const API: &str = "registry.example.com/acme/api:v1.4.2";

/// The same repository by a floating tag, which every policy of the suite refuses.
pub const FLOATING: &str = "registry.example.com/acme/api:latest";

/// What people try first.
pub const NGINX: &str = "nginx:latest";

/// `crane`, against the node's registry.
#[derive(Debug)]
pub struct Crane {
    program: PathBuf,
}

impl Crane {
    /// The one that tests/registries/build.sh makes.
    pub fn find() -> Self {
        Crane { program: folder_of("TAGWARDEN_REGISTRIES", "tests/registries/build.sh").join("crane") }
    }

    /// Pushes what the suite's Pods run: `pause` as a sandbox, and under the names that policies know.
    pub fn push_pause(&self, scratch: &Path) {
        let folder = folder_of("TAGWARDEN_NODE_PROGRAMS", "tests/node/build.sh");
        let layer = scratch.join("pause.tar");
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&layer).arg("-C").arg(folder).arg("pause");
        Outcome::of(&mut tar, "tar", "").accepted();
        let raw = format!("{REGISTRY}/pause:raw");
        let layer = layer.display().to_string();
        self.run(&["append", "--oci-empty-base", "--new_layer", &layer, "--new_tag", &raw]);
        for image in ["pause:v1.0.0", "acme/api:v1.4.2", "acme/api:latest"] {
            let tag = format!("{REGISTRY}/{image}");
            self.run(&["mutate", &raw, "--entrypoint", "/pause", "--set-platform", "linux/amd64", "--tag", &tag]);
        }
    }

    /// Pushes a build of a service under a name of the node's registry: what it does is the same, what it says of itself not.
    pub fn push_build(&self, image: &str, version: &str, revision: &str) {
        let raw = format!("{REGISTRY}/pause:raw");
        let tag = format!("{REGISTRY}/{image}");
        let version = format!("org.opencontainers.image.version={version}");
        let revision = format!("org.opencontainers.image.revision={revision}");
        let labels = ["--label", &version, "--label", &revision];
        let entry = ["mutate", &raw, "--entrypoint", "/pause", "--set-platform", "linux/amd64", "--tag", &tag];
        self.run(&[&entry[..], &labels].concat());
    }

    /// Pushes the OCI archive that `make image` wrote, and returns how Pods name it: repository and tag.
    pub fn push_tagwarden(&self, scratch: &Path) -> (String, String) {
        let archive = env::var("TAGWARDEN_IMAGE").expect("TAGWARDEN_IMAGE names the archive of `make image`");
        let layout = scratch.join("image");
        std::fs::create_dir(&layout).expect("the folder can be written");
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(archive).arg("-C").arg(&layout);
        Outcome::of(&mut tar, "tar", "").accepted();
        self.run(&["push", &layout.display().to_string(), &format!("{REGISTRY}/tagwarden/tagwarden:e2e")]);
        (format!("{REGISTRY_HOST}/tagwarden/tagwarden"), "e2e".to_owned())
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--insecure");
        Outcome::of(&mut command, &format!("crane {}", arguments.join(" ")), "").accepted();
    }
}

/// The folder that a variable names; `script` is what prints it.
pub fn folder_of(variable: &str, script: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(folder) => PathBuf::from(folder),
        None => panic!("{variable} is not set; run `make e2e`, or set it to what {script} prints"),
    }
}
