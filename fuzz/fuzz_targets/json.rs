//! The skimming reader beside serde_json: text read whole is read alike or refused by both; text read in part is read
//! alike, and what serde_json alone refuses is no JSON.
#![no_main]

#[path = "../../src/review/json/tests/sample.rs"]
mod sample;

use libfuzzer_sys::fuzz_target;
use sample::{in_part, whole};
use tagwarden::review::skim;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    whole(text);
    in_part(text);
    // Blocks are of 64 bytes: spaces move every byte to every place of one.
    let spaces = " ".repeat(usize::from(*first));
    whole(&format!("{spaces}{text}"));
    in_part(&format!(
        r#"{spaces}{{"x":{text},"a":"y","b":{text},"d":[{{"z":{text},"a":"v"}}],"g":{{"k":{text}}},"e":{text}}}"#
    ));
    let quoted = serde_json::to_string(text).expect("text can be quoted");
    in_part(&format!(
        r#"{{{quoted}:{spaces}{quoted},"a":{quoted},"b":{quoted},"x":[{quoted}],"h":{quoted},"f":{text}}}"#
    ));
});
