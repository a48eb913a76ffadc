//! What is made from the command line's own definition: shell completions, tried in the shell, and manual pages.

use std::process::Command;

use crate::cli_support::Scene;

/// What bash offers for a word after these.
fn bash_offers(scene: &Scene, words: &[&str], begun: &str) -> String {
    let completions = scene.run(&["completions", "bash"]);
    assert_eq!((completions.code, completions.stderr.as_str()), (0, ""));
    scene.write("tagwarden.bash", completions.stdout.as_bytes());
    let before = words[words.len() - 1];
    let words = words.join(" ");
    let script = format!(
        "source tagwarden.bash; COMP_WORDS=({words} '{begun}'); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _tagwarden tagwarden '{begun}' '{before}'; echo \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["--norc", "-c", &script]).current_dir(scene.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes_verbs_flags_and_their_words() {
    let scene = Scene::new(&[]);
    assert_eq!(bash_offers(&scene, &["tagwarden"], "expl"), "explain\n");
    assert_eq!(bash_offers(&scene, &["tagwarden", "check"], "--pol"), "--policies\n");
    assert_eq!(bash_offers(&scene, &["tagwarden", "check", "--fail-on"], ""), "warn audit\n");
}

#[test]
fn the_other_shells_have_theirs() {
    let scene = Scene::new(&[]);
    for (shell, begins) in [("zsh", "#compdef tagwarden"), ("fish", "# Print an optspec"), ("elvish", "\nuse builtin;")]
    {
        let ran = scene.run(&["completions", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{shell}");
        assert!(ran.stdout.starts_with(begins) && ran.stdout.contains("diff-base"), "{shell}: {}", &ran.stdout[..80]);
    }
    let ran = scene.run(&["completions", "csh"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("possible values: bash"), "{}", ran.stderr);
}

#[test]
fn manual_pages_say_what_the_help_says() {
    let scene = Scene::new(&[]);
    let page = scene.run(&["man", "check"]);
    assert_eq!((page.code, page.stderr.as_str()), (0, ""));
    assert!(page.stdout.contains(".TH tagwarden-check 1"), "{}", page.stdout);
    assert!(page.stdout.contains("Judge only images that changed"), "{}", page.stdout);
    assert!(scene.run(&["man"]).stdout.contains(".TH tagwarden 1"));
    assert!(scene.run(&["man", "hook", "test"]).stdout.contains(".TH tagwarden-hook-test 1"));
    let wrong = scene.run(&["man", "chek"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.starts_with("error: there is no verb 'chek'; there are: serve, check"), "{}", wrong.stderr);

    assert_eq!(scene.run(&["man", "--all", "pages"]).code, 0);
    let mut pages: Vec<_> =
        std::fs::read_dir(scene.path().join("pages")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    pages.sort();
    assert!(pages.iter().any(|page| page == "tagwarden-explain.1") && pages.len() > 8, "{pages:?}");
    scene.write("file", b"");
    let ran = scene.run(&["man", "--all", "file"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("error: cannot write manual pages into file"), "{}", ran.stderr);
}
