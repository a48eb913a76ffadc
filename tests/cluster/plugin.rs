//! Tagwarden as a plugin of kubectl.

use std::process::Command;

use crate::harness::{Assets, program};

#[test]
fn kubectl_finds_tagwarden_on_the_path() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(program(), folder.path().join("kubectl-tagwarden")).unwrap();
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(Assets::find().program("kubectl"));
        command.args(arguments).env("PATH", folder.path()).env("HOME", folder.path()).env_remove("KUBECONFIG");
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };

    let (code, text) = kubectl(&["tagwarden", "explain", "--offline", "nginx:1.27"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("repository  library/nginx"), "{text}");
    let (code, text) = kubectl(&["tagwarden", "explain", "--offline", "sha256:2d71164"]);
    assert_eq!(code, Some(1), "the exit code is ours: {text}");
    let (code, text) = kubectl(&["tagwarden", "check"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("Usage: kubectl tagwarden check"), "it is called as it was typed: {text}");
    let (_, text) = kubectl(&["plugin", "list"]);
    assert!(text.contains("/kubectl-tagwarden"), "{text}");
}
