//! Which entry of a docker configuration serves which image: the kubelet's rules, but for where a path may end.
//!
//! The rules are those of Kubernetes' `pkg/credentialprovider/keyring.go` and its documentation
//! (<https://kubernetes.io/docs/concepts/containers/images/#config-json>): a host matches label by label, `*` standing
//! for any part of one label; ports are equal; the path is a prefix. Ours differ in four places:
//! - a path ends where a segment of the repository ends, so that `acme` never serves `acmeevil`;
//! - no port and port 443 are the same, since our hosts are canonical and never have `:443`;
//! - hosts are compared in lower case;
//! - Docker Hub's other names mean `docker.io`, paths included.

/// The key of an entry, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Host and port as [`Pattern::order`] sorts them.
    authority: String,
    /// Where the port begins in `authority`, with its colon; its length where there is none.
    host_end: usize,
    /// Empty, or with the slash that it begins with.
    path: String,
    /// How Docker Hub was written.
    spelling: Spelling,
}

/// See [`Pattern::order`].
pub(super) type Order = (String, Spelling);

/// How Docker Hub is written: by its own name last in [`Order`], so first when tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spelling {
    Alias,
    Plain,
}

impl Pattern {
    /// None for what is no host with an optional port and path: such an entry serves nothing.
    pub fn parse(key: &str) -> Option<Self> {
        let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority);
        if host.is_empty() || !host.bytes().all(in_host) || path.contains("//") {
            return None;
        }
        let port = match port.map(|digits| digits.trim_start_matches('0')) {
            None | Some("443") => None,
            Some(port) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port),
            Some(_) => return None,
        };
        let mut authority = host.to_ascii_lowercase();
        let mut spelling = Spelling::Plain;
        if port.is_none() && matches!(&*authority, "index.docker.io" | "registry-1.docker.io") {
            "docker.io".clone_into(&mut authority);
            spelling = Spelling::Alias;
        }
        let host_end = authority.len();
        if let Some(port) = port {
            authority.push(':');
            authority.push_str(port);
        }
        // As docker does: the addresses of its two protocols are the registry itself.
        let path = if path.starts_with("/v1/") || path.starts_with("/v2/") { &path[3..] } else { path };
        let path = if path == "/" { "" } else { path };
        Some(Pattern { authority, host_end, path: path.to_owned(), spelling })
    }

    /// Whether it serves `repository` at the canonical `host` (`docker.io`, `registry.example.com:5000`).
    pub fn matches(&self, host: &str, repository: &str) -> bool {
        let (pattern, port) = self.authority.split_at(self.host_end);
        let (host, host_port) = host.split_at(split_port(host).0.len());
        if port != host_port || pattern.split('.').count() != host.split('.').count() {
            return false;
        }
        let mut labels = pattern.split('.').zip(host.split('.'));
        labels.all(|(pattern, label)| label_matches(pattern.as_bytes(), label.as_bytes()))
            && self.serves_path(repository)
    }

    fn serves_path(&self, repository: &str) -> bool {
        let Some(path) = self.path.strip_prefix('/') else { return true };
        let rest = repository.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.ends_with('/'))
    }

    /// The order in which entries are tried, backwards: of two with the same beginning the longer one, and one without
    /// `*` before one with.
    pub fn order(&self) -> Order {
        (format!("{}{}", self.authority, self.path), self.spelling)
    }

    /// For texts: host and port, no path.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

/// Host, brackets kept, and port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_bracket = authority.find(']').map_or(0, |bracket| bracket + 1);
    match authority[after_bracket..].find(':') {
        Some(colon) => (&authority[..after_bracket + colon], Some(&authority[after_bracket + colon + 1..])),
        None => (authority, None),
    }
}

const fn in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*' | b'[' | b']' | b':')
}

/// `*` stands for any bytes, none included. Goes back to the last star only, so the time is at most one length times the
/// other.
fn label_matches(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < label.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, seen));
            at += 1;
        } else if pattern.get(at) == Some(&label[seen]) {
            at += 1;
            seen += 1;
        } else if let Some((star_at, swallowed)) = star {
            star = Some((star_at, swallowed + 1));
            at = star_at + 1;
            seen = swallowed + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    /// `key | host | repository | yes or no`; the first part follows the kubelet's own table in substance.
    const CASES: &str = include_str!("../../../tests/data/pull_secret_matching.tsv");

    #[test]
    fn keys_serve_what_the_kubelet_says_and_end_on_a_segment() {
        let mut seen = [0, 0];
        for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let fields: Vec<_> = line.split('\t').filter(|field| !field.is_empty()).collect();
            let [key, host, repository, expected] = fields[..] else { panic!("four fields: {line}") };
            let matched = Pattern::parse(key).is_some_and(|pattern| pattern.matches(host, repository));
            let expected = match expected {
                "yes" => true,
                "no" => false,
                other => panic!("yes or no, not {other}: {line}"),
            };
            assert_eq!(matched, expected, "{line}");
            seen[usize::from(expected)] += 1;
        }
        assert!(seen.iter().all(|count| *count >= 15), "{seen:?}");
    }

    #[test]
    fn the_most_specific_goes_first() {
        let mut patterns: Vec<_> = [
            "*.example.com",
            "registry.example.com",
            "https://index.docker.io/v1/",
            "docker.io",
            "registry.example.com/acme",
            "registry.example.com/acme/team",
            "docker.io/acme",
        ]
        .map(|key| Pattern::parse(key).unwrap())
        .into();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.order()));
        let shown: Vec<_> = patterns.iter().map(|p| format!("{}{} {:?}", p.authority, p.path, p.spelling)).collect();
        let expected = [
            "registry.example.com/acme/team Plain",
            "registry.example.com/acme Plain",
            "registry.example.com Plain",
            "docker.io/acme Plain",
            "docker.io Plain",
            "docker.io Alias",
            "*.example.com Plain",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_hostile_pattern_is_no_work() {
        let pattern = Pattern::parse(&"*a".repeat(10_000)).unwrap();
        assert!(!pattern.matches(&"a".repeat(200), "x"));
    }
}
