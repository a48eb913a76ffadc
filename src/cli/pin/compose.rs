//! Images of Compose files: `services.*.image`.

use super::spot::{Reason, Spot, Target};
use crate::document::{Node, Value};

/// Whether a file is one of Compose by its name: `compose.yaml`, `compose.prod.yaml`, `docker-compose.yml`.
pub(super) fn is_named(name: &str) -> bool {
    let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
    yaml && ["compose.", "docker-compose.", "docker-compose-", "compose-"].iter().any(|begin| name.starts_with(begin))
}

/// Whether a map without a kind is a Compose file by what it holds: services that are built, or have an image as text.
pub(super) fn looks_like(root: &Node) -> bool {
    services(root)
        .any(|service| service.get("build").is_some() || service.get("image").and_then(Node::as_str).is_some())
}

/// Takes the images of the services.
pub(super) fn spots(text: &str, root: &Node, spots: &mut Vec<Spot>) {
    for service in services(root) {
        let Some(node) = service.get("image") else { continue };
        let Some(image) = node.as_str() else {
            let target = Target::Unknown(Reason::new(format!("'image' is {}", node.describe()), "write it as text"));
            spots.push(Spot { place: node.span.clone(), image: String::new(), target });
            continue;
        };
        let target = if service.get("build").is_some() {
            Target::Left("it is the name of what is built here".into())
        } else if image.contains('$') {
            let help = "write the image without variables, or the digest into the variable's value";
            Target::Unknown(Reason::new("it holds a variable, which the environment fills in", help))
        } else {
            spots.push(Spot::whole(text, node));
            continue;
        };
        spots.push(Spot { place: node.span.clone(), image: image.to_owned(), target });
    }
}

fn services(root: &Node) -> impl Iterator<Item = &Node> {
    let entries = match root.get("services").map(|services| &services.value) {
        Some(Value::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().map(|entry| &entry.value)
}
