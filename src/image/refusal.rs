//! The strictness layer: shapes that parse and are traps all the same, each with a name.

/// A shape that parses but is a trap, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// `sha256:<hex>` as the whole name: containerd runs any cached image whose id begins so. Never allowed.
    ImageId,
    /// The first component looks like a host and is none: `ex_ample.com/app`. Never allowed.
    EmptyDomain,
    /// The last label of the host is a number: `0x7f.1`, `1.2`. Never allowed.
    NumericHost,
    /// Port 0 or above 65535. Never allowed.
    PortRange,
    /// A link-local, metadata or multicast address, or brackets that hold no address. Never allowed.
    ForbiddenIp,
    /// Any other address as the host; allowed by naming the host in a rule.
    IpHost,
    /// `localhost` or a name under it; allowed by naming the host in a rule.
    Localhost,
    /// The host is not spelled canonically: upper-case letters, `:443`, another name of Docker Hub; may be normalised.
    NonCanonicalHost,
    /// No registry written; allowed unless the policy says `shortNames: deny`.
    ShortName,
}

impl Refusal {
    /// All, worst first.
    pub const ALL: [Refusal; 9] = [
        Refusal::ImageId,
        Refusal::EmptyDomain,
        Refusal::NumericHost,
        Refusal::PortRange,
        Refusal::ForbiddenIp,
        Refusal::IpHost,
        Refusal::Localhost,
        Refusal::NonCanonicalHost,
        Refusal::ShortName,
    ];

    /// The stable name, "NonCanonicalHost" ("IpHost" for both IP variants).
    pub fn name(self) -> &'static str {
        match self {
            Refusal::ImageId => "ImageId",
            Refusal::EmptyDomain => "EmptyDomain",
            Refusal::NumericHost => "NumericHost",
            Refusal::PortRange => "PortRange",
            Refusal::ForbiddenIp | Refusal::IpHost => "IpHost",
            Refusal::Localhost => "Localhost",
            Refusal::NonCanonicalHost => "NonCanonicalHost",
            Refusal::ShortName => "ShortName",
        }
    }

    /// One sentence for a person that says why this shape is refused.
    pub fn message(self) -> &'static str {
        match self {
            Refusal::ImageId => {
                "this is an image id, and a node runs any cached image whose id begins so; write the image's name"
            }
            Refusal::EmptyDomain => {
                "a registry's host name holds no '_', so runtimes disagree on where this image comes from"
            }
            Refusal::NumericHost => {
                "a host that ends in a number is taken for an IP address; write the registry's name"
            }
            Refusal::PortRange => "a port is a number from 1 to 65535",
            Refusal::ForbiddenIp => {
                "this address is never a registry (link-local, metadata, multicast, or no address at all)"
            }
            Refusal::IpHost => "an IP address is a registry only where a rule names it; write the registry's name",
            Refusal::Localhost => "localhost is a registry only where a rule names it; on a node it is that node",
            Refusal::NonCanonicalHost => {
                "write the host in lower case, without ':443', and Docker Hub as docker.io: other spellings are other names to a node"
            }
            Refusal::ShortName => {
                "no registry is written, and nodes differ in where they look; write docker.io/ in front"
            }
        }
    }

    /// Whether no setting and no rule can admit it.
    pub fn is_final(self) -> bool {
        self <= Refusal::ForbiddenIp
    }
}

/// A small set of refusals, in the order of [`Refusal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals(u16);

impl Refusals {
    /// Whether it holds `refusal`.
    pub fn contains(self, refusal: Refusal) -> bool {
        self.0 & (1 << refusal as u16) != 0
    }

    /// The set with `refusal` put in.
    pub fn with(self, refusal: Refusal) -> Self {
        Refusals(self.0 | (1 << refusal as u16))
    }

    /// The set with `refusal` taken out.
    pub fn without(self, refusal: Refusal) -> Self {
        Refusals(self.0 & !(1 << refusal as u16))
    }

    /// All, worst first.
    pub fn iter(self) -> impl Iterator<Item = Refusal> {
        Refusal::ALL.into_iter().filter(move |refusal| self.contains(*refusal))
    }

    /// None at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Reference;

    fn refusals(text: &str) -> Vec<Refusal> {
        Reference::parse(text).unwrap().refusals().iter().collect()
    }

    #[test]
    fn each_shape_is_refused_and_its_neighbour_is_not() {
        use Refusal::{
            EmptyDomain, ForbiddenIp, ImageId, IpHost, Localhost, NonCanonicalHost, NumericHost, PortRange, ShortName,
        };
        let cases: &[(&str, &[Refusal])] = &[
            ("ghcr.io/org/app:v1", &[]),
            ("nginx", &[ShortName]),
            ("org/app", &[ShortName]),
            ("docker.io/org/app", &[]),
            ("sha256:2d71164", &[ImageId, ShortName]),
            ("sha512:2d71164", &[ImageId, ShortName]),
            ("sha256:2D71164", &[ImageId, ShortName]),
            ("sha256:latest", &[ShortName]),
            ("sha256", &[ShortName]),
            ("docker.io/library/sha256:2d71164", &[]),
            ("library/sha256:2d71164", &[ShortName]),
            ("ex_ample.com/app", &[EmptyDomain]),
            ("test_com/foo", &[ShortName]),
            ("0x7f.1/app", &[NumericHost]),
            ("127.0x1/app", &[NumericHost]),
            ("a.0x/app", &[NumericHost]),
            ("0X7F.0X1/app", &[NumericHost, NonCanonicalHost]),
            ("1.2/app", &[NumericHost]),
            ("127.1/app", &[NumericHost]),
            ("127:5000/app", &[NumericHost]),
            ("256.1.1.1/app", &[NumericHost]),
            ("0177.0.0.1/app", &[NumericHost]),
            ("1.2.3.4.5/app", &[NumericHost]),
            ("registry.1/app", &[NumericHost]),
            ("1.example/app", &[]),
            ("0x7f.example/app", &[]),
            ("a.0xyz/app", &[]),
            ("192.168.1.1:5000/repo", &[IpHost]),
            ("[::1]:5000/repo", &[IpHost]),
            ("[0:0:0:0:0:0:0:1]/repo", &[IpHost, NonCanonicalHost]),
            ("[2001:DB8::1]/repo", &[IpHost, NonCanonicalHost]),
            ("[::ffff:7f00:1]/repo", &[IpHost, NonCanonicalHost]),
            ("169.254.169.254/app", &[ForbiddenIp]),
            ("169.253.169.254/app", &[IpHost]),
            ("0.0.0.0/app", &[ForbiddenIp]),
            ("224.0.0.1/app", &[ForbiddenIp]),
            ("255.255.255.255/app", &[ForbiddenIp]),
            ("[fe80::1]/app", &[ForbiddenIp]),
            ("[febf::1]/app", &[ForbiddenIp]),
            ("[fec0::1]/app", &[IpHost]),
            ("[fd00:ec2::254]/app", &[ForbiddenIp]),
            ("[fd00:ec2::255]/app", &[IpHost]),
            ("[::]/app", &[ForbiddenIp]),
            ("[ff02::1]/app", &[ForbiddenIp]),
            ("[::ffff:a9fe:a9fe]/app", &[ForbiddenIp, NonCanonicalHost]),
            ("[::a9fe:a9fe]/app", &[ForbiddenIp]),
            ("[64:ff9b::a9fe:a9fe]/app", &[ForbiddenIp]),
            ("[64:ff9b::808:808]/app", &[IpHost]),
            ("[:::::]/app", &[ForbiddenIp]),
            ("[1]:5000/app", &[ForbiddenIp]),
            ("[A]/app", &[ForbiddenIp, NonCanonicalHost]),
            ("localhost/app", &[Localhost]),
            ("localhost:5000/app:v1", &[Localhost]),
            ("LOCALHOST/app", &[Localhost, NonCanonicalHost]),
            ("a.localhost/app", &[Localhost]),
            ("localhost.example/app", &[]),
            ("notlocalhost:5000/app", &[]),
            ("ghcr.io:443/o/a:v1", &[NonCanonicalHost]),
            ("ghcr.io:0443/o/a:v1", &[NonCanonicalHost]),
            ("ghcr.io:05000/o/a:v1", &[NonCanonicalHost]),
            ("ghcr.io:5000/o/a:v1", &[]),
            ("GHCR.io/o/a", &[NonCanonicalHost]),
            ("Foo/bar", &[NonCanonicalHost]),
            ("docker.io:443/nginx", &[NonCanonicalHost]),
            ("Docker.io/nginx", &[NonCanonicalHost]),
            ("registry-1.docker.io/library/nginx", &[NonCanonicalHost]),
            ("Index.docker.io/library/nginx", &[NonCanonicalHost]),
            ("index.docker.io:443/library/nginx", &[NonCanonicalHost]),
            ("index.docker.io/nginx", &[]),
            ("example.com:65536/app", &[PortRange]),
            ("example.com:0/app", &[PortRange]),
            ("example.com:00/app", &[PortRange, NonCanonicalHost]),
            ("example.com:99999999999999999999999/app", &[PortRange]),
            ("example.com:65535/app", &[]),
            ("example.com:1/app", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(refusals(text), *expected, "{text}");
        }
    }

    #[test]
    fn canonical_registries() {
        let cases = [
            ("ghcr.io/o/a", "ghcr.io"),
            ("GHCR.io:443/o/a", "ghcr.io"),
            ("GHCR.io:5000/o/a", "ghcr.io:5000"),
            ("ghcr.io:05000/o/a", "ghcr.io:5000"),
            ("docker.io:443/nginx", "docker.io"),
            ("Docker.io/nginx", "docker.io"),
            ("registry-1.docker.io:443/library/nginx", "docker.io"),
            ("registry-1.docker.io:5000/library/nginx", "registry-1.docker.io:5000"),
            ("[2001:DB8:0::1]:5000/a", "[2001:db8::1]:5000"),
            ("[2001:db8::1]:443/a", "[2001:db8::1]"),
            ("[::ffff:0a00:1]:80/a", "10.0.0.1:80"),
            ("[:::::]/a", "[:::::]"),
            ("ex_ample.com/app", ""),
        ];
        for (text, canonical) in cases {
            assert_eq!(Reference::parse(text).unwrap().canonical_registry(), canonical, "{text}");
        }
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = Refusals::default().with(Refusal::ShortName).with(Refusal::ImageId);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Refusal::ImageId, Refusal::ShortName]);
        assert!(!set.is_empty() && set.contains(Refusal::ImageId) && !set.contains(Refusal::IpHost));
        assert!(set.without(Refusal::ImageId).without(Refusal::ShortName).is_empty());
        let finals: Vec<_> = Refusal::ALL.into_iter().filter(|refusal| refusal.is_final()).map(Refusal::name).collect();
        assert_eq!(finals, ["ImageId", "EmptyDomain", "NumericHost", "PortRange", "IpHost"]);
    }
}
