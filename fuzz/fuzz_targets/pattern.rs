//! Patterns and globs from any text, compiled: a target of its own, since that takes a thousand times as long as reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwarden::image::{GlobSet, ImageGlob};

fuzz_target!(|text: &str| {
    if let Ok(set) = GlobSet::new(&[text, "[a-z]+"]) {
        let first = set.first_match(text);
        let mut all = Vec::new();
        set.all_matches(text, |id| all.push(id));
        assert_eq!(first, all.first().copied());
        assert!(all.is_sorted());
    }
    match_itself(text);
});

/// The expression of a glob compiles, and a glob without `*` is a name that matches itself.
fn match_itself(text: &str) {
    let Ok(glob) = ImageGlob::parse_with_tag(text) else { return };
    let set = GlobSet::new(&[glob.to_regex()]).expect("the expression of a glob compiles");
    if !text.contains('*') {
        let name = text.split('@').next().unwrap_or(text);
        let name = glob.tag().map_or(name, |tag| &name[..name.len() - tag.len() - 1]);
        assert_eq!(set.first_match(name), Some(0));
    }
}
