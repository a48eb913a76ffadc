//! References, digests, tags and globs from any text: nothing panics, and what parses prints as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwarden::image::{Digest, ImageGlob, MAX_REFERENCE_BYTES, NameGlob, Reference, Refusal, TagFacts};

fuzz_target!(|text: &str| {
    reference(text);
    let _ = (Digest::parse(text), TagFacts::of(text), NameGlob::parse(text).map(|glob| glob.matches(text)));
    if let Err(error) = ImageGlob::parse_with_tag(text) {
        assert!(text.is_char_boundary(error.position));
    }
});

fn reference(text: &str) {
    let reference = match Reference::parse(text) {
        Ok(reference) => reference,
        Err(error) => {
            assert!(text.is_char_boundary(error.position));
            assert!(!error.message().is_empty());
            if let Some(suggestion) = error.suggestion {
                assert!(Reference::parse(&suggestion).is_ok());
            }
            return;
        }
    };
    let mut name = String::new();
    reference.write_name(&mut name);
    assert_eq!(name, format!("{}/{}", reference.canonical_registry(), reference.repository()));
    for refusal in reference.refusals().iter() {
        assert!(!refusal.message().is_empty());
    }
    // The printed form is longer than what was written by at most `docker.io/library/` and `:latest`.
    let printed = reference.to_string();
    if printed.len() <= MAX_REFERENCE_BYTES {
        let again = Reference::parse(&printed).expect("what was printed parses");
        assert_eq!(again.to_string(), printed);
        assert_eq!(again.refusals().without(Refusal::ShortName), {
            let refusals = reference.refusals();
            refusals.without(Refusal::ShortName).without(Refusal::ImageId)
        });
        assert_eq!(again.tag_facts(), reference.tag_facts());
    }
}
