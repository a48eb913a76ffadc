//! Changes keep every byte that they are not about: examples, and files made at random.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn digest(letter: char) -> DigestBuf {
    DigestBuf::parse(&format!("sha256:{}", letter.to_string().repeat(64))).unwrap()
}

fn read(text: &str) -> ReleaseFile {
    ReleaseFile::read("r.yaml", text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"))
}

/// The text with short names for digests made long, so that cases stay readable.
fn long(text: &str) -> String {
    ['a', 'b', 'c', 'd']
        .iter()
        .fold(text.to_owned(), |text, letter| text.replace(&format!("<{letter}>"), digest(*letter).as_str()))
}

fn image(change: ImageChange) -> Change {
    Change::Image("app".to_owned(), change)
}

fn locked(letter: char) -> Vec<Change> {
    let platforms = BTreeMap::from([("linux/amd64".to_owned(), digest('b')), ("linux/arm64".to_owned(), digest('c'))]);
    vec![
        image(ImageChange::Digest(Some(digest(letter)))),
        image(ImageChange::Commit(Some("4f2a1b0".to_owned()))),
        image(ImageChange::Platforms(platforms)),
    ]
}

#[test]
fn a_lock_is_written_as_its_file_is() {
    for (before, after) in [
        (
            "release: r # c\nimages:\n  app: {repo: ghcr.io/acme/app, tag: v1.2.3} # d\nown: {x: 1}\n",
            "release: r # c\nimages:\n  app: {repo: ghcr.io/acme/app, tag: v1.2.3, digest: <a>, commit: 4f2a1b0, platforms: {linux/amd64: <b>, linux/arm64: <c>}} # d\nown: {x: 1}\n",
        ),
        (
            "release: r\r\nimages:\r\n  app:\r\n    # where\r\n    repo: ghcr.io/acme/app\r\n    tag: v1.2.3 # d\r\n    team: own\r\n",
            "release: r\r\nimages:\r\n  app:\r\n    # where\r\n    repo: ghcr.io/acme/app\r\n    tag: v1.2.3 # d\r\n    digest: <a>\r\n    commit: 4f2a1b0\r\n    platforms: {linux/amd64: <b>, linux/arm64: <c>}\r\n    team: own\r\n",
        ),
        (
            "{\"release\": \"r\", \"images\": {\"app\": {\"repo\": \"ghcr.io/acme/app\", \"tag\": \"v1.2.3\"}}}",
            "{\"release\": \"r\", \"images\": {\"app\": {\"repo\": \"ghcr.io/acme/app\", \"tag\": \"v1.2.3\", \"digest\": \"<a>\", \"commit\": \"4f2a1b0\", \"platforms\": {\"linux/amd64\": \"<b>\", \"linux/arm64\": \"<c>\"}}}}",
        ),
        (
            "{\n  \"release\": \"r\",\n  \"images\": {\n    \"app\": {\n      \"repo\": \"ghcr.io/acme/app\",\n      \"tag\": \"v1.2.3\"\n    }\n  }\n}\n",
            "{\n  \"release\": \"r\",\n  \"images\": {\n    \"app\": {\n      \"repo\": \"ghcr.io/acme/app\",\n      \"tag\": \"v1.2.3\",\n      \"digest\": \"<a>\",\n      \"commit\": \"4f2a1b0\",\n      \"platforms\": {\"linux/amd64\": \"<b>\", \"linux/arm64\": \"<c>\"}\n    }\n  }\n}\n",
        ),
        (
            "images:\n  app:\n    platforms:\n      linux/amd64: <c> # amd\n      linux/s390x: <c>\n    digest: '<d>' # e\n    commit: \"0000001\"\n    repo: ghcr.io/acme/app\nrelease: r",
            "images:\n  app:\n    platforms:\n      linux/amd64: <b> # amd\n      linux/arm64: <c>\n    digest: '<a>' # e\n    commit: \"4f2a1b0\"\n    repo: ghcr.io/acme/app\nrelease: r",
        ),
    ] {
        let file = read(&long(before));
        let new = file.changed(&locked('a')).unwrap();
        assert_eq!(new.text(), long(after));
        assert_eq!(new.changed(&locked('a')).unwrap().text(), new.text(), "again changes nothing");
        let sealed = file.sealed(&locked('a')).unwrap();
        assert!(sealed.is_locked(), "{}", sealed.text());
        assert_eq!(sealed.sealed(&locked('a')).unwrap().text(), sealed.text());
    }
}

#[test]
fn names_sources_and_what_came_before_are_written_too() {
    let before = "release: r1 # c\nimages:\n  app: {repo: ghcr.io/acme/app, tag: v1, commit: 4f2a1b0}\n";
    let origin = |commit: Option<&str>| {
        Change::Origin(Origin { repo: "https://git.example.com/a".to_owned(), commit: commit.map(str::to_owned) })
    };
    let changes = [
        Change::Name("r2".to_owned()),
        Change::Previous("r1".to_owned()),
        origin(Some("1234567")),
        image(ImageChange::Tag(Some("1.10".to_owned()))),
        image(ImageChange::Commit(None)),
        image(ImageChange::Platforms(BTreeMap::new())),
    ];
    let new = read(before).changed(&changes).unwrap();
    assert_eq!(
        new.text(),
        "release: r2 # c\nsource: {repo: https://git.example.com/a, commit: \"1234567\"}\nimages:\n  \
         app: {repo: ghcr.io/acme/app, tag: \"1.10\"}\nprevious: [r1]\n"
    );
    let newer = new.changed(&[Change::Name("r3".to_owned()), Change::Previous("r2".to_owned()), origin(None)]).unwrap();
    assert_eq!(newer.release.previous(), ["r2", "r1"]);
    assert!(newer.text().contains("source: {repo: https://git.example.com/a}\n"), "{}", newer.text());
    let none = image(ImageChange::Tag(None));
    let digest = image(ImageChange::Digest(Some(digest('a'))));
    assert!(newer.changed(std::slice::from_ref(&none)).is_err(), "neither tag nor digest");
    assert!(newer.changed(&[none, digest]).unwrap().text().contains("{repo: ghcr.io/acme/app, digest: sha256:aaaa"));
}

#[test]
fn what_is_shared_or_hidden_is_left_as_it_is() {
    let told = |text: &str| {
        let problems = read(text).changed(&locked('a')).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let shared = "release: r\nbase: &b {repo: ghcr.io/acme/app, tag: v1}\nimages:\n  app: *b\n";
    assert!(told(shared).contains("it would say more than is meant; write out what is shared"), "{}", told(shared));
    let merged = "release: r\nbase: &b {repo: ghcr.io/acme/app, tag: v1}\nimages:\n  app: {<<: *b}\n";
    assert!(told(merged).contains("no safe place for 'digest'"), "{}", told(merged));
    assert!(told(merged).starts_with("r.yaml:4:3: error"));
    let folded = "release: r\nimages:\n  app:\n    repo: ghcr.io/acme/app\n    digest: >-\n      <d>\n";
    assert!(told(&long(folded)).contains("no safe place for 'digest'"));
}

/// A scalar in one of the ways to write it.
fn scalar(value: &str, way: u8) -> String {
    match way % 3 {
        0 => value.to_owned(),
        1 => format!("'{value}'"),
        _ => format!("\"{value}\""),
    }
}

/// How one file is laid out.
#[derive(Clone, Debug)]
struct Layout {
    /// For each image: ways to write scalars, flow or block, order, what else stands there.
    images: Vec<(u8, bool, u8, bool, bool, bool)>,
    order: u8,
    comments: Vec<bool>,
    crlf: bool,
    last_line_end: bool,
    mark: bool,
}

fn layout() -> impl Strategy<Value = Layout> {
    let image = (any::<u8>(), any::<bool>(), any::<u8>(), any::<bool>(), any::<bool>(), any::<bool>());
    let whole = (
        proptest::collection::vec(image, 1..5),
        any::<u8>(),
        proptest::collection::vec(any::<bool>(), 40),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    whole.prop_map(|(images, order, comments, crlf, last_line_end, mark)| Layout {
        images,
        order,
        comments,
        crlf,
        last_line_end,
        mark,
    })
}

impl Layout {
    fn text(&self) -> String {
        let mut comments = self.comments.iter().cycle();
        let mut comment =
            |text: &str| if comments.next() == Some(&true) { format!(" # {text}: {{x, y}}") } else { String::new() };
        let mut images = format!("images:{}\n", comment("images"));
        for (number, (way, flow, order, locked, own, commit)) in self.images.iter().enumerate() {
            let mut parts = vec![
                ("repo", scalar(&format!("r.example.com/acme/i{number}"), *way)),
                ("tag", scalar(&format!("v1.{number}.0"), way / 3)),
            ];
            if *locked {
                parts.push(("digest", scalar(digest('d').as_str(), way / 9)));
                parts.push((
                    "platforms",
                    format!("{{linux/amd64: {}, 'linux/s390x': \"{}\"}}", digest('b'), digest('c')),
                ));
            }
            if *own {
                parts.push(("team", "{a: [1, 2.50, ~], b: 'x # y'}".to_owned()));
            }
            if *commit {
                parts.push(("commit", "\"0000001\"".to_owned()));
            }
            let turns = usize::from(*order) % parts.len();
            parts.rotate_left(turns);
            let pairs: Vec<String> = parts.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            if *flow {
                let joint = if comment("").is_empty() { ", " } else { ",\n      " };
                images += &format!("  i{number}: {{{}}}{}\n", pairs.join(joint), comment("flow"));
            } else {
                images += &format!("  i{number}:{}\n", comment("block"));
                for pair in pairs {
                    images += &format!("    {pair}{}\n", comment("pair"));
                    if !comment("").is_empty() {
                        images += "    # alone: {digest: x}\n\n";
                    }
                }
            }
        }
        let own = format!("own:\n- x: 0x10{}\n  y: |\n    tag: v9 # no comment\n\n", comment("own"));
        let mut sections =
            [format!("release: r{}\n", comment("name")), images, own, "previous:\n- a\n- 'b'\n".to_owned()];
        let turns = usize::from(self.order) % sections.len();
        sections.rotate_left(turns);
        let mut text = sections.concat();
        if !self.last_line_end {
            text = text.trim_end().to_owned();
        }
        if self.crlf {
            text = text.replace('\n', "\r\n");
        }
        if self.mark { format!("\u{feff}{text}") } else { text }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_lock_touches_what_it_is_about_and_nothing_else(layout in layout()) {
        let text = layout.text();
        let file = read(&text);
        let platforms = BTreeMap::from([("linux/amd64".to_owned(), digest('b')), ("linux/arm64".to_owned(), digest('c'))]);
        let mut changes = vec![Change::Name("r2".to_owned()), Change::Previous("r".to_owned())];
        for image in file.release.images() {
            let of = |change| Change::Image(image.name.clone(), change);
            changes.push(of(ImageChange::Digest(Some(digest('a')))));
            changes.push(of(ImageChange::Commit(Some("4f2a1b0".to_owned()))));
            changes.push(of(ImageChange::Platforms(platforms.clone())));
        }
        let new = file.sealed(&changes).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"));
        prop_assert!(new.is_locked());
        prop_assert_eq!(new.release.name(), "r2");
        prop_assert_eq!(new.release.previous(), ["r", "a", "b"]);
        for image in new.release.images() {
            prop_assert_eq!(image.digest.as_ref(), Some(&digest('a')));
            prop_assert_eq!(image.commit.as_deref(), Some("4f2a1b0"));
            prop_assert_eq!(&image.platforms, &platforms);
        }
        let again = new.sealed(&changes).unwrap();
        prop_assert_eq!(again.text(), new.text());
        prop_assert_eq!(bare(new.text()), bare(&text));
        prop_assert_eq!(untouched(new.text()), untouched(&text));
        prop_assert_eq!(new.text().contains('\n') && !new.text().contains("\r\n"), text.contains('\n') && !layout.crlf);
    }
}

/// A text without the keys that a lock writes, and without blanks and commas, which come and go with them.
fn bare(text: &str) -> String {
    let (documents, _) = parse(&Source::new("r.yaml", text));
    let root = &documents[0].root;
    let images = root.get("images").into_iter().flat_map(|images| match &images.value {
        Value::Map(entries) => entries.as_slice(),
        _ => &[],
    });
    let in_images = images.flat_map(|image| ["digest", "commit", "platforms"].map(|key| entry(&image.value, key)));
    let entries = in_images.chain([entry(root, "id"), entry(root, "release")]).flatten();
    let mut gone: Vec<_> = entries.map(|entry| entry.key_span.start..entry.value.span.end).collect();
    gone.extend(root.get("previous").and_then(Node::as_list).unwrap().iter().map(|name| name.span.clone()));
    gone.sort_by_key(|span| std::cmp::Reverse(span.start));
    let mut out = text.to_owned();
    gone.into_iter().for_each(|span| out.replace_range(span, ""));
    out.retain(|c| !c.is_whitespace() && !matches!(c, ',' | '-'));
    out
}

/// The lines of a text that hold none of the keys that a lock writes.
fn untouched(text: &str) -> Vec<&str> {
    let lines = text.split_inclusive('\n');
    let about =
        ["digest", "commit", "platforms", "id: ", "release: ", "tag: ", "repo: ", "team: ", "- a", "- r", "- 'b"];
    lines.filter(|line| line.trim_start().starts_with('#') || !about.iter().any(|key| line.contains(key))).collect()
}
