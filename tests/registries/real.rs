//! Real registries as processes on loopback, with TLS, and images pushed to them by crane.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The password of `alice`, and its hash as registries want it (bcrypt).
pub const PASSWORD: &str = "correct horse";
const HTPASSWD: &str = "$2a$05$kKHzxKxQd1a1lOjIk74pBOut26adOb1Q5JWxL/mgdg31ZKTzZgh5C";

/// Whose registry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Debian's `docker-registry`: CNCF distribution 2.8.
    Debian,
    /// CNCF distribution 3.
    Three,
}

/// Who may pull.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody.
    Open,
    /// `alice` with [`PASSWORD`].
    Basic,
    /// Whoever has a token of this server.
    Token {
        /// Where tokens are had.
        realm: String,
        /// The certificate, PEM, whose key signs them.
        signer: String,
    },
}

/// A certificate for `127.0.0.1` and `localhost` with its key and its authority, all PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
    pub authority: String,
}

/// A running registry; gone when dropped.
#[derive(Debug)]
pub struct Registry {
    flavour: Flavour,
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

/// One image to push: its labels and platform. Equal images have equal digests.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    pub labels: &'a [(&'a str, &'a str)],
    pub platform: &'a str,
}

/// An ordinary image whose digest depends on `build` alone.
pub fn image<'a>(build: &'a [(&'a str, &'a str)]) -> Image<'a> {
    Image { labels: build, platform: "linux/amd64" }
}

impl Registry {
    /// Starts one in `folder`, which keeps its images, and waits until it takes connections.
    pub fn start(flavour: Flavour, access: &Access, identity: &Identity, folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("the folder can be made");
        for (name, text) in
            [("tls.crt", &identity.certificate), ("tls.key", &identity.key), ("ca.crt", &identity.authority)]
        {
            fs::write(folder.join(name), text).expect("the folder can be written");
        }
        let layer = Command::new("tar").args(["-cf", "layer.tar", "ca.crt"]).current_dir(folder).status();
        assert!(layer.expect("tar runs").success(), "a layer can be made");
        let mut registry = Registry { flavour, folder: folder.to_owned(), port: free_port(), process: None };
        registry.configure(access);
        registry.login("alice", PASSWORD);
        registry.resume();
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The authority of its certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Starts it again after [`Registry::stop`], on its old port and with its old images.
    pub fn resume(&mut self) {
        let mut command = match self.flavour {
            Flavour::Debian => Command::new("docker-registry"),
            Flavour::Three => Command::new(program("registry")),
        };
        command.arg("serve").arg(self.folder.join("config.yml"));
        command.env("OTEL_TRACES_EXPORTER", "none");
        let log = File::create(self.folder.join("registry.log")).expect("the log can be made");
        let err = log.try_clone().expect("the log can be shared");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(err).spawn();
        self.process = Some(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")));
        let patience = Instant::now() + Duration::from_secs(60);
        while !self.listens() {
            assert!(Instant::now() < patience, "the registry does not listen:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// A connection to a free port may come to meet itself; that is no registry.
    fn listens(&self) -> bool {
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        connected.is_ok_and(|stream| stream.local_addr().ok() != stream.peer_addr().ok())
    }

    /// Lets in fewer from now on: it starts again with the same images.
    pub fn restrict(&mut self, access: &Access) {
        self.stop();
        self.configure(access);
        self.resume();
    }

    fn configure(&self, access: &Access) {
        let config = configuration(access, self.port, &self.folder);
        fs::write(self.folder.join("config.yml"), config).expect("the folder can be written");
    }

    /// Ends it: connections are refused from now on.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may be gone already, which is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Sends it a signal: after STOP it takes connections and says nothing, until CONT.
    pub fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it runs");
        let status = Command::new("kill").args([format!("-{name}"), process.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Pushes an image to `repository:tag` and returns its digest.
    pub fn push(&self, repository: &str, tag: &str, image: &Image<'_>) -> String {
        let target = format!("{}/{repository}:{tag}", self.host());
        self.crane(&["append", "--oci-empty-base", "-f", "layer.tar", "-t", &target]);
        let labels: Vec<String> = image.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut arguments = vec!["mutate", "--set-platform", image.platform];
        labels.iter().for_each(|label| arguments.extend(["--label", label]));
        arguments.extend(["-t", &target, &target]);
        self.crane(&arguments);
        self.digest(repository, tag)
    }

    /// Pushes an index of these images to `repository:tag` and returns its digest.
    pub fn push_index(&self, repository: &str, tag: &str, images: &[Image<'_>]) -> String {
        let target = format!("{}/{repository}:{tag}", self.host());
        let children: Vec<String> = images
            .iter()
            .map(|image| {
                let child = format!("child-{}", image.platform.replace('/', "-"));
                let digest = self.push(repository, &child, image);
                format!("{}/{repository}@{digest}", self.host())
            })
            .collect();
        let mut arguments = vec!["index", "append", "-t", &target];
        children.iter().for_each(|child| arguments.extend(["-m", child]));
        self.crane(&arguments);
        self.digest(repository, tag)
    }

    /// Gives what `from` names (a tag, or `@sha256:...`) the tag `to`, moving it if it is there.
    pub fn tag(&self, repository: &str, from: &str, to: &str) {
        let from = if from.starts_with('@') { from.to_owned() } else { format!(":{from}") };
        self.crane(&["tag", &format!("{}/{repository}{from}", self.host()), to]);
    }

    /// The digest of a tag, by crane.
    pub fn digest(&self, repository: &str, tag: &str) -> String {
        let reference = format!("{}/{repository}:{tag}", self.host());
        String::from_utf8(self.crane(&["digest", &reference]).stdout).expect("text").trim().to_owned()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("registry.log")).unwrap_or_default()
    }

    /// A docker configuration for one user of it.
    pub fn docker_config(&self, user: &str, password: &str) -> String {
        let auth = base64(format!("{user}:{password}").as_bytes());
        format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{auth}\"}}}}}}", self.host())
    }

    fn login(&self, user: &str, password: &str) {
        let text = self.docker_config(user, password);
        fs::write(self.folder.join("config.json"), text).expect("the folder can be written");
    }

    fn crane(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("crane"));
        command.args(arguments).current_dir(&self.folder);
        command.env("SSL_CERT_FILE", self.authority()).env("DOCKER_CONFIG", &self.folder);
        let output = command.output().expect("crane runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "crane {arguments:?}: {words}\n{}", self.log());
        output
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What crane finds at a reference, with the docker configuration in `home`; none where it is refused.
pub fn digest_by_crane(reference: &str, ca: &Path, home: &Path) -> Option<String> {
    let mut command = Command::new(program("crane"));
    command.args(["digest", reference]).env("SSL_CERT_FILE", ca).env("DOCKER_CONFIG", home);
    let output = command.output().expect("crane runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The service that tokens are for.
pub const SERVICE: &str = "registry of the tests";
/// Who issues them.
pub const ISSUER: &str = "token server of the tests";

fn configuration(access: &Access, port: u16, folder: &Path) -> String {
    let folder = folder.display();
    let auth = match access {
        Access::Open => String::new(),
        Access::Basic => {
            let path = format!("{folder}/htpasswd");
            fs::write(&path, format!("alice:{HTPASSWD}\n")).expect("the folder can be written");
            format!("auth: {{htpasswd: {{realm: tests, path: {path}}}}}\n")
        }
        Access::Token { realm, signer } => {
            let bundle = format!("{folder}/signer.crt");
            fs::write(&bundle, signer).expect("the folder can be written");
            format!(
                "auth: {{token: {{realm: \"{realm}\", service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {bundle}}}}}\n"
            )
        }
    };
    format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\nstorage: {{filesystem: {{rootdirectory: {folder}/images}}, delete: {{enabled: true}}}}\n\
         http:\n  addr: 127.0.0.1:{port}\n  tls: {{certificate: {folder}/tls.crt, key: {folder}/tls.key}}\n{auth}"
    )
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A program that tests/registries/build.sh made.
fn program(name: &str) -> PathBuf {
    let folder = env::var_os("TAGWARDEN_REGISTRIES").map(PathBuf::from).or_else(newest).unwrap_or_default();
    let path = folder.join(name);
    assert!(path.is_file(), "there is no {name} in {}; run tests/registries/build.sh first", folder.display());
    path
}

/// The folder that the script filled last.
fn newest() -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")))?;
    let folders = fs::read_dir(base.join("tagwarden/registries")).ok()?;
    folders.filter_map(|entry| Some(entry.ok()?.path())).max()
}

/// RFC 4648 with padding.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
