//! Platforms: for which machines an image is, spelled as container runtimes compare it.

use std::fmt;

/// `os/architecture[/variant]`: `linux/amd64`, `linux/arm/v7`.
///
/// Runtimes know several spellings of one platform (`containerd/platforms`, `normalizeArch`): `x86_64` is `amd64`,
/// `aarch64` is `arm64`, and where no variant is written arm64 is v8 and arm is v7. They are one here too, or an image
/// could carry a second build for the same machines that nobody looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// As written.
    text: String,
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Reads a platform; none: it has not two or three parts of letters, digits, `.`, `_` and `-`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let part = |part: &&str| {
            (1..=64).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let mut parts = text.split('/');
        let (os, architecture) = (parts.next().filter(part)?, parts.next().filter(part)?);
        let variant = match parts.next() {
            Some(variant) => Some(variant).filter(part).map(Some)?,
            None => None,
        };
        if parts.next().is_some() {
            return None;
        }
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.map(str::to_ascii_lowercase);
        let (architecture, implied) = match architecture.as_str() {
            "i386" => ("386", None),
            "x86_64" | "x86-64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            other => (other, None),
        };
        let variant = variant.map(|variant| match variant.bytes().all(|b| b.is_ascii_digit()) {
            true => format!("v{variant}"),
            false => variant,
        });
        Some(Platform {
            text: text.to_owned(),
            os: match os.to_ascii_lowercase() {
                os if os == "macos" => "darwin".to_owned(),
                os => os,
            },
            architecture: architecture.to_owned(),
            variant: implied.map(str::to_owned).or(variant),
        })
    }

    /// linux/amd64: what stands where nothing else is said.
    #[must_use]
    pub fn common() -> Self {
        let text = |text: &str| text.to_owned();
        Platform { text: text("linux/amd64"), os: text("linux"), architecture: text("amd64"), variant: None }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is what `wanted` asks for: where that has no variant, any will do.
    #[must_use]
    pub fn meets(&self, wanted: &Platform) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.full_variant() == wanted.full_variant())
    }

    /// Whether it is of the architecture that a tag's suffix names (see [`super::TagFacts::arch`]): `arm-v7` is arm, v7.
    #[must_use]
    pub fn is_of(&self, suffix: &str) -> bool {
        let (architecture, variant) = match suffix.split_once('-') {
            Some((architecture, variant)) => (architecture, Some(variant)),
            None => (suffix, None),
        };
        self.architecture == architecture && variant.is_none_or(|variant| self.full_variant() == variant)
    }

    /// The variant, where none is written the one that is meant.
    fn full_variant(&self) -> &str {
        match (self.variant.as_deref(), self.architecture.as_str()) {
            (Some(variant), _) => variant,
            (None, "arm64") => "v8",
            (None, "arm") => "v7",
            (None, "amd64") => "v1",
            (None, _) => "",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap()
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["linux/amd64", "linux/arm64/v8", "windows/amd64", "Linux/AMD64"] {
            assert_eq!(platform(text).as_str(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/arm64/", "linux/arm64/v8/x", "linux amd64", "li\u{e9}/x"] {
            assert_eq!(Platform::parse(text), None, "{text}");
        }
        assert_eq!(Platform::common(), platform("linux/amd64"));
    }

    #[test]
    fn one_platform_has_several_spellings() {
        let met = [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64/8"),
            ("linux/arm", "linux/arm/v6"),
            ("linux/arm/v7", "linux/arm"),
            ("linux/arm/v7", "linux/armhf"),
            ("linux/arm/v6", "linux/armel"),
            ("linux/amd64", "Linux/x86_64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/arm64", "linux/aarch64"),
            ("linux/386", "linux/i386"),
            ("darwin/arm64", "macos/arm64"),
        ];
        for (wanted, there) in met {
            assert!(platform(there).meets(&platform(wanted)), "{there} is {wanted}");
        }
        let unmet = [
            ("linux/amd64", "linux/arm64"),
            ("linux/amd64", "windows/amd64"),
            ("linux/arm64/v9", "linux/arm64"),
            ("linux/arm/v7", "linux/arm/v6"),
            ("linux/amd64/v3", "linux/amd64"),
        ];
        for (wanted, there) in unmet {
            assert!(!platform(there).meets(&platform(wanted)), "{there} is not {wanted}");
        }
    }

    #[test]
    fn suffixes_of_tags_name_architectures() {
        for (there, suffix, is) in [
            ("linux/amd64", "amd64", true),
            ("linux/arm64/v8", "arm64", true),
            ("linux/arm", "arm-v7", true),
            ("linux/arm/v6", "arm-v7", false),
            ("linux/arm64", "arm-v7", false),
            ("linux/x86_64", "amd64", true),
            ("linux/amd64", "386", false),
        ] {
            assert_eq!(platform(there).is_of(suffix), is, "{there} {suffix}");
        }
    }
}
