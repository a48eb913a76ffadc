//! Release files from any text: refused with diagnostics that can be shown, or read, sealed, and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwarden::document::{Color, render};
use tagwarden::release::{Change, ReleaseFile};

fuzz_target!(|text: &str| {
    let file = match ReleaseFile::read("fuzz.yaml", text) {
        Ok(file) => file,
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in &problems {
                assert!(!render(problem, text, Color::Never).is_empty());
            }
            return;
        }
    };
    assert!(!file.release.images().is_empty(), "an empty release lets nothing in, and is none");
    for image in file.release.images() {
        assert!(image.tag.is_some() || image.digest.is_some());
    }
    let Ok(sealed) = file.sealed(&[]) else { return };
    assert_eq!(sealed.release.id(), file.release.id(), "what is written of the id does not count in it");
    assert_eq!(sealed.written_id.as_ref(), Some(sealed.release.id()));
    let again = sealed.sealed(&[]).expect("what was written can be written again");
    assert_eq!(again.text(), sealed.text());
    let Ok(renamed) = sealed.changed(&[Change::Name("renamed".to_owned())]) else { return };
    assert_eq!((renamed.release.name(), renamed.release.id()), ("renamed", sealed.release.id()));
});
