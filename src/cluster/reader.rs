//! Reading the cluster as whoever runs a command: single pages, lists page by page, and what keeps them from being read.

use std::fmt;
use std::time::Duration;

use http::{Method, Request, header};
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::Cluster;

/// The longest that one answer may take: a page of a large cluster's Pods has some megabytes.
const TIME: Duration = Duration::from_secs(30);
/// Objects of one page of a list.
const PAGE: usize = 500;
/// How often a list is begun anew where its next page is gone, because the API server has forgotten that version.
const TRIES: usize = 3;
/// Characters that are shown of an answer that is no Status.
const SHOWN: usize = 200;

/// Reads whatever the caller may read.
#[derive(Clone)]
pub struct Reader {
    client: kube::Client,
    /// A replica that is not ready says so with a status that the other would ask about again, for half a minute.
    once: kube::Client,
}

/// An answer, whatever its status is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The header `Date`: the clock of whoever answered.
    pub date: Option<String>,
    /// The body; what is not UTF-8 in it is replaced.
    pub text: String,
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The caller may not: the API server's sentence.
    Forbidden(String),
    /// Anything else: half a sentence.
    Failed(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Forbidden(why) | Unread::Failed(why) => f.write_str(why),
        }
    }
}

impl Reader {
    /// Of this cluster; nothing is read yet.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Reader { client: cluster.client.clone(), once: cluster.once.clone() }
    }

    /// Whatever is answered at a path of the API server, a proxied Pod's answers among them.
    ///
    /// # Errors
    /// Nothing is answered, or not in time.
    pub async fn page(&self, path: &str) -> Result<Page, Unread> {
        send(&self.once, Method::GET, path, Vec::new()).await
    }

    /// An object, or a list in one piece; none where there is no such thing.
    ///
    /// # Errors
    /// The caller may not read it, or it cannot be had.
    pub async fn object(&self, path: &str) -> Result<Option<Value>, Unread> {
        let page = send(&self.client, Method::GET, path, Vec::new()).await?;
        match page.status {
            404 => Ok(None),
            _ => read(&page.accepted()?).map(Some),
        }
    }

    /// Sends an object and gives what came back: a review of access, or an object that a dry run made.
    ///
    /// # Errors
    /// Nothing is answered, or not in time.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Page, Unread> {
        send(&self.once, Method::POST, path, object.to_string().into_bytes()).await
    }

    /// Every object of a list, by pages, each as text. None where there is no such list: the kind is not served.
    ///
    /// # Errors
    /// The caller may not list them, or some page cannot be had.
    pub async fn list<T>(&self, path: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<Vec<T>>, Unread> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.list_once(path, &read).await {
                Err(Broken::Gone) if tries > 0 => {}
                Err(Broken::Gone) => {
                    return Err(Unread::Failed("the list changed faster than it could be read".to_owned()));
                }
                Err(Broken::Unread(unread)) => return Err(unread),
                Ok(listed) => return Ok(listed),
            }
        }
    }

    async fn list_once<T>(&self, path: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<Vec<T>>, Broken> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{separator}limit={PAGE}{next}");
            let page = send(&self.client, Method::GET, &path, Vec::new()).await.map_err(Broken::Unread)?;
            match page.status {
                404 if next.is_empty() => return Ok(None),
                410 => return Err(Broken::Gone),
                _ => {}
            }
            let text = page.accepted().map_err(Broken::Unread)?;
            let list: List<'_> = serde_json::from_str(&text).map_err(|error| Broken::Unread(unreadable(&error)))?;
            for item in list.items {
                let item = read(item.get());
                items.push(item.ok_or_else(|| {
                    Broken::Unread(Unread::Failed("an object of the list cannot be understood".to_owned()))
                })?);
            }
            match list.metadata.r#continue.filter(|token| !token.is_empty()) {
                Some(token) => next = format!("&continue={}", escaped(&token)),
                None => return Ok(Some(items)),
            }
        }
    }
}

impl Page {
    /// The body of an answer that is none but a success.
    ///
    /// # Errors
    /// It is something else.
    pub fn accepted(self) -> Result<String, Unread> {
        match self.status {
            200..=299 => Ok(self.text),
            _ => Err(self.refusal()),
        }
    }

    /// What an answer says that is no success: a Status' message, else its beginning.
    #[must_use]
    pub fn refusal(&self) -> Unread {
        let said = serde_json::from_str::<Status>(&self.text).ok().map(|status| status.message);
        let said = said
            .filter(|said| !said.is_empty())
            .unwrap_or_else(|| self.text.trim().chars().take(SHOWN).filter(|c| !c.is_control()).collect::<String>());
        match self.status {
            401 | 403 => Unread::Forbidden(said),
            status => Unread::Failed(format!("the answer has status {status}: {said}")),
        }
    }
}

enum Broken {
    Gone,
    Unread(Unread),
}

#[derive(Deserialize)]
struct List<'l> {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(borrow, default)]
    items: Vec<&'l RawValue>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default)]
    r#continue: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    message: String,
}

async fn send(client: &kube::Client, method: Method, path: &str, body: Vec<u8>) -> Result<Page, Unread> {
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(body)).map_err(|error| unanswered(&error))?;
    let answer = async {
        let response = client.send(request).await.map_err(|error| unanswered(&error))?;
        let status = response.status().as_u16();
        let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        let bytes = response.into_body().collect_bytes().await.map_err(|error| unanswered(&error))?;
        Ok(Page { status, date, text: String::from_utf8_lossy(&bytes).into_owned() })
    };
    match timeout(TIME, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Unread::Failed(format!("the API server did not answer within {} s", TIME.as_secs()))),
    }
}

/// JSON as text into a value.
fn read(text: &str) -> Result<Value, Unread> {
    serde_json::from_str(text).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Unread {
    Unread::Failed(format!("the API server's answer cannot be read: {error}"))
}

fn unanswered(error: &dyn fmt::Display) -> Unread {
    Unread::Failed(format!("the API server cannot be asked: {error}"))
}

/// A token as a part of a query.
fn escaped(token: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let escape = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    token.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::{Page, Unread, escaped};

    fn page(status: u16, text: &str) -> Page {
        Page { status, date: None, text: text.to_owned() }
    }

    #[test]
    fn a_refusal_is_told_apart_from_a_failure() {
        let forbidden = page(403, r#"{"kind":"Status","message":"pods is forbidden"}"#);
        assert_eq!(forbidden.accepted(), Err(Unread::Forbidden("pods is forbidden".to_owned())));
        let broken = page(500, "<html>\u{1b}[2J oops").accepted();
        assert_eq!(broken, Err(Unread::Failed("the answer has status 500: <html>[2J oops".to_owned())));
        assert_eq!(page(201, "{}").accepted(), Ok("{}".to_owned()));
    }

    #[test]
    fn a_token_is_no_part_of_the_query_besides_itself() {
        assert_eq!(escaped("eyJ2Ijo=&limit=1 %"), "eyJ2Ijo%3D%26limit%3D1%20%25");
    }
}
