//! Finds the programs of the test cluster; `assets/build.sh` is what puts them there.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of Kubernetes' programs, and etcd.
#[derive(Debug)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// `KUBEBUILDER_ASSETS` if set, else the cache that the script fills.
    pub fn find() -> Self {
        let folder = match env::var_os("KUBEBUILDER_ASSETS") {
            Some(folder) => PathBuf::from(folder),
            None => cache().join(version()),
        };
        Assets { folder }
    }

    pub fn program(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        if path.is_file() {
            return path;
        }
        let on_path = env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .map(|folder| folder.join(name))
            .find(|path| path.is_file());
        // Only etcd may be anybody's: Kubernetes' programs have to be of one version.
        on_path.filter(|_| name == "etcd").unwrap_or_else(|| {
            panic!("there is no {name} in {}; run tests/cluster/assets/build.sh first", self.folder.display())
        })
    }
}

fn cache() -> PathBuf {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&env::var_os("HOME").expect("HOME is set")).join(".cache"),
    };
    base.join("tagwarden/assets")
}

/// The version that the Go module beside the script asks for.
fn version() -> &'static str {
    include_str!("../assets/go.mod")
        .lines()
        .find_map(|line| line.strip_prefix("require k8s.io/kubernetes v"))
        .expect("go.mod requires k8s.io/kubernetes")
}
