//! `release verify --cluster` and `release snapshot` against a scripted API server: what runs, changed behind the release.

use serde_json::{Value, json};

use crate::cli_check_cluster::{Script, list, metadata, template};
use crate::cli_release_verify::{digest, release};
use crate::cli_support::{Ran, Scene};

const API: &str = "r.example.com/acme/api:v1.0.0";
const WEB: &str = "r.example.com/acme/web:v2.0.0";
const JOB: &str = "r.example.com/acme/job:v3.0.0";

/// A Pod of a ReplicaSet, which runs this digest.
fn pod(name: &str, owner: &str, image: &str, letter: char) -> Value {
    json!({"metadata": metadata("shop", name, Some(("ReplicaSet", owner))),
        "spec": {"containers": [{"name": "main", "image": image}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "main", "imageID": format!("x@{}", digest(letter))}]}})
}

/// Deployments of the release, each with one Pod; of `api` with these Pods, and with this image.
fn shop(api: &str, pods: &[char]) -> Script {
    let workloads = [("api", api), ("web", WEB), ("job", JOB)];
    let deployments: Vec<Value> = workloads.iter().map(|(name, image)| template("shop", name, None, image)).collect();
    let set = |(name, image): &(&str, &str)| template("shop", &format!("{name}-1"), Some(("Deployment", name)), image);
    let sets: Vec<Value> = workloads.iter().map(set).collect();
    let of_api = pods.iter().enumerate().map(|(at, letter)| pod(&format!("api-1-{at}"), "api-1", api, *letter));
    let others = [pod("web-1-x", "web-1", WEB, 'b'), pod("job-1-x", "job-1", JOB, 'e')];
    Script::of(&["shop"])
        .with("/apis/apps/v1/deployments", list(&deployments))
        .with("/apis/apps/v1/replicasets", list(&sets))
        .with("/api/v1/pods", list(&of_api.chain(others).collect::<Vec<_>>()))
}

/// Facts by which the tag of `job` is what runs of it.
fn scene() -> Scene {
    let facts = format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/acme/job: {{tags: {{v3.0.0: '{}'}}}}\n",
        digest('e')
    );
    Scene::new(&[("r.yaml", &release()), ("facts.yaml", &facts)])
}

async fn verify(script: Script, arguments: &[&str]) -> Ran {
    let common = ["release", "verify", "--cluster", "--facts", "facts.yaml", "r.yaml"];
    script.run_of(&scene(), &[&common, arguments].concat()).await.0
}

async fn snapshot(script: Script, scene: &Scene, arguments: &[&str]) -> Ran {
    script.run_of(scene, &[&["release", "snapshot", "--cluster"], arguments].concat()).await.0
}

#[tokio::test]
async fn what_runs_is_the_release_by_its_digest_or_by_that_of_a_platform() {
    for pods in [&['a'][..], &['a', 'c']] {
        let ran = verify(shop(API, pods), &[]).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
        assert!(ran.stdout.ends_with(": 3 objects, 3 images: 3 equal\n"), "{}", ran.stdout);
    }
}

#[tokio::test]
async fn a_workload_that_was_changed_behind_it_is_named_with_its_owner() {
    let a = digest('a');
    for (image, pods) in [("r.example.com/acme/api:v1.0.1", &['d'][..]), (API, &['d']), (API, &['a', 'd'])] {
        let ran = verify(shop(image, pods), &[]).await;
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        let told = format!(
            "different  {image}\n           Deployment shop/api, container \"main\"\n           \
             the release has r.example.com/acme/api:v1.0.0@{a}\n"
        );
        assert!(ran.stdout.starts_with(&told), "{}", ran.stdout);
    }
    let json = verify(shop(API, &['d']), &["--format", "json"]).await.json();
    assert_eq!((&json["images"][0]["runs"], &json["images"][0]["file"]), (&json!([digest('d')]), &Value::Null));
    let extra = verify(shop("r.example.com/acme/other:v1.0.0", &['d']), &[]).await;
    assert!(extra.code == 1 && extra.stdout.contains("1 extra, 1 missing"), "{}", extra.stdout);
    // Its Pods are not made yet: the template is what there is.
    let template_alone = verify(shop("r.example.com/acme/api:v1.0.1", &[]), &[]).await;
    assert_eq!(template_alone.code, 1, "{}", template_alone.stdout);
}

#[tokio::test]
async fn a_tag_of_the_release_is_held_against_every_digest_that_runs() {
    let more = |letters: &[char]| {
        let mut pods = vec![pod("api-1-0", "api-1", API, 'a'), pod("web-1-x", "web-1", WEB, 'b')];
        pods.extend(letters.iter().map(|letter| pod(&format!("job-{letter}"), "job-1", JOB, *letter)));
        shop(API, &['a']).with("/api/v1/pods", list(&pods))
    };
    assert_eq!(verify(more(&['e']), &[]).await.code, 0);
    let ran = verify(more(&['e', 'f']), &[]).await;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let told = format!("the release has r.example.com/acme/job:v3.0.0@{}\n", digest('e'));
    assert!(ran.stdout.contains(&told), "{}", ran.stdout);
}

#[tokio::test]
async fn what_cannot_be_listed_leaves_the_answer_open_and_what_must_be_listed_ends_it() {
    let forbidden = json!({"kind": "Status", "code": 403, "message": "it is forbidden"});
    let ran = verify(shop(API, &['a']).answering("/apis/batch/v1/cronjobs", &[(403, forbidden.clone())]), &[]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    let told = "not listed, so that Pods are compared as they are written: CronJob: it is forbidden";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
    for path in ["/api/v1/pods", "/api/v1/namespaces"] {
        let script = || shop(API, &['a']).answering(path, &[(403, forbidden.clone())]);
        for ran in [verify(script(), &[]).await, snapshot(script(), &scene(), &[]).await] {
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{path}: {ran:?}");
            assert!(ran.stderr.contains("it is forbidden"), "{path}: {}", ran.stderr);
        }
    }
}

#[tokio::test]
async fn namespaces_of_the_cluster_itself_are_left_out_unless_they_are_asked_for() {
    let dns = json!({"metadata": metadata("kube-system", "dns", None), "spec": {"containers": [{"name": "main", "image": "dns:v1"}]}});
    let system = || Script::of(&["kube-system"]).with("/api/v1/pods", list(std::slice::from_ref(&dns)));
    let ran = verify(system(), &["--partial"]).await;
    assert!(ran.code == 0 && ran.stdout.starts_with("not looked at: namespace kube-system\n"), "{ran:?}");
    let wrong = verify(Script::of(&[]), &["--partial"]).await;
    assert!(
        wrong.code == 2 && wrong.stderr.contains("the cluster has no namespace: is this the right one?"),
        "{wrong:?}"
    );
    let none = snapshot(system(), &scene(), &[]).await;
    assert_eq!(none.code, 2);
    assert!(none.stderr.ends_with("error: nothing runs there, and a release of no image is none\n"), "{}", none.stderr);
    let mut named =
        Script::of(&[]).with("/api/v1/namespaces/kube-system", json!({"metadata": {"name": "kube-system"}}));
    for path in ["apis/apps/v1", "api/v1"] {
        for plural in ["deployments", "replicasets", "pods"] {
            let items = if (path, plural) == ("api/v1", "pods") { vec![dns.clone()] } else { Vec::new() };
            named = named.with(&format!("/{path}/namespaces/kube-system/{plural}"), list(&items));
        }
    }
    let ran = verify(named, &["-n", "kube-system", "--partial"]).await;
    assert!(ran.code == 1 && ran.stdout.starts_with("extra      dns:v1\n"), "{ran:?}");
}

#[tokio::test]
async fn a_snapshot_is_a_locked_release_of_what_runs() {
    let scene = scene();
    let ran = snapshot(shop(API, &['a', 'a']), &scene, &["--name", "before-the-move"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let id = ran.stdout.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let image = |name: &str, tag: &str, letter| {
        format!("  {name}:\n    repo: r.example.com/acme/{name}\n    tag: {tag}\n    digest: {}\n", digest(letter))
    };
    let images = [image("api", "v1.0.0", 'a'), image("job", "v3.0.0", 'e'), image("web", "v2.0.0", 'b')].concat();
    assert_eq!(ran.stdout, format!("release: before-the-move\nid: {id}\nimages:\n{images}"));
    scene.write("snapshot.yaml", ran.stdout.as_bytes());
    let shown = scene.run(&["release", "show", "--format", "json", "snapshot.yaml"]).json();
    assert_eq!((&shown["locked"], &shown["release"]), (&json!(true), &json!("before-the-move")));
    let facts = format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/acme/api: {{tags: {{v1.0.0: '{}'}}}}\n  \
         r.example.com/acme/web: {{tags: {{v2.0.0: '{}'}}}}\n  r.example.com/acme/job: {{tags: {{v3.0.0: '{}'}}}}\n",
        digest('a'),
        digest('b'),
        digest('e')
    );
    scene.write("all.yaml", facts.as_bytes());
    let check = scene.run(&["release", "lock", "--check", "--facts", "all.yaml", "snapshot.yaml"]);
    assert_eq!(check.code, 0, "{check:?}");
    let (again, _) =
        shop(API, &['a']).run_of(&scene, &["release", "verify", "--cluster", "--offline", "snapshot.yaml"]).await;
    assert_eq!(again.code, 0, "{again:?}");
}

#[tokio::test]
async fn two_versions_of_one_repository_are_no_release() {
    let ran = snapshot(shop(API, &['a', 'd']), &scene(), &[]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_eq!(
        ran.stderr,
        "r.example.com/acme/api runs in 2 versions:\n  v1.0.0 sha256:aaaaaaaaaaaa by Deployment shop/api\n  \
         v1.0.0 sha256:dddddddddddd by Deployment shop/api\n\
         a release has one version of each: finish the rollout, or choose namespaces with -n\n"
    );
    let named = snapshot(shop(API, &['a']), &scene(), &["--name", "a b"]).await;
    assert!(named.code == 2 && named.stderr.contains("a release's name has at most 128 of"), "{named:?}");
    let without = scene().run(&["release", "snapshot"]);
    assert!(without.code == 2 && without.stderr.contains("--cluster"), "{without:?}");
}

#[tokio::test]
async fn a_tag_that_moves_is_left_out_and_a_kind_that_cannot_be_listed_is_told() {
    let forbidden = json!({"kind": "Status", "code": 403, "message": "it is forbidden"});
    let script =
        shop("r.example.com/acme/api:latest", &['a']).answering("/apis/batch/v1/cronjobs", &[(403, forbidden)]);
    let ran = snapshot(script, &scene(), &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr, "note: not looked at: CronJob: it is forbidden\n");
    let api = format!("  api:\n    repo: r.example.com/acme/api\n    digest: {}\n", digest('a'));
    assert!(ran.stdout.contains(&api), "{}", ran.stdout);
}
