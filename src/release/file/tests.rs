//! Reading release files: what is declared, what is refused and where, and the id's test vectors.

use super::*;

/// The first code block of the product's design, as it stands.
const DESIGN: &str = "release: system-2026-01-11-expA
images:
  app:          {repo: ghcr.io/acme/app, tag: v1.2.3}
  modelService: {repo: ghcr.io/acme/model-service, tag: v2.0.1}
experiment: {istio: {canaryWeight: 10, stableWeight: 90}}
";

fn digest_of(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

fn read(text: &str) -> ReleaseFile {
    ReleaseFile::read("r.yaml", text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"))
}

/// Every problem, a line each.
fn problems(text: &str) -> String {
    let told = ReleaseFile::read("r.yaml", text).err().unwrap_or_default();
    told.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The problems of a file with this one image.
fn of_image(image: &str) -> String {
    problems(&format!("release: r\nimages:\n  app: {image}\n"))
}

#[test]
fn the_plain_shape_is_read_as_it_stands() {
    let file = read(DESIGN);
    let release = &file.release;
    assert_eq!((release.name(), release.images().len()), ("system-2026-01-11-expA", 2));
    let app = &release.images()[0];
    assert_eq!((app.name.as_str(), app.repository.as_str()), ("app", "ghcr.io/acme/app"));
    assert_eq!((app.tag.as_deref(), &app.digest), (Some("v1.2.3"), &None));
    assert_eq!(file.free().iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["experiment"]);
    assert_eq!((&file.written_id, file.is_locked(), file.warnings.len()), (&None, false, 0));
    assert_eq!(Release::read("r.yaml", DESIGN).unwrap(), file.release);
}

#[test]
fn the_locked_shape_is_read_with_all_that_it_says() {
    let (a, b, c) = (digest_of('a'), digest_of('b'), digest_of('c'));
    let text = format!(
        "release: r2\nid: {c}\nsource: {{repo: \"https://git.example.com/acme/operation\", commit: 1813d1c5}}\nimages:\n  \
         app:\n    repo: ghcr.io/acme/app\n    tag: v1.2.3\n    digest: {a}\n    commit: 4f2a1b0\n    \
         build: {{id: \"8123\", tags: [v1.2.3, 4f2a1b0]}}\n    platforms: {{linux/amd64: {b}, linux/arm64/v8: {c}}}\n    \
         team: own\nprevious: [r1, r0]\n"
    );
    let file = read(&text);
    let app = &file.release.images()[0];
    assert_eq!(app.digest.as_ref().map(DigestBuf::as_str), Some(a.as_str()));
    assert_eq!(app.commit.as_deref(), Some("4f2a1b0"));
    assert_eq!(app.platforms.keys().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64/v8"]);
    assert_eq!(
        file.builds["app"],
        Build { id: Some("8123".to_owned()), tags: vec!["v1.2.3".to_owned(), "4f2a1b0".to_owned()] }
    );
    let origin =
        Origin { repo: "https://git.example.com/acme/operation".to_owned(), commit: Some("1813d1c5".to_owned()) };
    assert_eq!(file.origin, Some(origin));
    assert_eq!(file.release.previous(), ["r1", "r0"]);
    assert_eq!(file.written_id.as_ref().map(DigestBuf::as_str), Some(c.as_str()));
    assert!(!file.is_locked(), "the id that is written is not that of the content: a stale lock, and no error");
    let id = file.release.id().to_string();
    assert!(read(&text.replace(&format!("id: {c}"), &format!("id: {id}"))).is_locked());
}

#[test]
fn the_id_has_these_test_vectors() {
    let digest = digest_of('a');
    // The forms are hashed by another program (docs/release-files.md says how).
    for (text, form) in [
        (
            DESIGN.to_owned(),
            "{\"free\":{\"experiment\":{\"istio\":{\"canaryWeight\":10,\"stableWeight\":90}}},\"images\":\
             {\"app\":{\"repo\":\"ghcr.io/acme/app\",\"tag\":\"v1.2.3\"},\
             \"modelService\":{\"repo\":\"ghcr.io/acme/model-service\",\"tag\":\"v2.0.1\"}}}"
                .to_owned(),
        ),
        (
            format!(
                "images:\n  web: &x\n    team: own # c\n    platforms: {{linux/arm64: {0}, linux/amd64: '{0}'}}\n    digest: '{digest}'\n    \
                 repo: index.docker.io/nginx\n    commit: 4f2a1b0\n    share: 1.50\nrelease: other\nprevious: [a]\nz: [1e3, ~]\n",
                digest_of('b')
            ),
            format!(
                "{{\"free\":{{\"z\":[1000,null]}},\"images\":{{\"web\":{{\"digest\":\"{digest}\",\
                 \"platforms\":{{\"linux/amd64\":\"{0}\",\"linux/arm64\":\"{0}\"}},\"repo\":\"docker.io/library/nginx\",\"share\":1.5,\"team\":\"own\"}}}}}}",
                digest_of('b')
            ),
        ),
    ] {
        let file = read(&text);
        let named: Vec<_> =
            file.release.images().iter().map(|image| (image.name.clone(), image.repository.clone())).collect();
        let images = file.root.get("images").unwrap();
        let nodes: Vec<_> = named.iter().map(|(n, r)| (n.as_str(), r.as_str(), images.get(n).unwrap())).collect();
        assert_eq!(canonical::form(&file.free(), &nodes), form);
    }
    assert_eq!(read(DESIGN).release.id().as_str(), VECTOR);
}

/// `printf %s FORM | sha256sum` of the first form.
const VECTOR: &str = "sha256:476c2c32a1fde6944ee2d5d5fe42a19efa7e49c03b2b1c6744ceabd133502719";

#[test]
fn what_counts_changes_the_id_and_what_does_not_leaves_it() {
    let id = |text: &str| read(text).release.id().clone();
    let before = id(DESIGN);
    let (a, b) = (digest_of('a'), digest_of('b'));
    for same in [
        DESIGN.replace("expA", "expB"),
        DESIGN.replace("tag: v1.2.3", "tag: 'v1.2.3', commit: 4f2a1b0"),
        DESIGN.replace("tag: v1.2.3", "tag: v1.2.3, build: {id: x}, platforms: {}"),
        format!("# c\nprevious: [a]\n{DESIGN}source: {{repo: x}}\n"),
        DESIGN.replace("canaryWeight: 10", "canaryWeight: 10.0"),
        format!("{:#}", read(DESIGN).root.to_json()),
    ] {
        assert_eq!(id(&same), before, "{same}");
    }
    for other in [
        DESIGN.replace("v1.2.3", "v1.2.4"),
        DESIGN.replace("tag: v1.2.3", &format!("tag: v1.2.3, digest: {a}")),
        DESIGN.replace("tag: v1.2.3", &format!("tag: v1.2.3, platforms: {{linux/amd64: {b}}}")),
        DESIGN.replace("acme/app,", "acme/apps,"),
        DESIGN.replace("  app:", "  apps:"),
        DESIGN.replace("tag: v1.2.3", "tag: v1.2.3, team: x"),
        DESIGN.replace("canaryWeight: 10", "canaryWeight: '10'"),
        DESIGN.replace("experiment", "experiments"),
    ] {
        assert_ne!(id(&other), before, "{other}");
    }
}

#[test]
fn bad_input_is_named_with_its_place_and_what_to_do() {
    let (a, upper) = (digest_of('a'), digest_of('A'));
    for (text, told) in [
        ("", "r.yaml: error: there is no release in this file; a release file begins with `release: NAME`"),
        ("# c\n", "there is no release in this file"),
        ("- a\n", "r.yaml:1:1: error: expected a map, found a list"),
        ("release: r\n", "r.yaml:1:1: error: the key 'images' is missing here; name at least one image"),
        (
            "images: {app: {repo: a.example.com/b, tag: v1}}\n",
            "the key 'release' is missing here; write `release: NAME`",
        ),
        ("release: r\nimages: {}\n", "r.yaml:2:9: error: a release without images; name at least one"),
        ("release: r\nimages:\n", "expected a map of images, found nothing"),
        ("release: r\nimages:\n  app: {repo: a.example.com/b, tag: v1\n", "error: not valid YAML"),
        ("{\"release\": \"r\", \"images\": {\"app\": {\"repo\": \"a.exam", "error: not valid YAML"),
        (
            "release: -r\nimages: {app: {repo: a.example.com/b, tag: v1}}\n",
            "'-r' is not a release's name; write 1 to 128",
        ),
        (
            "release: r\nimages: {a b: {repo: a.example.com/b, tag: v1}}\n",
            "r.yaml:2:10: error: 'a b' is not an image's name",
        ),
        (
            "release: r\nimages:\n  app: {repo: a.example.com/b, tag: v1}\n  app: {repo: a.example.com/c, tag: v1}\n",
            "r.yaml:4:3: error: the key 'app' stands twice in one map; the first one is on line 3",
        ),
        (
            "release: r\nimages:\n  a: {repo: a.example.com/b, tag: v1}\n  b: {repo: a.example.com/b, tag: v2}\n",
            "r.yaml:4:3: error: the repository 'a.example.com/b' stands here at two versions; 'a' on line 3 has 'v1', and 'b' has 'v2'; give both the same version",
        ),
        (
            "release: r\nimage: {}\nimages: {a: {repo: a.example.com/b, tag: v1}}\n",
            "r.yaml:2:1: error: unknown key 'image'; did you mean 'images'? a key of your own needs a name less like it",
        ),
        (
            "release: r\nimages: {a: {repo: a.example.com/b, tag: v1}}\n---\nrelease: s\n",
            "r.yaml:4:1: error: a second document",
        ),
        (
            "release: r\nimages: {a: {repo: a.example.com/b, tag: v1}}\nprevious: [r, s, s]\n",
            "the release 'r' cannot come before itself; take it out",
        ),
        (
            "release: r\nimages: {a: {repo: a.example.com/b, tag: v1}}\nprevious: [s, s]\n",
            "the release 's' stands here already",
        ),
        (
            "release: r\nimages: {a: {repo: a.example.com/b, tag: v1}}\nprevious: s\n",
            "expected a list of releases, found a string",
        ),
        (
            "release: r\nimages: {a: {repo: a.example.com/b, tag: v1}}\nid: 5\n",
            "r.yaml:3:5: error: expected a string, found the number 5",
        ),
        (
            "release: r\nimages: {a: {repo: a.example.com/b, tag: v1}}\nsource: {repo: 'https://u:p@h/x'}\n",
            "is not the address of a repository; write one without password",
        ),
        (
            "release: r\nimages: {a: {repo: a.example.com/b, tag: v1}}\nsource: {repo: x, branch: y}\n",
            "unknown key 'branch'; valid keys here: repo, commit",
        ),
    ] {
        assert!(problems(text).contains(told), "{text}\n{}", problems(text));
    }
    for (image, told) in [
        ("{tag: v1}", "r.yaml:3:3: error: an image without 'repo'; name it in full"),
        ("{repo: a.example.com/b}", "an image without tag and digest; write the version as 'tag'"),
        ("nginx", "expected a map with 'repo' and 'tag', 'digest' or both, found a string"),
        (
            "{repo: nginx, tag: v1}",
            "'nginx' is of a refused shape (ShortName): no registry is written, and nodes differ in where they look; write docker.io/ in front; write `repo: docker.io/library/nginx`",
        ),
        ("{repo: GHCR.io/a/b, tag: v1}", "(NonCanonicalHost)"),
        ("{repo: GHCR.io/a/b, tag: v1}", "write `repo: ghcr.io/a/b`"),
        ("{repo: 1.2/b, tag: v1}", "(NumericHost)"),
        ("{repo: 169.254.169.254/b, tag: v1}", "(IpHost)"),
        (
            "{repo: ghcr.io/A/b, tag: v1}",
            "'ghcr.io/A/b' is no repository: a repository is written in lower case; did you mean 'ghcr.io/a/b'?",
        ),
        ("{repo: 'ghcr.io/a/b:v1', tag: v1}", "'repo' with a tag or a digest; write `repo: ghcr.io/a/b`"),
        (
            "{repo: ghcr.io/a/b, tag: latest}",
            "the tag 'latest' moves, and a release names versions; write a version, or take the tag out",
        ),
        ("{repo: ghcr.io/a/b, tag: main}", "the tag 'main' moves"),
        (
            "{repo: ghcr.io/a/b, tag: env-prod}",
            "the tag 'env-prod' moves, and a release names versions; write a version, or the digest beside it",
        ),
        ("{repo: ghcr.io/a/b, tag: 'v 1'}", "'v 1' is not a tag"),
        ("{repo: ghcr.io/a/b, tag: 1.10}", "expected a string, found the number 1.1; put it in quotes"),
        ("{repo: ghcr.io/a/b, digest: v1}", "'v1' is not a digest"),
        ("{repo: ghcr.io/a/b, digest: ''}", "'' is not a digest"),
        ("{repo: ghcr.io/a/b, digest: DIGEST}", "did you mean 'sha256:aaaa"),
        (
            "{repo: ghcr.io/a/b, tag: v1, digest: CHILD, platforms: {linux/amd64: CHILD}}",
            "this is the digest of linux/amd64 alone, not of the index; take 'digest' out",
        ),
        ("{repo: ghcr.io/a/b, tag: 4f2a1b0, commit: 5f2a1b0}", "the tag names the commit 4f2a1b0, not this one"),
        ("{repo: ghcr.io/a/b, tag: 4f2a1b0-amd64, commit: 5f2a1b0}", "the tag names the commit 4f2a1b0, not this one"),
        ("{repo: ghcr.io/a/b, tag: v1, commit: main}", "'main' is not a commit; write 7 to 64 hex digits"),
        ("{repo: ghcr.io/a/b, tag: v1, platforms: {amd64: CHILD}}", "'amd64' is not a platform; write os/architecture"),
        ("{repo: ghcr.io/a/b, tag: v1, build: {id: 5}}", "expected a string, found the number 5; put it in quotes"),
        ("{repo: ghcr.io/a/b, tag: v1, tags: []}", "unknown key 'tags'; did you mean 'tag'?"),
        ("{repo: ghcr.io/a/b, tag: v1, digets: x}", "unknown key 'digets'; did you mean 'digest'?"),
        ("{repo: ghcr.io/a/b, tag: v1, platfom: x}", "unknown key 'platfom'; did you mean 'platforms'?"),
        ("{repo: ghcr.io/a/b, tag: v1, dig: x}", "unknown key 'dig'; did you mean 'digest'?"),
    ] {
        let told_now = of_image(&image.replace("DIGEST", &upper).replace("CHILD", &a));
        assert!(told_now.contains(told), "{image}\n{told_now}");
    }
}

#[test]
fn the_neighbours_of_what_is_refused_are_read() {
    let (a, b) = (digest_of('a'), digest_of('b'));
    for image in [
        "{repo: docker.io/library/nginx, tag: '1.10'}".to_owned(),
        "{repo: localhost:5000/b, tag: v1}".to_owned(),
        "{repo: '127.0.0.1:5000/b', tag: v1}".to_owned(),
        format!("{{repo: ghcr.io/a/b, tag: env-prod, digest: '{a}'}}"),
        format!("{{repo: ghcr.io/a/b, digest: '{a}', platforms: {{linux/amd64: '{b}'}}}}"),
        "{repo: ghcr.io/a/b, tag: 4f2a1b0, commit: 4f2a1b0c1}".to_owned(),
        format!("{{repo: ghcr.io/a/b, tag: git-{0}, commit: {0}}}", "4f2a".repeat(10)),
        "{repo: ghcr.io/a/b, tag: v1, team: x, name: y, helm: {chart: z}, comment: c, build_id: d}".to_owned(),
    ] {
        assert_eq!(of_image(&image), "", "{image}");
    }
    let twice = "release: r\nimages:\n  a: {repo: a.example.com/b, tag: v1}\n  b: {repo: a.example.com/b, tag: v1}\n";
    assert_eq!(problems(twice), "");
    let unlike = twice.replacen("tag: v1", &format!("digest: '{a}'"), 1);
    assert!(problems(&unlike).contains("at two versions"), "nothing says that they are the same");
}

#[test]
fn one_repository_has_one_version_whatever_stands_between() {
    let (a, b) = (digest_of('a'), digest_of('b'));
    let told = |versions: &[&str]| {
        let images = versions.iter().enumerate().map(|(at, version)| {
            let version = version.replace("<a>", &a).replace("<b>", &b);
            format!("  i{at}: {{repo: a.example.com/b, {version}}}\n")
        });
        problems(&format!("release: r\nimages:\n{}", images.collect::<String>()))
    };
    for same in [
        &["tag: v1", "tag: v1", "tag: v1"] as &[&str],
        &["tag: v1, digest: '<a>'", "tag: v1, digest: '<a>'"],
        &["digest: '<a>'", "digest: '<a>'", "digest: '<a>'"],
    ] {
        assert_eq!(told(same), "", "{same:?}");
    }
    // The tag alone would let either digest run, or any.
    let between = told(&["tag: v1", "tag: v1, digest: '<a>'", "tag: v1, digest: '<b>'"]);
    let lines: Vec<&str> = between.lines().collect();
    let told_here = "error: the repository 'a.example.com/b' stands here at two versions; 'i1' on line 4 has 'v1' (sha256:aaaaaaaaaaaa), and";
    assert_eq!(
        lines,
        [
            format!(
                "r.yaml:3:3: {told_here} 'i0' has 'v1'; give both the same tag and digest, or take the digest out and run \
                 `tagwarden release lock`"
            ),
            format!("r.yaml:5:3: {told_here} 'i2' has 'v1' (sha256:bbbbbbbbbbbb); give both the same tag and digest"),
        ]
    );
    for other in [
        &["tag: v1, digest: '<a>'", "tag: v1"] as &[&str],
        &["tag: v1", "tag: v1, digest: '<a>'"],
        &["digest: '<a>'", "tag: v1, digest: '<a>'"],
        &["tag: v2, digest: '<a>'", "tag: v1, digest: '<a>'"],
        &["tag: v1", "tag: v1", "tag: v2"],
    ] {
        assert_eq!(told(other).lines().count(), 1, "{other:?}: {}", told(other));
    }
}

#[test]
fn an_edited_platform_leaves_no_lock() {
    let (a, b, c) = (digest_of('a'), digest_of('b'), digest_of('c'));
    let text = format!(
        "release: r\nimages:\n  app: {{repo: ghcr.io/a/b, tag: v1, digest: '{a}', platforms: {{linux/amd64: '{b}'}}}}\n"
    );
    let sealed = read(&text).sealed(&[]).unwrap();
    assert!(sealed.is_locked());
    for edited in [
        sealed.text().replace(&b, &c),
        sealed.text().replace("linux/amd64", "linux/arm64"),
        sealed.text().replace("platforms: {", &format!("platforms: {{linux/arm64: '{c}', ")),
        sealed.text().replace(&format!(", platforms: {{linux/amd64: '{b}'}}"), ""),
    ] {
        assert!(!read(&edited).is_locked(), "{edited}");
    }
}

#[test]
fn a_release_has_at_most_so_many_images_and_names() {
    let images = |count: usize| -> String {
        (0..count).map(|at| format!("  i{at}: {{repo: a.example.com/b{at}, tag: v1}}\n")).collect()
    };
    let names = |count: usize| (0..count).map(|at| format!("p{at}")).collect::<Vec<_>>().join(", ");
    let text = |count, before| format!("release: r\nimages:\n{}previous: [{}]\n", images(count), names(before));
    assert_eq!(problems(&text(1, MAX_PREVIOUS)), "");
    assert!(problems(&text(1, MAX_PREVIOUS + 1)).contains(
        "r.yaml:4:502: error: 'previous' has 101 names, and 100 are the most; take out those to which there is no way back"
    ));
    assert_eq!(problems(&text(MAX_IMAGES, 0)), "");
    let told = problems(&text(MAX_IMAGES + 1, 0));
    assert_eq!(
        told,
        "r.yaml:10003:3: error: a release with 10001 images, and 10000 are the most; make several releases of it\n"
    );
}

#[test]
fn weights_of_a_canary_are_shares_of_a_hundred() {
    let warnings = |section: &str| {
        let file = read(&format!("release: r\nimages: {{a: {{repo: a.example.com/b, tag: v1}}}}\n{section}\n"));
        file.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let told = warnings("experiment: {istio: {canaryWeight: 10, stableWeight: 80}}");
    assert_eq!(
        told,
        "r.yaml:3:36: warning: canaryWeight 10 and stableWeight 80 make 90, not 100; write two whole numbers that add up to 100"
    );
    assert!(warnings("x: [{a: {stableWeight: -1, canaryWeight: 101}}]").contains("less than 0"));
    assert!(
        warnings("x: {stableWeight: '90', canaryWeight: 10}").contains("a weight is a whole number, found a string")
    );
    assert_eq!(warnings("x: {stableWeight: 90, canaryWeight: 10}"), "");
    assert_eq!(warnings("x: {canaryWeight: 10}"), "");
}

#[test]
fn natural_mistakes_have_their_remedy() {
    let digest = digest_of('a');
    for (image, help) in [
        ("ghcr.io/acme/app:v1.2.3", "write `app: {repo: ghcr.io/acme/app, tag: v1.2.3}`".to_owned()),
        ("ghcr.io/acme/app", "write `app: {repo: ghcr.io/acme/app, tag: v1.2.3}`".to_owned()),
        (&format!("ghcr.io/acme/app@{digest}"), format!("write `app: {{repo: ghcr.io/acme/app, digest: '{digest}'}}`")),
    ] {
        let told = of_image(image);
        assert!(told.contains("expected a map with 'repo'") && told.contains(&help), "{image}: {told}");
    }
    assert!(!of_image("[a]").contains("write `app"));
    for (text, help) in [
        (
            "release: r\nimages:\napp: {repo: ghcr.io/acme/app, tag: v1}\n",
            "indent the images below it, each by its name",
        ),
        ("release: r\nimages:\n- {repo: ghcr.io/acme/app, tag: v1}\n", "give each a name in the place of its '-'"),
        (
            "release: r\nimages: {app: {repo: ghcr.io/acme/app, tag: v1}}\nprevious: system-1\n",
            "write `previous: [system-1]`",
        ),
    ] {
        assert!(problems(text).contains(help), "{text}: {}", problems(text));
    }
    for (image, place, help) in [
        (
            "{repository: ghcr.io/acme/app, tag: v1}",
            "r.yaml:3:9: error: an image without 'repo'",
            "did you mean 'repo'?",
        ),
        ("{image: ghcr.io/acme/app, tag: v1}", "r.yaml:3:9: error: an image without 'repo'", "did you mean 'repo'?"),
        (
            "{repo: ghcr.io/acme/app, version: v1}",
            "r.yaml:3:33: error: an image without tag and digest",
            "did you mean 'tag'?",
        ),
    ] {
        let told = of_image(image);
        assert!(told.contains(place) && told.contains(help), "{image}: {told}");
    }
    assert_eq!(of_image("{repo: ghcr.io/acme/app, tag: v1, version: own}"), "", "a key of one's own");
}

#[test]
fn a_stale_lock_is_told_and_a_missing_one_is_not() {
    let file = read(&format!("{DESIGN}id: {}\n", digest_of('a')));
    let told = file.stale_id().unwrap().to_string();
    assert!(
        told.starts_with("r.yaml:6:5: warning: the id sha256:aaaaaaaaaaaa is written, and that of the content is "),
        "{told}"
    );
    assert_eq!(read(DESIGN).stale_id(), None);
    assert_eq!(read(&format!("{DESIGN}id: {}\n", read(DESIGN).release.id())).stale_id(), None);
}

#[test]
fn another_kind_of_file_is_one_problem() {
    for (kind, help) in [
        ("ImagePolicy", "`tagwarden lint` reads policies"),
        ("ImageRelease", "what stands below its `spec`"),
        ("ImagesLock", "`tagwarden release import`"),
        ("Pod", "a release file begins with `release: NAME`"),
    ] {
        let told = problems(&format!("apiVersion: v1\nkind: {kind}\nspec: {{}}\n"));
        assert!(told.starts_with("r.yaml:2:7: error: this is an object, and not a release file; "), "{told}");
        assert!(told.contains(help) && told.lines().count() == 1, "{told}");
    }
    assert_eq!(problems(&format!("apiVersion: own\nkind: own\n{DESIGN}")), "", "sections of one's own");
}
