//! The list of a repository's tags, page by page.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use http::header::LINK;
use http::{HeaderMap, Uri};

use super::json::{fields, malformed, typed};
use super::site::{Site, port};
use crate::registry::client::Incoming;
use crate::registry::failure::Failure;

/// Names that a list may have in all; a longer one is no answer.
const MOST: usize = 10_000;

/// Pages that are asked for.
const PAGES: usize = 256;

/// What is asked for first: 1,000 is the most that distribution gives by default.
const FIRST: &str = "n=1000";

/// A list that is being read.
pub(super) struct Listing<'s> {
    site: &'s Site,
    path: String,
    asked: HashSet<String>,
    names: usize,
    tags: BTreeSet<String>,
}

impl<'s> Listing<'s> {
    /// Of a repository; nothing is read yet.
    pub fn new(site: &'s Site, repository: &str) -> Self {
        let path = site.path(repository, "tags/list");
        let asked = HashSet::from([FIRST.to_owned()]);
        Listing { site, path, asked, names: 0, tags: BTreeSet::new() }
    }

    /// The address of the first page.
    ///
    /// # Errors
    /// Protocol.
    pub fn first(&self) -> Result<Uri, Failure> {
        self.site.uri(&self.path, FIRST)
    }

    /// Takes in a page; the address of the next one, if there is one.
    ///
    /// # Errors
    /// Protocol: it is no page, the list is too long, or the next page is elsewhere or was read already.
    pub fn add(&mut self, page: &Incoming) -> Result<Option<Uri>, Failure> {
        let [tags] = fields(&page.body, ["tags"])?;
        let tags = tags.ok_or_else(|| malformed("is no list of tags"))?;
        let tags: Vec<Cow<'_, str>> = typed(Some(tags))?.unwrap_or_default();
        self.names += tags.len();
        if self.names > MOST {
            return Err(malformed("is a list of more than 10,000 tags"));
        }
        // What is no tag cannot be asked for; some registries list digests of signatures here.
        self.tags.extend(tags.into_iter().filter(|tag| is_tag(tag)).map(Cow::into_owned));
        let Some(target) = next(&page.headers)? else { return Ok(None) };
        let query = self
            .within(&target)
            .ok_or_else(|| malformed("has its next page at another place").saying(target.as_bytes()))?;
        if self.asked.len() >= PAGES || !self.asked.insert(query.clone()) {
            return Err(malformed("is a list of tags without an end"));
        }
        self.site.uri(&self.path, &query).map(Some)
    }

    /// All tags, sorted.
    pub fn finish(self) -> Vec<String> {
        self.tags.into_iter().collect()
    }

    /// The query of a target, if all else is this list's own address.
    fn within(&self, target: &str) -> Option<String> {
        let own = self.site.uri(&self.path, "").ok()?;
        let target: Uri = if target.starts_with('?') {
            format!("{}{target}", self.path).parse().ok()?
        } else {
            target.parse().ok()?
        };
        let elsewhere = target.authority().is_some_and(|authority| {
            target.scheme() != own.scheme()
                || authority.as_str().contains('@')
                || !own.host().is_some_and(|own| own.eq_ignore_ascii_case(authority.host()))
                || port(&target) != port(&own)
        });
        if elsewhere || target.path() != self.path { None } else { Some(target.query().unwrap_or_default().to_owned()) }
    }
}

/// A tag, by the grammar of distribution/reference.
fn is_tag(name: &str) -> bool {
    let bytes = name.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    bytes.len() <= 128
        && bytes.first().is_some_and(|&first| word(first))
        && bytes.iter().all(|&byte| word(byte) || byte == b'.' || byte == b'-')
}

/// The target of `Link: <...>; rel="next"` (RFC 8288).
fn next(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let mut found = None;
    for value in headers.get_all(LINK) {
        let mut rest = value.to_str().map_err(|_| malformed("has a Link that is not text"))?;
        while let Some((_, after)) = rest.split_once('<') {
            let (target, after) = after.split_once('>').ok_or_else(|| malformed("has a Link that is none"))?;
            let (parameters, others) = after.split_once('<').map_or((after, ""), |(own, _)| (own, &after[own.len()..]));
            let is_next = parameters.split([';', ',']).any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                let relations = value.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.split(' ').any(|relation| relation.eq_ignore_ascii_case("next"))
            });
            if is_next && found.replace(target.to_owned()).is_some() {
                return Err(malformed("has two next pages"));
            }
            rest = others;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn page(body: &str, link: Option<&str>) -> Incoming {
        let headers = HeaderMap::from_iter(link.map(|link| (LINK, link.parse().unwrap())));
        Incoming { status: StatusCode::OK, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    fn site() -> Site {
        Site::new("registry.example.com:5000", None).unwrap()
    }

    #[test]
    fn pages_are_joined_and_what_is_no_tag_is_dropped() {
        let site = site();
        let mut listing = Listing::new(&site, "a/b");
        assert_eq!(listing.first().unwrap(), "https://registry.example.com:5000/v2/a/b/tags/list?n=1000");
        let body = format!(r#"{{"name":"a/b","tags":["v2","v1","sha256:00","-x","","a b","{}"]}}"#, "a".repeat(129));
        let next = listing.add(&page(&body, Some("</v2/a/b/tags/list?n=1000&last=v1>; rel=\"next\""))).unwrap();
        assert_eq!(next.unwrap(), "https://registry.example.com:5000/v2/a/b/tags/list?n=1000&last=v1");
        assert_eq!(listing.add(&page(r#"{"tags":["v1","v3"]}"#, None)).unwrap(), None);
        assert_eq!(listing.finish(), ["v1", "v2", "v3"]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let site = site();
        let add = |body: &str| Listing::new(&site, "a/b").add(&page(body, None));
        assert_eq!(add(r#"{"tags":null}"#).unwrap(), None);
        assert_eq!(add(r#"{"tags":[]}"#).unwrap(), None);
        for body in ["{}", "[]", "", r#"{"tags":"v1"}"#, r#"{"tags":[1]}"#, r#"{"Tags":["v1"]}"#, "<html>"] {
            assert!(add(body).is_err(), "{body}");
        }
        let many = |count: usize| format!("{{\"tags\":[{}]}}", vec!["\"x\""; count].join(","));
        assert!(add(&many(MOST)).is_ok());
        assert!(add(&many(MOST + 1)).is_err());
    }

    #[test]
    fn the_next_page_is_at_the_same_place() {
        let cases = [
            ("</v2/a/b/tags/list?last=1>; rel=\"next\"", Some("last=1")),
            ("</v2/a/b/tags/list?last=1>;REL=next", Some("last=1")),
            ("<?last=1>; rel=\"next\"", Some("last=1")),
            ("<https://registry.example.com:5000/v2/a/b/tags/list?last=1>; rel=\"next\"", Some("last=1")),
            ("<https://REGISTRY.example.com:5000/v2/a/b/tags/list?last=1>; rel=\"prev next\"", Some("last=1")),
            ("</x>; rel=\"prev\", </v2/a/b/tags/list?last=1>; rel=\"next\"", Some("last=1")),
            ("<http://registry.example.com:5000/v2/a/b/tags/list?last=1>; rel=\"next\"", None),
            ("<https://registry.example.com/v2/a/b/tags/list?last=1>; rel=\"next\"", None),
            ("<https://evil.example.com/v2/a/b/tags/list?last=1>; rel=\"next\"", None),
            ("<//evil.example.com/v2/a/b/tags/list?last=1>; rel=\"next\"", None),
            ("<https://u@registry.example.com:5000/v2/a/b/tags/list?last=1>; rel=\"next\"", None),
            ("</v2/a/c/tags/list?last=1>; rel=\"next\"", None),
            ("</v2/a/b/../b/tags/list?last=1>; rel=\"next\"", None),
            ("<file:///v2/a/b/tags/list?last=1>; rel=\"next\"", None),
            ("</v2/a/b/tags/list?n=1000>; rel=\"next\"", None),
            ("<?a>; rel=next, <?b>; rel=next", None),
            ("</v2/a/b/tags/list", None),
        ];
        let site = site();
        for (link, expected) in cases {
            let next = Listing::new(&site, "a/b").add(&page(r#"{"tags":[]}"#, Some(link)));
            let query = next.as_ref().ok().and_then(|next| next.as_ref()?.query());
            assert_eq!(query, expected, "{link}");
            assert_eq!(next.is_ok(), expected.is_some(), "{link}");
        }
        let last = Listing::new(&site, "a/b").add(&page(r#"{"tags":[]}"#, Some("</x>; rel=\"first\"")));
        assert_eq!(last.unwrap(), None);
    }

    #[test]
    fn pages_have_an_end() {
        let site = site();
        let mut listing = Listing::new(&site, "a/b");
        let read =
            (1..).find(|n| listing.add(&page(r#"{"tags":[]}"#, Some(&format!("<?last={n}>; rel=next")))).is_err());
        assert_eq!(read, Some(PAGES));
    }
}
