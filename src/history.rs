//! What ran where, from when to when: from Pods to lines that are only ever appended, and from lines to an answer.
//!
//! Pure: nothing is watched, read or written here, and the time is an argument. The elected replica (`server::history`)
//! feeds a [`Session`] with what it sees of Pods and writes the [`Record`]s that come of it; `release history` reads them
//! back as a [`Timeline`].

mod known;
mod ledger;
mod lines;
mod pods;
mod record;
mod session;
mod timeline;

pub use known::Known;
pub use lines::each_line;
pub use pods::{Container, ContainerKind, Pod, PodChange};
pub use record::{Change, Event, Read, Record, Release, Run, What};
pub use session::{ReleaseChange, Session, Told};
pub use timeline::{Answer, End, Interval, Span, Timeline};
