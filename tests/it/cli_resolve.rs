//! `resolve`: digests, media types and platforms of images, what is refused before anybody is asked, and exit codes.

use crate::cli_registry::{Loopback, shown};
use crate::cli_support::{Ran, Scene};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn resolve(scene: &Scene, images: &[&str]) -> Ran {
    scene.run(&[&["resolve", "--config", "config.yaml"], images].concat())
}

fn json(scene: &Scene, images: &[&str]) -> serde_json::Value {
    scene.run(&[&["resolve", "--config", "config.yaml", "--format", "json"], images].concat()).json()
}

#[test]
fn an_image_is_told_in_full() {
    let (scene, loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let ran = resolve(&scene, &["r.example.com/acme/api:v1.0.0"]);
    let told = format!(
        "image       r.example.com/acme/api:v1.0.0\n\
         digest      {digest}\n\
         media type  {INDEX}\n\
         platforms   linux/amd64, linux/arm64\n\
         asked as    anonymous\n\
         pinned      r.example.com/acme/api:v1.0.0@{digest}\n"
    );
    assert_eq!(ran, Ran { code: 0, stdout: told, stderr: String::new() });

    let by_digest = format!("r.example.com/acme/api@{digest}");
    let json = json(&scene, &["r.example.com/acme/api:v1.0.0", &by_digest]);
    let image = |image: &str, pinned: &str| {
        serde_json::json!({
            "image": image, "canonical": image, "digest": digest, "mediaType": INDEX,
            "platforms": ["linux/amd64", "linux/arm64"], "pinned": pinned, "askedAs": "anonymous", "finding": null,
        })
    };
    let expected = serde_json::json!({
        "schemaVersion": 1,
        "images": [
            image("r.example.com/acme/api:v1.0.0", &format!("r.example.com/acme/api:v1.0.0@{digest}")),
            image(&by_digest, &by_digest),
        ],
    });
    assert_eq!(json, expected);
}

#[test]
fn what_is_no_image_or_a_trap_is_a_finding_and_nobody_is_asked() {
    let (scene, loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    for (image, said) in [
        ("nginx:1.27", "finding     TW101 ShortName\n"),
        ("nginx:1.27", "            use: docker.io/library/nginx:1.27\n"),
        ("sha256:2d71164", "finding     TW101 ImageId\n"),
        ("R.example.com/acme/api:v1.0.0", "            use: r.example.com/acme/api:v1.0.0\n"),
        ("169.254.169.254/acme/api:v1.0.0", "finding     TW101 IpHost\n"),
        ("r.example.com/acme/API:v1.0.0", "finding     TW100 Uppercase\n"),
    ] {
        let ran = resolve(&scene, &[image]);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{image}");
        assert!(ran.stdout.contains(said), "{image}: {}", ran.stdout);
    }
    assert_eq!(loopback.registry.requests(), 0);
}

#[test]
fn each_image_has_its_own_answer_and_the_gravest_is_the_exit_code() {
    let (scene, mut loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    let fine = "r.example.com/acme/api:v1.0.0";
    let absent = "r.example.com/acme/api:v9.0.0";
    for (images, code) in
        [(&[fine, fine][..], 0), (&[fine, absent], 3), (&[absent, "nginx"], 1), (&[fine, "nginx"], 1), (&[absent], 3)]
    {
        assert_eq!(resolve(&scene, images).code, code, "{images:?}");
    }
    let images = json(&scene, &[absent, fine, "nginx"])["images"].clone();
    assert_eq!((&images[0]["finding"]["id"], &images[0]["digest"]), (&"TW901".into(), &serde_json::Value::Null));
    assert!(images[0]["finding"]["help"].as_str().unwrap().contains("docker login r.example.com"));
    assert_eq!((&images[1]["finding"], &images[1]["mediaType"]), (&serde_json::Value::Null, &INDEX.into()));
    assert_eq!(images[2]["finding"]["reason"], "ShortName");

    loopback.go_down();
    let ran = resolve(&scene, &[fine]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("finding     TW900 unreachable\n"), "{}", ran.stdout);
}

#[test]
fn a_digest_beside_the_tag_must_be_the_tags() {
    let (scene, loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    let digest = loopback.push("acme/api", &["v1.0.0"], "1.0.0");
    let other = loopback.push("acme/api", &["v2.0.0"], "2.0.0");
    let image = |digest: &str| format!("r.example.com/acme/api:v1.0.0@{digest}");
    assert_eq!(resolve(&scene, &[&image(&digest)]).code, 0);
    let ran = resolve(&scene, &[&image(&other)]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains(&format!("            v1.0.0 is {digest}, not {other}\n")), "{}", ran.stdout);
    assert!(!ran.stdout.contains("pinned"), "{}", ran.stdout);
}

#[test]
fn the_configuration_says_what_may_be_asked_and_how() {
    let (scene, loopback) = (Scene::new(&[]), Loopback::new());
    let image = format!("localhost:{}/acme/api:v1.0.0", loopback.registry.port());
    let entry = |further: &str| format!("registries:\n  - host: localhost:{}\n{further}", loopback.registry.port());
    scene.write("ca.crt", loopback.registry.authority().as_bytes());
    let ca = format!("    ca: {}\n", shown(&scene.path().join("ca.crt")));
    let reason = |config: &str| {
        scene.write("config.yaml", config.as_bytes());
        let json = json(&scene, &[&image]);
        json["images"][0]["finding"]["reason"].as_str().unwrap_or("resolved").to_owned()
    };
    // The host that was typed counts as named; its address is one of this machine, and its authority a private one.
    assert_eq!(reason("{}"), "unreachable");
    assert_eq!(loopback.registry.requests(), 0);
    assert_eq!(reason(&entry("    private: true\n")), "tls");
    assert_eq!(reason(&entry(&ca)), "unreachable");
    assert_eq!(reason(&entry(&format!("    private: true\n{ca}"))), "resolved");

    let broken = resolve(&scene, &["--config", "nowhere.yaml", &image]);
    assert_eq!((broken.code, broken.stdout.as_str()), (2, ""));
}

#[test]
fn the_callers_own_credentials_are_used() {
    let (scene, loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    loopback.registry.require_login("acme/api", "jane", "secret");
    let image = "r.example.com/acme/api:v1.0.0";
    let ran = resolve(&scene, &[image]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("finding     TW901 unauthorized\n"), "{}", ran.stdout);
    scene.write(".docker/config.json", b"{\"auths\": {\"r.example.com\": {\"auth\": \"amFuZTpzZWNyZXQ=\"}}}");
    let ran = resolve(&scene, &[image]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("asked as    your docker configuration\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("secret"));
}
