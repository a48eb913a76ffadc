//! Tests of the table, of configured kinds and of the update rules.

use super::walk::MAX_ENTRIES;
use super::{Collected, WorkloadKind, Workloads, changes};
use crate::policy::List;
use crate::review::testing::{container, pod};
use proptest::prelude::*;
use serde_json::{Value, json};

/// `field=image` of everything that is to be judged.
fn judged(collected: &Collected<'_>) -> Vec<String> {
    collected.images().iter().map(|image| format!("{}={}", image.field, image.image)).collect()
}

fn created(workloads: &Workloads, group: &str, kind: &str, object: &Value) -> (Vec<String>, Vec<String>) {
    let object = object.to_string();
    let collected = workloads.read_object(group, kind, &object, None);
    (judged(&collected), collected.warnings.clone())
}

fn updated(workloads: &Workloads, group: &str, kind: &str, old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (old.to_string(), new.to_string());
    judged(&workloads.read_object(group, kind, &new, Some(&old)))
}

fn pod_updated(old: Vec<Value>, new: Vec<Value>) -> Vec<String> {
    updated(&Workloads::default(), "", "Pod", &pod(old), &pod(new))
}

fn configured(group: &str, kind: &str, paths: &[&str]) -> Workloads {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Workloads::new(vec![WorkloadKind { group: group.to_owned(), kind: kind.to_owned(), paths }]).unwrap()
}

/// A PodSpec with an image in each of the four places, and in some that are none.
fn full_spec() -> Value {
    json!({
        "nodeName": "n1",
        "imagePullSecrets": [{"name": "image"}],
        "initContainers": [container("setup", "i:1"), {"name": "sidecar", "image": "s:1", "restartPolicy": "Always"}],
        "containers": [container("app", "a:1"), {"image": "n:1"}],
        "ephemeralContainers": [container("debugger", "e:1")],
        "volumes": [
            {"name": "block", "rbd": {"image": "rbd:1", "monitors": []}},
            {"name": "data", "image": {"pullPolicy": "Always", "reference": "v:1"}},
            {"name": "scratch", "emptyDir": {}, "image": null},
        ],
    })
}

/// Where all of [`full_spec`] is, under a PodSpec's path.
fn full_spec_at(spec: &str) -> Vec<String> {
    [
        "containers[0].image=a:1",
        "containers[1].image=n:1",
        "ephemeralContainers[0].image=e:1",
        "initContainers[0].image=i:1",
        "initContainers[1].image=s:1",
        "volumes[1].image.reference=v:1",
    ]
    .map(|place| format!("{spec}.{place}"))
    .to_vec()
}

#[test]
fn row_23_25_42_the_four_places_of_a_pod_and_nothing_else() {
    let status = json!({"containerStatuses": [{"name": "app", "image": "status:1", "imageID": "x"}]});
    let object = json!({"spec": full_spec(), "status": status, "image": "no:1"});
    let (images, warnings) = created(&Workloads::default(), "", "Pod", &object);
    assert_eq!(images, full_spec_at("spec"));
    assert!(warnings.is_empty());

    let object = object.to_string();
    let collected = Workloads::default().read_object("", "Pod", &object, None);
    let named: Vec<_> = collected.images().iter().map(|image| (image.list, image.container)).collect();
    assert!(named.contains(&(List::InitContainers, Some("sidecar"))));
    assert!(named.contains(&(List::Volumes, Some("data"))));
    assert!(named.contains(&(List::Containers, None)));
}

#[test]
fn row_26_every_built_in_kind_at_its_path() {
    let template = json!({"spec": {"template": {"metadata": {}, "spec": full_spec()}}});
    let cron_job = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": full_spec()}}}}});
    for (group, kind, object, spec) in [
        ("", "Pod", json!({"spec": full_spec()}), "spec"),
        ("apps", "Deployment", template.clone(), "spec.template.spec"),
        ("apps", "StatefulSet", template.clone(), "spec.template.spec"),
        ("apps", "DaemonSet", template.clone(), "spec.template.spec"),
        ("apps", "ReplicaSet", template.clone(), "spec.template.spec"),
        ("", "ReplicationController", template.clone(), "spec.template.spec"),
        ("batch", "Job", template, "spec.template.spec"),
        ("", "PodTemplate", json!({"template": {"spec": full_spec()}}), "template.spec"),
        ("batch", "CronJob", cron_job, "spec.jobTemplate.spec.template.spec"),
    ] {
        assert_eq!(created(&Workloads::default(), group, kind, &object).0, full_spec_at(spec), "{kind}");
        assert!(Workloads::default().knows(group, kind));
    }
    for (group, kind) in [("apps", "Pod"), ("", "Deployment"), ("batch", "Cronjob"), ("", "Binding")] {
        assert!(!Workloads::default().knows(group, kind), "{group} {kind}");
    }
}

#[test]
fn row_16_null_is_absent_and_unknown_fields_are_skipped() {
    let (images, _) = created(
        &Workloads::default(),
        "",
        "Pod",
        &json!({"spec": {"containers": null, "initContainers": [null], "volumes": [], "later": [{"image": "x"}],
            "ephemeralContainers": [{"name": "d", "image": "e:1", "later": {"image": "y"}}]}}),
    );
    assert_eq!(images, ["spec.ephemeralContainers[0].image=e:1"]);
    for object in [json!({}), json!({"spec": null}), json!({"spec": {}})] {
        assert!(created(&Workloads::default(), "", "Pod", &object).0.is_empty(), "{object}");
    }
}

#[test]
fn images_with_escapes_are_read() {
    let collected = Workloads::default().read_object(
        "",
        "Pod",
        r#"{"sp\u0065c":{"containers":[{"im\u0061ge":"a\u003a1","name":"\u0078"}]}}"#,
        None,
    );
    assert_eq!(judged(&collected), ["spec.containers[0].image=a:1"]);
    assert_eq!(collected.images()[0].container, Some("x"));
}

#[test]
fn what_is_no_image_is_never_passed_over() {
    for (object, expected) in [
        (json!({"spec": "x"}), "spec=<a string>"),
        (json!({"spec": [1]}), "spec=<a list>"),
        (json!({"spec": {"template": 1}}), "spec.template=<a number>"),
        (json!({"spec": {"template": {"spec": true}}}), "spec.template.spec=<a boolean>"),
        (json!({"spec": {"template": {"spec": "x"}}}), "spec.template.spec=x"),
        (
            json!({"spec": {"template": {"spec": {"containers": {"a": 1}}}}}),
            "spec.template.spec.containers=<an object>",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": ["x"]}}}}),
            "spec.template.spec.containers[0].image=<a string>",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"image": ["x"]}]}}}}),
            "spec.template.spec.containers[0].image=<a list>",
        ),
        (
            json!({"spec": {"template": {"spec": {"volumes": [{"image": 1.5}]}}}}),
            "spec.template.spec.volumes[0].image.reference=<a number>",
        ),
        (
            json!({"spec": {"template": {"spec": {"volumes": [{"image": {"reference": -1}}]}}}}),
            "spec.template.spec.volumes[0].image.reference=<a number>",
        ),
    ] {
        let text = object.to_string();
        let collected = Workloads::default().read_object("apps", "Deployment", &text, None);
        assert_eq!(judged(&collected), [expected], "{object}");
        let is_text = expected.ends_with("=x");
        assert_eq!(collected.images()[0].reference.is_ok(), is_text, "{object}");
    }
    // Half a surrogate pair survives a scan that does not decode; so does a number beyond all range.
    for object in
        [r#"{"spec":{"containers":[{"image":"\ud800"}]}}"#, r#"{"spec":{"containers":[{"image":1e999}]}}"#, "[]", "{"]
    {
        let collected = Workloads::default().read_object("", "Pod", object, None);
        assert_eq!(collected.judged(), 1, "{object}");
        assert!(collected.images()[0].reference.is_err(), "{object}");
    }
}

#[test]
fn row_41_44_configured_paths_reach_images_and_pod_specs() {
    for (kind, path, object, expected) in [
        ("ImagePullJob", "spec.image", json!({"spec": {"image": "p:1"}}), "spec.image=p:1"),
        (
            "Workflow",
            "spec.templates[].container.image",
            json!({"spec": {"templates": [{"dag": {}}, {"container": {"image": "w:1"}}]}}),
            "spec.templates[1].container.image=w:1",
        ),
        (
            "Pipeline",
            "spec.tasks[].steps[].image",
            json!({"spec": {"tasks": [{"steps": null}, {"steps": [{}, {"image": "t:1"}]}]}}),
            "spec.tasks[1].steps[1].image=t:1",
        ),
        (
            "JobSet",
            "spec.replicatedJobs[].template.spec.template.spec",
            json!({"spec": {"replicatedJobs": [{"template": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j:1"}]}}}}}]}}),
            "spec.replicatedJobs[0].template.spec.template.spec.containers[0].image=j:1",
        ),
        (
            "Thing",
            "metadata.annotations[\"example.com/image\"]",
            json!({"metadata": {"annotations": {"example.com/image": "n:1", "image": "x"}}}),
            "metadata.annotations[\"example.com/image\"]=n:1",
        ),
    ] {
        let workloads = configured("example.com", kind, &[path]);
        assert_eq!(created(&workloads, "example.com", kind, &object).0, [expected], "{kind}");
        assert!(created(&Workloads::default(), "example.com", kind, &object).0.is_empty());
        assert!(
            created(&workloads, "example.com", kind, &json!({"spec": {}})).0.is_empty(),
            "missing fields yield nothing"
        );
    }
}

#[test]
fn row_44_a_configured_path_adds_to_a_built_in_kind() {
    let workloads = configured("", "Pod", &["spec.volumes[].csi.volumeAttributes.image", "spec"]);
    let object = json!({"spec": {
        "containers": [container("app", "a:1")],
        "volumes": [{"name": "x", "emptyDir": {}}, {"name": "y", "csi": {"driver": "d", "volumeAttributes": {"image": "csi:1"}}}],
    }});
    let (images, _) = created(&workloads, "", "Pod", &object);
    assert_eq!(images, ["spec.containers[0].image=a:1", "spec.volumes[1].csi.volumeAttributes.image=csi:1"]);
}

#[test]
fn a_configured_path_that_meets_another_type_says_so() {
    let workloads = configured("example.com", "Thing", &["spec.items[].image"]);
    for (object, expected) in [
        (json!({"spec": {"items": {"image": "x"}}}), "spec.items=<an object>"),
        (json!({"spec": {"items": "x"}}), "spec.items=<a string>"),
        (json!({"spec": {"items": [{"image": "ok:1"}, 3]}}), "spec.items[1]=<a number>"),
        (json!({"spec": {"items": [{"image": [1, [2]]}]}}), "spec.items[0].image=<a list>"),
    ] {
        let (images, _) = created(&workloads, "example.com", "Thing", &object);
        assert_eq!(images.last().map(String::as_str), Some(expected), "{object}");
    }
}

#[test]
fn paths_that_are_none_are_reported_with_their_entry() {
    let entry = |kind: &str, paths: &[&str]| WorkloadKind {
        group: "example.com".to_owned(),
        kind: kind.to_owned(),
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    let fine = entry("Fine", &["spec.image"]);
    for (bad, reason) in [
        (entry("", &["spec.image"]), "kind is empty"),
        (entry("Thing", &[]), "has no paths"),
        (entry("Thing", &["spec.image", "spec..image"]), "an empty key at byte 5 of \"spec..image\""),
    ] {
        let (index, message) = Workloads::new(vec![fine.clone(), bad]).unwrap_err();
        assert_eq!(index, 1);
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn row_41_what_is_blank_or_an_expression_is_deferred_with_a_warning() {
    let workloads = configured("tekton.dev", "Task", &["spec.steps[].image"]);
    let object = json!({"spec": {"steps": [{"image": "$(params.image)"}, {"image": ""}, {"image": "x:1"}]}});
    let (images, warnings) = created(&workloads, "tekton.dev", "Task", &object);
    assert_eq!(images, ["spec.steps[2].image=x:1"]);
    assert_eq!(
        warnings,
        [
            "spec.steps[0].image holds an unresolved $(...); it is judged when its Pod is created",
            "spec.steps[1].image is blank; it is judged when its Pod is created",
        ]
    );

    let spec = json!({"containers": [{"name": "a", "image": "$(IMAGE)"}, {"name": "b"}, {"name": "c", "image": ""}]});
    let (images, warnings) =
        created(&Workloads::default(), "batch", "Job", &json!({"spec": {"template": {"spec": spec}}}));
    assert_eq!(images, ["spec.template.spec.containers[0].image=$(IMAGE)"]);
    assert_eq!(warnings.len(), 2);

    let (images, warnings) = created(&Workloads::default(), "", "Pod", &json!({"spec": spec}));
    assert_eq!(images.len(), 3);
    assert!(warnings.is_empty());
}

#[test]
fn row_29_unchanged_images_are_not_judged() {
    let containers = || vec![container("a", "bad"), container("b", "worse:latest")];
    assert!(pod_updated(containers(), containers()).is_empty());
    let reordered = vec![container("b", "worse:latest"), container("a", "bad")];
    assert!(pod_updated(containers(), reordered).is_empty());
    assert!(pod_updated(containers(), vec![container("b", "worse:latest")]).is_empty(), "one was removed");
}

#[test]
fn row_30_the_one_changed_image_is_judged_alone() {
    let old = vec![container("a", "a:1"), container("b", "b:1")];
    assert_eq!(
        pod_updated(old.clone(), vec![container("a", "a:1"), container("b", "b:2")]),
        ["spec.containers[1].image=b:2"]
    );
    let added = vec![container("new", "n:1"), container("a", "a:1"), container("b", "b:1")];
    assert_eq!(pod_updated(old.clone(), added), ["spec.containers[0].image=n:1"]);
    let renamed = vec![container("c", "a:1"), container("b", "b:1")];
    assert_eq!(pod_updated(old, renamed), ["spec.containers[0].image=a:1"]);
}

#[test]
fn row_30_moving_an_image_to_another_list_is_a_change() {
    let old = json!({"spec": {"containers": [container("a", "a:1"), container("b", "b:1")]}});
    let new = json!({"spec": {"containers": [container("a", "a:1")], "initContainers": [container("b", "b:1")]}});
    assert_eq!(updated(&Workloads::default(), "", "Pod", &old, &new), ["spec.initContainers[0].image=b:1"]);
}

#[test]
fn row_31_swapped_images_are_both_judged() {
    let old = vec![container("a", "a:1"), container("b", "b:1")];
    let swapped = vec![container("a", "b:1"), container("b", "a:1")];
    assert_eq!(pod_updated(old, swapped), ["spec.containers[0].image=b:1", "spec.containers[1].image=a:1"]);
}

#[test]
fn lists_without_unique_names_compare_by_position_and_as_a_whole() {
    let unnamed = |image: &str| json!({"image": image});
    for (old, new, judged) in [
        (vec![unnamed("a:1"), unnamed("b:1")], vec![unnamed("a:1"), unnamed("b:1")], 0),
        (vec![unnamed("a:1"), unnamed("b:1")], vec![unnamed("a:1"), unnamed("b:2")], 2),
        (vec![unnamed("a:1"), unnamed("b:1")], vec![unnamed("b:1"), unnamed("a:1")], 2),
        (vec![unnamed("a:1"), unnamed("b:1")], vec![unnamed("a:1")], 1),
        (vec![container("a", "a:1"), container("a", "b:1")], vec![container("a", "b:1")], 1),
        (vec![container("a", "a:1")], vec![container("a", "a:1"), container("a", "a:1")], 2),
        (vec![json!({"name": 1, "image": "a:1"})], vec![json!({"name": 2, "image": "a:1"})], 0),
    ] {
        assert_eq!(pod_updated(old.clone(), new.clone()).len(), judged, "{old:?} {new:?}");
    }
}

#[test]
fn updates_of_configured_kinds_compare_strings_by_position() {
    let workloads = configured("tekton.dev", "Task", &["spec.steps[].image"]);
    let task = |images: &[&str]| json!({"spec": {"steps": images.iter().map(|image| json!({"image": image})).collect::<Vec<_>>()}});
    let changed = |old: &[&str], new: &[&str]| updated(&workloads, "tekton.dev", "Task", &task(old), &task(new));
    assert!(changed(&["a", "b"], &["a", "b"]).is_empty());
    assert!(changed(&["a", "b"], &["a"]).is_empty());
    assert_eq!(changed(&["a", "b"], &["a", "c"]), ["spec.steps[1].image=c"]);
    assert_eq!(changed(&["a", "b"], &["b", "a"]).len(), 2);
}

#[test]
fn a_value_of_a_wrong_type_is_unchanged_only_where_all_around_it_is() {
    let thing = |items: Value, labels: &str| json!({"metadata": {"labels": {"a": labels}}, "spec": {"items": items}});
    let workloads = configured("example.com", "Thing", &["spec.items[].image"]);
    let changed = |old: &Value, new: &Value| updated(&workloads, "example.com", "Thing", old, new).len();
    let wrong = json!({"a": {"image": "x:1"}});
    assert_eq!(changed(&thing(wrong.clone(), "1"), &thing(wrong.clone(), "2")), 0);
    assert_eq!(changed(&thing(wrong, "1"), &thing(json!({"a": {"image": "x:2"}}), "1")), 1);
}

#[test]
fn row_29_unchanged_blank_images_are_not_warned_of_again() {
    let object = json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}).to_string();
    let collected = Workloads::default().read_object("apps", "Deployment", &object, Some(&object));
    assert_eq!((collected.judged(), collected.unchanged, collected.deferred), (0, 1, 0));
    assert!(collected.warnings.is_empty());
}

#[test]
fn an_update_without_an_old_object_is_judged_whole() {
    let object = pod(vec![container("a", "a:1")]).to_string();
    assert_eq!(Workloads::default().read_object("", "Pod", &object, None).judged(), 1);
    assert_eq!(Workloads::default().read_object("", "Pod", &object, Some("null")).judged(), 1);
}

#[test]
fn ten_thousand_containers_are_compared() {
    let containers = |tag: usize| {
        (0..10_000)
            .map(|i| container(&format!("c{i}"), &format!("a:{}", if i == 77 { tag } else { 0 })))
            .collect::<Vec<_>>()
    };
    let mut reversed = containers(1);
    reversed.reverse();
    assert_eq!(pod_updated(containers(0), reversed), ["spec.containers[9922].image=a:1"]);
}

/// Asked for each value anew, it would read two objects of a mebibyte five thousand times.
#[test]
fn wrong_values_are_compared_in_linear_time() {
    let padding = "x".repeat(1 << 20);
    let object = |containers: usize| {
        let containers = vec!["1"; containers].join(",");
        format!(r#"{{"padding":"{padding}","spec":{{"containers":[{containers}]}}}}"#)
    };
    let mut asked = 0;
    let (new, old) = (object(5000), object(4999));
    let workloads = Workloads::default();
    let (found_new, found_old) = (workloads.found("", "Pod", &new), workloads.found("", "Pod", &old));
    let changed = changes::changed(&found_new, &found_old, |_| {
        asked += 1;
        false
    });
    assert_eq!((changed, asked), (vec![true; 5000], 1));
}

#[test]
fn row_68_what_is_kept_of_an_object_is_bounded_and_the_rest_is_never_let_in() {
    let many = |element: &str| vec![element; MAX_ENTRIES + 1000].join(",");
    let workloads = configured("example.com", "Thing", &["spec.pods[]", "spec.images[]"]);
    for spec in [
        format!(r#"{{"pods":[{{"containers":[{}]}}]}}"#, many("1")),
        format!(r#"{{"pods":[{{"containers":[{}]}}]}}"#, many("{}")),
        format!(r#"{{"pods":[{}]}}"#, many("{}")),
        format!(r#"{{"images":[{}]}}"#, many(r#""a:1""#)),
    ] {
        let object = |labels: &str| format!(r#"{{"metadata":{{"a":"{labels}"}},"spec":{spec}}}"#);
        let (old, new) = (object("1"), object("2"));
        let found = workloads.found("example.com", "Thing", &new);
        assert!(found.entries.len() <= MAX_ENTRIES + 1 && found.places.len() <= MAX_ENTRIES + 1001);
        let created = workloads.read_object("example.com", "Thing", &new, None);
        assert!(created.images().last().is_some_and(|image| image.reference.is_err()), "{}", &new[..60]);
        let relabelled = workloads.read_object("example.com", "Thing", &new, Some(&old));
        assert_eq!((relabelled.judged(), relabelled.deferred), (0, 0), "unchanged as a whole");
    }
}

proptest! {
    #[test]
    fn row_17_any_text_is_read_without_a_panic(object in ".{0,200}", old in ".{0,60}") {
        let workloads = configured("example.com", "Thing", &["spec.items[].image", "spec"]);
        let _ = workloads.read_object("", "Pod", &object, Some(&old)).images();
        let _ = workloads.read_object("example.com", "Thing", &object, None).images();
    }

    #[test]
    fn row_30_what_is_judged_is_what_differs(old in images(), new in images()) {
        let list = |images: &[String]| images.iter().enumerate().map(|(i, image)| container(&format!("c{i}"), image)).collect::<Vec<_>>();
        let expected: Vec<String> = new
            .iter()
            .enumerate()
            .filter(|(i, image)| old.get(*i) != Some(*image))
            .map(|(i, image)| format!("spec.containers[{i}].image={image}"))
            .collect();
        prop_assert_eq!(pod_updated(list(&old), list(&new)), expected);
    }
}

fn images() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[ab]:[12]", 0..6)
}
