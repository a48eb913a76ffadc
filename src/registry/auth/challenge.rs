//! `WWW-Authenticate`: all challenges of all its values, by the grammar of RFC 9110, section 11.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Bytes that one value may have; real ones have some hundred.
const VALUE_BYTES: usize = 8 << 10;

/// Values, challenges of a value, and parameters of a challenge that are read.
const MOST: usize = 32;

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `bearer`.
    pub scheme: String,
    /// Names in lower case, none twice.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A value that breaks the grammar, or is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What the headers ask for. A value that cannot be read asks for nothing and leaves the others as they are.
///
/// # Errors
/// No challenge could be read, though there are values.
pub(super) fn challenges(headers: &HeaderMap) -> Result<Vec<Challenge>, Malformed> {
    let mut found = Vec::new();
    let mut malformed = false;
    for value in headers.get_all(WWW_AUTHENTICATE).iter().take(MOST) {
        match parse(value.as_bytes()) {
            Ok(challenges) => found.extend(challenges),
            Err(Malformed) => malformed = true,
        }
    }
    if malformed && found.is_empty() { Err(Malformed) } else { Ok(found) }
}

/// The challenges of one value.
fn parse(value: &[u8]) -> Result<Vec<Challenge>, Malformed> {
    if value.len() > VALUE_BYTES {
        return Err(Malformed);
    }
    let mut cursor = Cursor { rest: value };
    let mut found: Vec<Challenge> = Vec::new();
    loop {
        // A list may have empty elements (section 5.6.1.2).
        cursor.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        if cursor.rest.is_empty() {
            return Ok(found);
        }
        let name = cursor.token()?;
        let parameter = cursor.clone().after_equals();
        match (found.last_mut(), parameter) {
            (Some(challenge), Some(value)) => {
                cursor = value;
                let value = cursor.value()?;
                challenge.add(name, value)?;
                cursor.end_of_element()?;
            }
            (None, Some(_)) => return Err(Malformed),
            (_, None) => {
                if found.len() == MOST {
                    return Err(Malformed);
                }
                found.push(Challenge { scheme: name, parameters: Vec::new() });
                cursor.after_scheme()?;
            }
        }
    }
}

impl Challenge {
    fn add(&mut self, name: String, value: String) -> Result<(), Malformed> {
        if self.parameters.len() == MOST || self.get(&name).is_some() {
            return Err(Malformed);
        }
        self.parameters.push((name, value));
        Ok(())
    }
}

#[derive(Clone)]
struct Cursor<'v> {
    rest: &'v [u8],
}

impl<'v> Cursor<'v> {
    /// The bytes at the front that `wanted` takes.
    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> &'v [u8] {
        let end = self.rest.iter().position(|&byte| !wanted(byte)).unwrap_or(self.rest.len());
        let (front, rest) = self.rest.split_at(end);
        self.rest = rest;
        front
    }

    fn skip_space(&mut self) -> usize {
        self.skip(|byte| matches!(byte, b' ' | b'\t')).len()
    }

    /// A token, in lower case: schemes and parameter names know no case.
    fn token(&mut self) -> Result<String, Malformed> {
        let token = self.skip(is_token);
        if token.is_empty() {
            return Err(Malformed);
        }
        Ok(String::from_utf8_lossy(token).to_ascii_lowercase())
    }

    /// What follows `=` and the space around it, if a value may begin there: what stands in front is a parameter's name.
    fn after_equals(mut self) -> Option<Self> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(b"=")?;
        self.skip_space();
        Some(self)
    }

    /// A parameter's value: a token or a quoted string.
    fn value(&mut self) -> Result<String, Malformed> {
        let Some(mut inside) = self.rest.strip_prefix(b"\"") else {
            let token = self.skip(is_token);
            return if token.is_empty() { Err(Malformed) } else { Ok(String::from_utf8_lossy(token).into_owned()) };
        };
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = inside.split_first().ok_or(Malformed)?;
            let (byte, rest) = match byte {
                b'"' => {
                    self.rest = rest;
                    return Ok(String::from_utf8_lossy(&value).into_owned());
                }
                b'\\' => rest.split_first().map(|(&escaped, rest)| (escaped, rest)).ok_or(Malformed)?,
                byte => (byte, rest),
            };
            if byte != b'\t' && (byte < b' ' || byte == 0x7f) {
                return Err(Malformed);
            }
            value.push(byte);
            inside = rest;
        }
    }

    /// After a scheme: nothing, or space and then a token68 or the first parameter. A token68 (of schemes that we do not
    /// know) is skipped.
    fn after_scheme(&mut self) -> Result<(), Malformed> {
        let spaces = self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(b",") {
            return Ok(());
        }
        if spaces == 0 {
            return Err(Malformed);
        }
        let mut token68 = self.clone();
        let text = token68.skip(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
        token68.skip(|byte| byte == b'=');
        if !text.is_empty() && token68.end_of_element().is_ok() {
            *self = token68;
        } else if self.clone().first_parameter().is_none() {
            return Err(Malformed);
        }
        Ok(())
    }

    fn first_parameter(mut self) -> Option<Self> {
        self.token().ok()?;
        self.after_equals()
    }

    /// An element of the list ends with a comma or the value.
    fn end_of_element(&mut self) -> Result<(), Malformed> {
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(b",") { Ok(()) } else { Err(Malformed) }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn shown(value: &str) -> String {
        let Ok(challenges) = parse(value.as_bytes()) else { return "malformed".to_owned() };
        let show = |challenge: &Challenge| {
            let parameters = challenge.parameters.iter().map(|(name, value)| format!(" {name}<{value}>"));
            format!("{}{}", challenge.scheme, parameters.collect::<String>())
        };
        challenges.iter().map(show).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn challenges_are_read_as_rfc_9110_has_them() {
        let cases = [
            ("", ""),
            (" , ,", ""),
            ("Basic", "basic"),
            ("Basic realm=\"r\"", "basic realm<r>"),
            ("BASIC Realm=r", "basic realm<r>"),
            (
                "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
                "bearer realm<https://a/t> service<s> scope<repository:a/b:pull,push>",
            ),
            ("Bearer realm = \"r\" , service\t=s", "bearer realm<r> service<s>"),
            ("Bearer realm=\"a\\\"b\\\\c\"", "bearer realm<a\"b\\c>"),
            ("Basic realm=\"r\", Bearer realm=\"t\", service=\"s\"", "basic realm<r> | bearer realm<t> service<s>"),
            ("Negotiate, Basic realm=r", "negotiate | basic realm<r>"),
            ("Negotiate YWJj==, Basic realm=r", "negotiate | basic realm<r>"),
            ("Negotiate YWJj=", "negotiate"),
            ("Basic ,, realm=r", "basic realm<r>"),
            ("Bearer realm=\"\"", "bearer realm<>"),
            ("realm=\"r\"", "malformed"),
            ("Bearer realm=\"r", "malformed"),
            ("Bearer realm=\"r\\", "malformed"),
            ("Bearer realm=\"r\"x", "malformed"),
            ("Bearer realm=\"r\" service=\"s\"", "malformed"),
            ("Bearer realm=https://a/t", "malformed"),
            ("Bearer realm=", "bearer"), // `realm=` is a token68 as it stands
            ("Bearer realm=,x=y", "bearer x<y>"),
            ("Bearer realm=\"a\",REALM=\"b\"", "malformed"),
            ("Bearer realm=\"a\u{1}b\"", "malformed"),
            ("Bearer \"x\"", "malformed"),
            ("Bearer=x", "malformed"),
            ("\"", "malformed"),
            ("Basic;realm=r", "malformed"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(value), expected, "{value:?}");
        }
    }

    #[test]
    fn large_values_are_not_read() {
        assert_eq!(shown(&format!("Bearer realm=\"{}\"", "a".repeat(100 << 10))), "malformed");
        assert_eq!(shown(&"Basic,".repeat(MOST + 1)), "malformed");
        let many = (0..=MOST).map(|n| format!("p{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(shown(&format!("Basic {many}")), "malformed");
    }

    #[test]
    fn a_value_that_cannot_be_read_leaves_the_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(challenges(&headers), Ok(Vec::new()));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"r"));
        assert_eq!(challenges(&headers), Err(Malformed));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"r\""));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"t\""));
        let schemes = challenges(&headers).unwrap().into_iter().map(|c| c.scheme).collect::<Vec<_>>();
        assert_eq!(schemes, ["basic", "bearer"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&value);
        }

        #[test]
        fn near_misses_are_read_or_refused(value in "[a-c=,\" \\\\\t]{0,40}") {
            for challenge in parse(value.as_bytes()).unwrap_or_default() {
                prop_assert!(!challenge.scheme.is_empty());
            }
        }

        #[test]
        fn any_quoted_value_comes_back(value in "[ -~]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let read = parse(format!("Bearer realm=\"{quoted}\", a=b").as_bytes()).unwrap();
            prop_assert_eq!(read[0].get("realm"), Some(value.as_str()));
            prop_assert_eq!(read[0].get("a"), Some("b"));
        }
    }
}
