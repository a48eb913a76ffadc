//! Every format by an example of it, and what of each is refused.

use super::*;

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// Short names for digests, made long.
fn long(text: &str) -> String {
    ['a', 'b', 'c'].iter().fold(text.to_owned(), |text, letter| text.replace(&format!("<{letter}>"), &digest(*letter)))
}

fn terms<'a>() -> ImportTerms<'a> {
    ImportTerms { name: None, fallback: "file", registry: None }
}

fn imported(text: &str, terms: ImportTerms<'_>) -> Import {
    import("f", &long(text), terms).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"))
}

fn told(text: &str, terms: ImportTerms<'_>) -> String {
    let problems = import("f", &long(text), terms).err().unwrap_or_default();
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The images: name and reference.
fn images(import: &Import) -> Vec<String> {
    let short =
        |text: String| ['a', 'b', 'c'].iter().fold(text, |text, l| text.replace(&digest(*l), &format!("<{l}>")));
    let images = import.file.release.images().iter();
    images.map(|image| short(format!("{} {}", image.name, super::super::values::reference(image)))).collect()
}

const LOCK: &str = "---
apiVersion: imgpkg.carvel.dev/v1alpha1
images:
- annotations:
    kbld.carvel.dev/id: docker.io/acme/app:v1.2.3
    kbld.carvel.dev/origins: |
      - resolved: {tag: v1.2.3, url: docker.io/acme/app:v1.2.3}
  image: index.docker.io/acme/app@<a>
- annotations:
    kbld.carvel.dev/id: ko://example.com/cmd/queue
  image: registry.example.com/acme/queue@<b>
kind: ImagesLock
";

#[test]
fn an_images_lock_is_read_with_the_tags_of_its_annotations() {
    let import = imported(LOCK, terms());
    assert_eq!(import.format, Imported::ImagesLock);
    assert_eq!(images(&import), ["app docker.io/acme/app:v1.2.3@<a>", "queue registry.example.com/acme/queue@<b>"]);
    assert!(import.file.is_locked(), "{}", import.file.text());
    assert_eq!(import.file.release.name(), "file");
    let text = import.file.text();
    assert!(text.starts_with("release: file\nid: sha256:") && text.contains("\nimages:\n  app:\n    repo: "), "{text}");
}

#[test]
fn a_promotion_list_gives_the_highest_version_of_each_image() {
    let thin = "- name: app\n  dmap:\n    '<a>': ['1.9.0', 'latest']\n    '<b>': ['1.10.0-rc.1', '1.10.0']\n    '<c>': ['1.2.0']\n";
    let registry = ImportTerms { registry: Some("registry.example.com/acme"), ..terms() };
    let import = imported(thin, registry);
    assert_eq!(images(&import), ["app registry.example.com/acme/app:1.10.0@<b>"]);
    assert_eq!(import.notes, ["app: the highest of 3 versions is taken, 1.10.0"]);
    assert!(told(thin, terms()).contains("does not say in which registry its images are; say it by `--registry`"));
    let plain = format!("registries:\n- name: gcr.io/staging\n  src: true\n- name: gcr.io/prod\nimages:\n{thin}");
    assert_eq!(images(&imported(&plain, terms())), ["app gcr.io/prod/app:1.10.0@<b>"]);
    let unclear = "- name: app\n  dmap: {'<a>': ['x'], '<b>': ['y']}\n";
    assert!(told(unclear, registry).contains("which of the 2 digests of 'app' is released does not show"));
    let bad = "- name: app\n  dmap: {'sha256:': ['v0.3.0']}\n";
    assert!(told(bad, registry).contains("'sha256:' is not a digest"));
}

#[test]
fn a_relocation_map_gives_where_images_went() {
    let map = "{\"acme/app:v1.2.3\": \"my.example.com/app@<a>\", \"acme/web@<b>\": \"my.example.com/web@<b>\",
               \"other/tool:0.1.0\": \"my.example.com/tool:0.1.0\"}";
    let import = imported(map, ImportTerms { name: Some("bundle-1"), ..terms() });
    let expected =
        ["app my.example.com/app:v1.2.3@<a>", "tool my.example.com/tool:0.1.0", "web my.example.com/web@<b>"];
    assert_eq!((import.format, images(&import)), (Imported::Relocation, expected.map(str::to_owned).to_vec()));
    assert!(!import.file.is_locked() && !import.file.text().contains("id:"), "an image has no digest yet");
}

#[test]
fn freight_brings_its_name_and_leaves_out_what_is_no_image() {
    let freight =
        "{\"apiVersion\": \"kargo.akuity.io/v1alpha1\", \"kind\": \"Freight\", \"alias\": \"fruitful-ferret\",
        \"metadata\": {\"name\": \"f5f87aa23c9e97f43eb83dd63768ee41f5ba3766\"},
        \"commits\": [{\"repoURL\": \"https://git.example.com/a\", \"id\": \"1\"}],
        \"images\": [{\"repoURL\": \"nginx\", \"tag\": \"1.27.0\", \"digest\": \"<a>\"}]}";
    let import = imported(freight, terms());
    assert_eq!((import.format, import.file.release.name()), (Imported::Freight, "fruitful-ferret"));
    assert_eq!(images(&import), ["nginx docker.io/library/nginx:1.27.0@<a>"]);
    assert_eq!(import.notes, ["its commits (1) are no images, and are left out"]);
}

#[test]
fn a_compose_file_gives_its_services() {
    let compose = "name: shop\nservices:\n  db: {image: 'postgres:latest@<a>'}\n  api: {image: 'r.example.com/acme/api:v1'}\n  \
                   web: {build: ., image: web}\n";
    let import = imported(compose, terms());
    assert_eq!((import.format, import.file.release.name()), (Imported::Compose, "shop"));
    assert_eq!(images(&import), ["api r.example.com/acme/api:v1", "db docker.io/library/postgres@<a>"]);
    assert_eq!(
        import.notes,
        [
            "web is built, not pulled, and is left out",
            "docker.io/library/postgres: the tag 'latest' moves and is left out; its digest stays"
        ]
    );
    for (service, told_of_it) in [
        ("{image: 'a:$TAG'}", "it holds a variable"),
        ("{image: nginx}", "'nginx' has neither tag nor digest"),
        ("{image: 'nginx:latest'}", "the tag 'latest' moves"),
        ("{}", "the service 's' has no image"),
        ("{image: 'NGINX:v1'}", "is not an image: a repository is written in lower case; did you mean nginx:v1?"),
        ("{image: '169.254.169.254/a:v1'}", "of a refused shape (IpHost)"),
    ] {
        let told = told(&format!("services: {{s: {service}}}\n"), terms());
        assert!(told.contains(told_of_it), "{service}: {told}");
    }
}

#[test]
fn names_are_found_that_nobody_has_yet() {
    let lock = |images: &[&str]| {
        let images: String = images.iter().map(|image| format!("- image: {image}\n")).collect();
        format!("kind: ImagesLock\nimages:\n{images}")
    };
    let import =
        imported(&lock(&["r.example.com/a/app@<a>", "r.example.com/b/app@<b>", "r.example.com/a/app@<a>"]), terms());
    assert_eq!(images(&import), ["app r.example.com/a/app@<a>", "b-app r.example.com/b/app@<b>"]);
    let twice = lock(&["r.example.com/a/app@<a>", "r.example.com/a/app@<b>"]);
    assert!(told(&twice, terms()).contains("the repository 'r.example.com/a/app' stands here at two versions"));
}

#[test]
fn what_is_none_of_the_formats_is_told() {
    for text in ["a: b\n", "- a\n", "kind: Pod\n", "release: r\nimages: {}\n"] {
        let told = told(text, terms());
        assert!(told.contains("none of the formats that are imported; read are an ImagesLock"), "{text}: {told}");
    }
    assert!(told("", terms()).contains("not one document"));
    assert!(told("a: [\n", terms()).contains("not valid YAML"));
    assert!(told("kind: ImagesLock\nimages: []\n", terms()).contains("there is no image in it"));
    assert!(told("kind: ImagesLock\nimages: [{x: y}]\n", terms()).contains("f:2:10: error: an image without 'image'"));
    let unnamed = ImportTerms { fallback: "my file", ..terms() };
    assert!(told(LOCK, unnamed).contains("'my file' is not a release's name; give one by `--name`"));
}
