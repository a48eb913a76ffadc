//! What a registry that keeps to the protocol answers (OCI distribution 1.1; the token protocol of docker's registry).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::content::Document;
use super::wire::{Act, Asked, Reply};
use super::{Access, Kind, Repository, Script, State, User};

/// What of a registry a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    Manifest { repository: &'a str, reference: &'a str },
    Blob { repository: &'a str, digest: &'a str },
    Tags { repository: &'a str },
    Token,
    Other,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        let Some(rest) = path.strip_prefix("/v2/") else {
            return if path.starts_with("/token") { Place::Token } else { Place::Other };
        };
        if let Some((repository, reference)) = rest.rsplit_once("/manifests/") {
            return Place::Manifest { repository, reference };
        }
        if let Some((repository, digest)) = rest.rsplit_once("/blobs/") {
            return Place::Blob { repository, digest };
        }
        rest.strip_suffix("/tags/list").map_or(Place::Other, |repository| Place::Tags { repository })
    }

    fn repository(self) -> Option<&'a str> {
        match self {
            Place::Manifest { repository, .. } | Place::Blob { repository, .. } | Place::Tags { repository } => {
                Some(repository)
            }
            Place::Token | Place::Other => None,
        }
    }
}

/// Its kind, and the script that is asked first.
pub(super) fn sort(state: &State, asked: &Asked) -> (Kind, Option<Script>) {
    let place = Place::of(asked.path());
    let kind = match place {
        Place::Manifest { .. } if asked.method == "HEAD" => Kind::Head,
        Place::Manifest { .. } => Kind::Get,
        Place::Blob { .. } => Kind::Blob,
        Place::Tags { .. } => Kind::Tags,
        Place::Token => return (Kind::Token, state.token_script.clone()),
        Place::Other => Kind::Other,
    };
    let script = |name: &str| state.repositories.get(name).and_then(|repository| repository.script.clone());
    (kind, place.repository().and_then(script).or_else(|| script("*")))
}

/// The registry's answer.
pub(super) fn answer(state: &mut State, asked: &Asked) -> Act {
    let place = Place::of(asked.path());
    if let Err(refusal) = admitted(state, asked, place) {
        return refusal.into();
    }
    let Some(name) = place.repository() else {
        return Reply::new(if asked.path() == "/v2/" { 200 } else { 404 }).into();
    };
    let Some(repository) = state.repositories.get(name) else { return error(404, "NAME_UNKNOWN").into() };
    match place {
        Place::Manifest { reference, .. } => manifest(repository, reference).into(),
        Place::Blob { digest, .. } => match repository.blobs.get(digest) {
            Some(body) => Reply::new(200)
                .header("content-type", "application/octet-stream")
                .header("docker-content-digest", digest)
                .body(body.clone())
                .into(),
            None => error(404, "BLOB_UNKNOWN").into(),
        },
        _ => tags(name, repository, asked).into(),
    }
}

fn manifest(repository: &Repository, reference: &str) -> Reply {
    let digest = repository.tags.get(reference).map_or(reference, String::as_str);
    match repository.manifests.get(digest) {
        Some(document) => manifest_reply(document),
        None => error(404, "MANIFEST_UNKNOWN"),
    }
}

pub(super) fn manifest_reply(document: &Document) -> Reply {
    Reply::new(200)
        .header("content-type", document.media_type.as_str())
        .header("docker-content-digest", document.digest())
        .body(document.body.clone())
}

/// The list in lexical order, in pages where `n` asks for them (distribution specification, "Listing tags").
fn tags(name: &str, repository: &Repository, asked: &Asked) -> Reply {
    let size = asked.query("n").map_or(usize::MAX, |n| n.parse().unwrap());
    let last = asked.query("last").unwrap_or_default();
    let mut rest = repository.tags.keys().filter(|tag| **tag > last);
    let page: Vec<&String> = rest.by_ref().take(size).collect();
    let reply = Reply::new(200).header("content-type", "application/json");
    let reply = match (rest.next(), page.last()) {
        (Some(_), Some(last)) => {
            reply.header("link", format!("</v2/{name}/tags/list?n={size}&last={last}>; rel=\"next\""))
        }
        _ => reply,
    };
    reply.body(json!({"name": name, "tags": page}).to_string())
}

/// An answer in the protocol's form of errors.
pub(super) fn error(status: u16, code: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": "as the registry says", "detail": {}}]});
    Reply::new(status).header("content-type", "application/json").body(body.to_string())
}

/// Whether whoever asks may; else the answer.
fn admitted(state: &State, asked: &Asked, place: Place<'_>) -> Result<(), Reply> {
    let authorization = asked.header("authorization").unwrap_or_default();
    match &state.access {
        Access::Open => Ok(()),
        Access::Basic(users) => {
            let user = authorization.strip_prefix("Basic ").and_then(|basic| user(users, basic));
            match (user, place.repository()) {
                (Some(user), Some(repository)) if !may_read(users, Some(&user.name), repository) => {
                    Err(error(403, "DENIED"))
                }
                (Some(_), _) => Ok(()),
                (None, _) => Err(error(401, "UNAUTHORIZED").header("www-authenticate", "Basic realm=\"registry\"")),
            }
        }
        Access::Token(_) => {
            let token = authorization.strip_prefix("Bearer ").and_then(|token| state.tokens.get(token));
            let repository = place.repository();
            if token.is_some_and(|(_, for_repository)| repository.is_none_or(|name| name == for_repository)) {
                return Ok(());
            }
            let scope = repository.map(|name| format!(",scope=\"repository:{name}:pull\"")).unwrap_or_default();
            let challenge = format!("Bearer realm=\"{}\",service=\"registry\"{scope}", state.realm);
            Err(error(401, "UNAUTHORIZED").header("www-authenticate", challenge))
        }
    }
}

/// The user of a Basic authorization.
fn user<'u>(users: &'u [User], basic: &str) -> Option<&'u User> {
    let decoded = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    users.iter().find(|user| user.name == name && user.password == password)
}

/// Whether no user's list names the repository, or this user's does.
fn may_read(users: &[User], name: Option<&str>, repository: &str) -> bool {
    let mut owners = users.iter().filter(|user| user.repositories.iter().any(|named| named == repository)).peekable();
    owners.peek().is_none() || owners.any(|owner| Some(owner.name.as_str()) == name)
}

/// The token server's answer: GET with Basic or nobody's, POST with a refresh token or a password (OAuth2). Here the
/// refresh token of a user is `refresh-` and the user's password.
pub(super) fn give_token(state: &mut State, asked: &Asked) -> Act {
    let Access::Token(users) = &state.access else { return error(404, "UNSUPPORTED").into() };
    let posted = asked.method == "POST";
    let scope = if posted { asked.form("scope") } else { asked.query("scope") }.unwrap_or_default();
    let Some(repository) = scope.strip_prefix("repository:").and_then(|rest| rest.strip_suffix(":pull")) else {
        return error(400, "UNSUPPORTED").into();
    };
    let shown = if posted {
        let password = asked.form("refresh_token").and_then(|token| Some(token.strip_prefix("refresh-")?.to_owned()));
        Some(users.iter().find(|user| Some(&user.password) == password.as_ref()))
    } else {
        asked.header("authorization").map(|value| user(users, value.strip_prefix("Basic ").unwrap_or_default()))
    };
    let name = match shown {
        None => None,
        Some(Some(user)) => Some(user.name.clone()),
        Some(None) => return error(401, "UNAUTHORIZED").into(),
    };
    if !may_read(users, name.as_deref(), repository) {
        return error(403, "DENIED").into();
    }
    let repository = repository.to_owned();
    // No two alike, those that were forgotten among them.
    let given = state.seen.iter().filter(|(kind, _)| *kind == Kind::Token).count();
    let token = format!("token-{}-{given}", name.as_deref().unwrap_or("anonymous"));
    state.tokens.insert(token.clone(), (name, repository));
    let body = json!({"token": token, "access_token": token, "expires_in": 300});
    Reply::new(200).header("content-type", "application/json").body(body.to_string()).into()
}
