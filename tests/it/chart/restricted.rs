//! Pod Security `restricted`, version 1.36, as a function over a PodSpec: what the admission of that level would refuse.
//!
//! After the table "Restricted" of Kubernetes' Pod Security Standards, for Linux.

use serde_json::{Value, json};

/// What is wrong with this PodSpec, one line a control.
pub fn problems(spec: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[host] == true {
            problems.push(format!("{host} is true"));
        }
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        const FINE: [&str; 8] = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        problems
            .extend(kinds.filter(|kind| !FINE.contains(&kind.as_str())).map(|kind| format!("a volume of kind {kind}")));
    }
    let pod = &spec["securityContext"];
    for container in ["initContainers", "containers"].iter().flat_map(|list| spec[list].as_array()).flatten() {
        let own = &container["securityContext"];
        let either = |key: &str| if own[key].is_null() { &pod[key] } else { &own[key] };
        if own["privileged"] == true {
            problems.push("privileged".to_owned());
        }
        if own["allowPrivilegeEscalation"] != false {
            problems.push("allowPrivilegeEscalation is not false".to_owned());
        }
        if own["capabilities"]["drop"].as_array().is_none_or(|drop| !drop.contains(&json!("ALL"))) {
            problems.push("capabilities do not drop ALL".to_owned());
        }
        if own["capabilities"]["add"].as_array().is_some_and(|add| add.iter().any(|one| one != "NET_BIND_SERVICE")) {
            problems.push("capabilities are added".to_owned());
        }
        if either("runAsNonRoot") != true {
            problems.push("runAsNonRoot is not true".to_owned());
        }
        if either("runAsUser") == 0 {
            problems.push("runAsUser is 0".to_owned());
        }
        let seccomp = &either("seccompProfile")["type"];
        if seccomp != "RuntimeDefault" && seccomp != "Localhost" {
            problems.push("seccompProfile is neither RuntimeDefault nor Localhost".to_owned());
        }
        if container["ports"].as_array().into_iter().flatten().any(|port| port["hostPort"].as_u64().unwrap_or(0) != 0) {
            problems.push("a hostPort".to_owned());
        }
    }
    problems
}

mod tests {
    use super::problems;
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            "volumes": [{"name": "x", "configMap": {"name": "x"}}],
        })
    }

    #[test]
    fn each_control_refuses_what_breaks_it() {
        assert_eq!(problems(&good()), Vec::<String>::new());
        for (pointer, value) in [
            ("/securityContext/runAsNonRoot", json!(false)),
            ("/securityContext/runAsUser", json!(0)),
            ("/securityContext/seccompProfile/type", json!("Unconfined")),
            ("/containers/0/securityContext/allowPrivilegeEscalation", json!(null)),
            ("/containers/0/securityContext/capabilities/drop", json!(["NET_RAW"])),
            ("/containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"])),
            ("/containers/0/securityContext/privileged", json!(true)),
            ("/containers/0/ports", json!([{"hostPort": 80}])),
            ("/volumes/0", json!({"name": "x", "hostPath": {"path": "/"}})),
            ("/hostNetwork", json!(true)),
        ] {
            let mut spec = good();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match spec.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.insert(key.to_owned(), value)),
                list => list[0] = value,
            }
            assert_eq!(problems(&spec).len(), 1, "{pointer}: {:?}", problems(&spec));
        }
    }
}
