//! The first evening: install with default values, look, test, enforce, change, roll back, remove.

use crate::Bed;

pub fn first_install_blocks_nothing(bed: &Bed) {
    let pod = bed.cluster.namespace("first", &serde_json::json!({}));
    pod.run(&["run", "x", "--image", bed.cluster.running_image()]).accepted();
    pod.run(&["wait", "--for=condition=Ready", "pod/x", "--timeout=60s"]).accepted();
}
