//! Globs over plain names, such as those of namespaces.

use super::GlobError;

/// A glob over a plain name (a namespace): `*` is any run of characters, everything else is literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameGlob {
    text: String,
}

impl NameGlob {
    /// Reads a glob: lower-case letters, digits, `-`, `*`.
    ///
    /// # Errors
    /// A character that no name can have, or none at all.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::new(0, "a name glob may not be empty", Some("write \"*\" for every name".into())));
        }
        let allowed = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '-' | '*');
        if let Some((position, character)) = text.char_indices().find(|&(_, character)| !allowed(character)) {
            let lower = text.to_ascii_lowercase();
            let help = lower.chars().all(allowed).then(|| format!("write {lower}"));
            return Err(GlobError::new(position, format!("no name holds {character:?}"), help));
        }
        Ok(NameGlob { text: text.to_owned() })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The regular expression over a whole name, for [`super::Cells`].
    pub fn to_regex(&self) -> String {
        // Letters, digits and `-` mean themselves.
        self.text.replace('*', "[a-z0-9-]*")
    }

    /// Whole-name match, in time proportional to the two lengths multiplied at worst.
    pub fn matches(&self, name: &str) -> bool {
        let (glob, name) = (self.text.as_bytes(), name.as_bytes());
        let (mut in_glob, mut in_name) = (0, 0);
        // Where to go on when a literal fails: after the last `*`, which then takes one character more.
        let mut retry: Option<(usize, usize)> = None;
        while in_name < name.len() {
            if glob.get(in_glob) == Some(&b'*') {
                in_glob += 1;
                retry = Some((in_glob, in_name));
            } else if glob.get(in_glob) == Some(&name[in_name]) {
                in_glob += 1;
                in_name += 1;
            } else if let Some((after_star, taken)) = retry {
                in_glob = after_star;
                in_name = taken + 1;
                retry = Some((after_star, in_name));
            } else {
                return false;
            }
        }
        glob[in_glob..].iter().all(|&byte| byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_names() {
        let cases = [
            ("*", &["", "shop", "shop-prod"][..], &[][..]),
            ("shop", &["shop"], &["", "sho", "shop1", "ashop"]),
            ("pay-*", &["pay-", "pay-eu"], &["pay", "apay-eu"]),
            ("*-prod", &["shop-prod", "-prod", "prod-prod"], &["shop-prod1", "prod"]),
            ("a*b*c", &["abc", "aXbXc", "abbcbc"], &["ab", "acb", "abcd"]),
            ("**", &["", "x"], &[]),
        ];
        for (glob, yes, no) in cases {
            let glob = NameGlob::parse(glob).unwrap();
            for name in yes {
                assert!(glob.matches(name), "{} {name}", glob.as_str());
            }
            for name in no {
                assert!(!glob.matches(name), "{} {name}", glob.as_str());
            }
        }
    }

    #[test]
    fn refuses_what_no_name_holds() {
        let cases = [
            ("", 0, Some("write \"*\" for every name")),
            ("Shop-*", 0, Some("write shop-*")),
            ("shop_1", 4, None),
            ("shop.1", 4, None),
            ("shop ", 4, None),
            ("läden", 1, None),
        ];
        for (text, position, help) in cases {
            let error = NameGlob::parse(text).unwrap_err();
            assert_eq!((error.position, error.help.as_deref()), (position, help), "{text:?}");
        }
    }
}
