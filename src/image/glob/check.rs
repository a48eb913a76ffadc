//! What can be wrong with a glob over image names, and what to write instead.

use super::super::host::{self, HostKind};
use super::super::{Reference, grammar};
use super::{ANY, GlobError, ImageGlob};

const WRITE_ANY: &str = "write \"**\" for any image";

/// A [`GlobError`] in the making: its remedy is not yet proven to be a glob.
pub(super) struct Wrong {
    position: usize,
    message: String,
    remedy: Remedy,
}

enum Remedy {
    Unknown,
    /// Advice, as it stands.
    Say(&'static str),
    /// A text that may do instead.
    Write(String),
}

impl Wrong {
    pub(super) fn new(position: usize, message: impl Into<String>) -> Self {
        Wrong { position, message: message.into(), remedy: Remedy::Unknown }
    }

    fn say(self, advice: &'static str) -> Self {
        Wrong { remedy: Remedy::Say(advice), ..self }
    }

    fn write(self, text: impl Into<String>) -> Self {
        Wrong { remedy: Remedy::Write(text.into()), ..self }
    }

    /// Follows the remedy, and the remedy's own if it has one, until a glob comes out.
    pub(super) fn prove(self) -> GlobError {
        let mut remedy = self.remedy;
        // No text has more than these slips: white space, scheme, upper case, port, alias, missing `library/`.
        for _ in 0..6 {
            match remedy {
                Remedy::Unknown => break,
                Remedy::Say(advice) => return GlobError::new(self.position, self.message, Some(advice.to_owned())),
                Remedy::Write(text) => match ImageGlob::read(&text) {
                    Ok(_) => return GlobError::new(self.position, self.message, Some(format!("write {text}"))),
                    Err(wrong) => remedy = wrong.remedy,
                },
            }
        }
        GlobError::new(self.position, self.message, None)
    }
}

/// What stands in the way of reading host and path at all.
pub(super) fn check_characters(text: &str) -> Result<(), Wrong> {
    if text.is_empty() {
        return Err(Wrong::new(0, "an image glob may not be empty").say(WRITE_ANY));
    }
    if text == "*" {
        return Err(Wrong::new(0, "`*` is one segment of a path, and the registry's host is missing").say(WRITE_ANY));
    }
    if let Some(scheme) = text.find("://") {
        return Err(Wrong::new(scheme, "an image glob has no scheme").write(&text[scheme + 3..]));
    }
    let foreign = |&(_, character): &(usize, char)| !character.is_ascii() || character <= ' ' || character == '\x7f';
    if let Some((position, character)) = text.char_indices().find(foreign) {
        return Err(Wrong::new(position, format!("no image name holds {character:?}")).write(text.trim()));
    }
    Ok(())
}

/// Checks the host and returns where it ends.
pub(super) fn check_host(text: &str) -> Result<usize, Wrong> {
    let Some(end) = text.find('/') else {
        return Err(without_host(text));
    };
    let (registry, rest) = text.split_at(end);
    if registry == ANY {
        let advice = "write \"**\" alone for any image, or write the host out";
        return Err(Wrong::new(0, "`**` may not stand for a registry's host").say(advice));
    }
    let is_host = registry.contains(['.', ':', '[', '@']) || matches!(registry, "localhost" | "*" | "");
    if !is_host {
        return Err(without_host(text));
    }
    if let Some(upper) = registry.bytes().position(|byte| byte.is_ascii_uppercase()) {
        return Err(Wrong::new(upper, "a host is written in lower case").write(text.to_ascii_lowercase()));
    }
    let (name, port) = host::split_port(registry);
    check_name(name)?;
    if let Some(port) = port {
        check_port(name, port, rest)?;
    }
    let canonical = host::canonical(registry);
    if canonical != registry {
        let message = match &*canonical {
            "docker.io" => "policies know Docker Hub as docker.io".to_owned(),
            canonical => format!("the canonical spelling of this host is {canonical}"),
        };
        return Err(Wrong::new(0, message).write(format!("{canonical}{rest}")));
    }
    Ok(end)
}

fn check_port(name: &str, port: &str, rest: &str) -> Result<(), Wrong> {
    let position = name.len() + 1;
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::new(position, "a port is one or more digits").say("write host:port/path, or host/path"));
    }
    if !host::is_port(port) {
        return Err(Wrong::new(position, "a port is a number from 1 to 65535"));
    }
    if port == "443" {
        return Err(Wrong::new(position, "no port means 443, so 443 is not written").write(format!("{name}{rest}")));
    }
    Ok(())
}

/// Checks the labels, or the address, of a lower-case host.
fn check_name(name: &str) -> Result<(), Wrong> {
    if !name.starts_with('[') {
        check_labels(name)?;
    }
    match host::kind(name) {
        HostKind::Name | HostKind::Localhost => Ok(()),
        HostKind::Ip(address) if !host::is_forbidden(address) => Ok(()),
        HostKind::Ip(_) => Err(Wrong::new(0, "this address is never admitted as a registry")),
        HostKind::BadBracket => Err(Wrong::new(0, "brackets hold an IPv6 address")),
        HostKind::Numeric => {
            let message = "a host that ends in a number is taken for an IP address and never admitted";
            Err(Wrong::new(name.rfind('.').map_or(0, |dot| dot + 1), message))
        }
    }
}

fn check_labels(name: &str) -> Result<(), Wrong> {
    let labels = name.split('.').count();
    let mut position = 0;
    for (index, label) in name.split('.').enumerate() {
        check_label(label, position)?;
        if label == "*" && index + 2 >= labels {
            let message = "`*` may not stand for one of the last two labels of a host";
            let advice = "write the last two labels out, as in *.example.com";
            return Err(Wrong::new(position, message).say(advice));
        }
        position += label.len() + 1;
    }
    Ok(())
}

fn check_label(label: &str, position: usize) -> Result<(), Wrong> {
    if label == "*" {
        return Ok(());
    }
    if label.is_empty() {
        return Err(Wrong::new(position, "a label of the host is empty"));
    }
    if let Some(star) = label.find('*') {
        return Err(Wrong::new(position + star, "`*` in a host stands for one whole label"));
    }
    if let Some(wrong) = label.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'-') {
        let message = format!("no host holds '{}'", char::from(label.as_bytes()[wrong]));
        return Err(Wrong::new(position + wrong, message));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(Wrong::new(position, "a label of a host neither begins nor ends with '-'"));
    }
    Ok(())
}

/// The error for a glob whose first component is no host.
fn without_host(text: &str) -> Wrong {
    let wrong = Wrong::new(0, "an image glob begins with the registry's host and a '/'");
    let has_slash = text.contains('/');
    if has_slash {
        wrong.write(format!("docker.io/{text}"))
    } else if host::split_port(text).0.contains('.') {
        wrong.write(format!("{text}/**"))
    } else {
        wrong.write(format!("docker.io/library/{text}"))
    }
}

/// Checks the segments between the slash at `host_end` and `path_end`.
pub(super) fn check_path(text: &str, host_end: usize, path_end: usize) -> Result<(), Wrong> {
    let path = &text[host_end + 1..path_end];
    let mut position = host_end + 1;
    for segment in path.split('/') {
        check_segment(text, segment, position)?;
        position += segment.len() + 1;
    }
    if &text[..host_end] == "docker.io" && path != ANY && !path.contains('/') {
        let message = "an image of one component on Docker Hub is named docker.io/library/...";
        return Err(Wrong::new(host_end + 1, message).write(format!("docker.io/library/{}", &text[host_end + 1..])));
    }
    Ok(())
}

fn check_segment(text: &str, segment: &str, position: usize) -> Result<(), Wrong> {
    if segment.is_empty() {
        return Err(Wrong::new(position, "a segment of the path is empty").write(format!("{}**", &text[..position])));
    }
    if segment == ANY {
        return Ok(());
    }
    if let Some(stars) = segment.find(ANY) {
        let message = "`**` stands alone between slashes; within a segment write one `*`";
        return Err(Wrong::new(position + stars, message));
    }
    if let Some(upper) = segment.bytes().position(|byte| byte.is_ascii_uppercase()) {
        let message = "a repository is written in lower case";
        return Err(Wrong::new(position + upper, message).write(text.to_ascii_lowercase()));
    }
    // A letter in place of each `*` is what fits in most places; where it does not fit, nothing does.
    let sample = segment.replace('*', "a");
    let wrong = match grammar::segment(sample.as_bytes(), 0) {
        Ok(read) if read.end == sample.len() => return Ok(()),
        Ok(read) => read.end,
        Err(fault) => fault.position.min(sample.len() - 1),
    };
    let message = format!("no image name holds '{}' here", char::from(sample.as_bytes()[wrong]));
    Err(Wrong::new(position + wrong, message))
}

pub(super) fn check_tag(text: &str, start: usize) -> Result<(), Wrong> {
    if let Some(star) = text[start..].find('*') {
        return Err(Wrong::new(start + star, "a tag at the end of a glob is exact, without `*`"));
    }
    // The reader of references has the sentences for what is wrong with a tag.
    let front = "a:";
    let sample = format!("{front}{}", &text[start..]);
    match Reference::parse(&sample) {
        Ok(_) => Ok(()),
        Err(error) => Err(Wrong::new(start + error.position - front.len(), error.message())),
    }
}
