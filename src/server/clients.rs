//! Whose certificates clients must show, where our own certificate does not come from files: the last good file counts.

use std::path::{Path, PathBuf};

use super::tls::check_client_ca;
use crate::watch::{Target, Watch};

/// The authority of clients.
#[derive(Default)]
pub(super) struct Clients {
    file: Option<PathBuf>,
    watch: Option<Watch>,
    /// The file's name and its contents as they were when they could be used.
    good: Option<(String, Vec<u8>)>,
    /// Counts the changes.
    version: u64,
}

impl Clients {
    /// That of this file; without one, clients need no certificate.
    ///
    /// # Errors
    /// One sentence: it cannot be read or used.
    pub fn read(file: Option<&Path>) -> Result<Self, String> {
        let mut clients = Clients::default();
        clients.look(file)?;
        Ok(clients)
    }

    /// Takes in what the file says now, if it can be used. Reads it, so that it may block.
    ///
    /// # Errors
    /// One sentence, once for each different failure: it cannot be read or used; what was read before counts.
    pub fn look(&mut self, file: Option<&Path>) -> Result<(), String> {
        if self.file.as_deref() != file {
            self.file = file.map(Path::to_owned);
            self.watch = file.map(|file| Watch::new(vec![Target::File(file.to_owned())]));
            if file.is_none() {
                self.good = None;
                self.version += 1;
            }
        }
        let Some(changed) = self.watch.as_mut().and_then(Watch::poll) else { return Ok(()) };
        for (path, bytes) in changed? {
            let name = path.display().to_string();
            check_client_ca(&name, &bytes)?;
            self.good = Some((name, bytes));
            self.version += 1;
        }
        Ok(())
    }

    /// Its file's name and contents; none: clients need no certificate, since `file` names none.
    ///
    /// # Errors
    /// One sentence: they need one, and the file could not be used yet.
    pub fn authority(&self, file: Option<&Path>) -> Result<Option<(&str, &[u8])>, String> {
        match (file, &self.good) {
            (None, _) => Ok(None),
            (Some(_), Some((name, bytes))) => Ok(Some((name, bytes))),
            (Some(file), None) => {
                let file = file.display();
                Err(format!(
                    "no certificate is made while it is not known whose certificates clients must show: mend '{file}', which 'tls.clientCA' names"
                ))
            }
        }
    }

    /// Differs after every change.
    pub fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::Clients;
    use crate::certs::Authority;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn the_last_good_file_counts_until_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.crt");
        let [one, other] = [(); 2].map(|()| Authority::new("test", NOW, 1000).unwrap());
        assert!(Clients::read(Some(&file)).err().unwrap().contains("cannot read"));
        std::fs::write(&file, one.pem()).unwrap();
        let mut clients = Clients::read(Some(&file)).unwrap();
        let first = clients.version();
        std::fs::write(&file, "hello").unwrap();
        assert!(clients.look(Some(&file)).unwrap_err().contains("ca.crt"));
        assert_eq!(clients.look(Some(&file)), Ok(()), "told once");
        let authority = |clients: &Clients| clients.authority(Some(&file)).unwrap().unwrap().1.to_owned();
        assert_eq!(authority(&clients), one.pem().as_bytes());
        assert_eq!(clients.version(), first);
        std::fs::write(&file, other.pem()).unwrap();
        clients.look(Some(&file)).unwrap();
        assert_eq!(authority(&clients), other.pem().as_bytes());
        assert_ne!(clients.version(), first);
        clients.look(None).unwrap();
        assert_eq!(clients.authority(None), Ok(None));
    }

    #[test]
    fn a_file_that_was_never_good_is_not_the_same_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.crt");
        let mut clients = Clients::default();
        assert!(clients.authority(Some(&file)).unwrap_err().contains("mend '"), "it was not looked at yet");
        std::fs::write(&file, "hello").unwrap();
        clients.look(Some(&file)).unwrap_err();
        assert!(clients.authority(Some(&file)).unwrap_err().contains("ca.crt', which 'tls.clientCA' names"));
        std::fs::write(&file, Authority::new("test", NOW, 1000).unwrap().pem()).unwrap();
        clients.look(Some(&file)).unwrap();
        assert!(clients.authority(Some(&file)).unwrap().is_some());
    }
}
