//! Manifests, indexes and configurations as they come and as they must not.

use super::*;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image whose configuration is `config`.
fn image(config: &str) -> String {
    let digest = sha256(config);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{"mediaType":"{CONFIG}","digest":"{digest}"}},"layers":[]}}"#
    )
}

/// An index of these children, each a manifest and what else its descriptor has.
fn index(children: &[(&str, &str)]) -> String {
    let entry =
        |(document, rest): &(&str, &str)| format!(r#"{{"mediaType":"{IMAGE}","digest":"{}"{rest}}}"#, sha256(document));
    let entries: Vec<String> = children.iter().map(entry).collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, entries.join(","))
}

/// A registry that has these documents under their digests, and the first under `v1`.
async fn holding(documents: Vec<(&'static str, String)>) -> Server {
    Server::plain(move |seen, _| {
        let path = seen.line().split(' ').nth(1).unwrap().to_owned();
        let found = documents
            .iter()
            .enumerate()
            .find(|(number, (_, document))| path.ends_with(&sha256(document)) || *number == 0 && path.ends_with("/v1"));
        match found {
            Some((_, (media_type, document))) => {
                answer("200 OK", &format!("Content-Type: {media_type}\r\n"), if is_head(seen) { "" } else { document })
            }
            None => answer("404 Not Found", "", ""),
        }
    })
    .await
}

fn is_head(seen: &Seen) -> bool {
    seen.line().starts_with("HEAD")
}

async fn labels(server: &Server, digest: &str) -> Result<String, Failure> {
    let labels = plain(server, |_| ()).labels("a/b", digest, &Login::anonymous(), soon()).await?;
    Ok(labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn a_get_follows_where_head_does_not_say() {
    let document = image("{}");
    let server = holding(vec![(IMAGE, document.clone())]).await;
    let found = head(&plain(&server, |_| ()), "v1").await.unwrap();
    assert_eq!((found.digest.as_str(), found.media_type.as_str()), (sha256(&document).as_str(), IMAGE));
    assert_eq!(lines(&server), ["HEAD /v2/a/b/manifests/v1", "GET /v2/a/b/manifests/v1"]);

    let refusing = Server::plain(move |seen, _| {
        let headers = format!("Content-Type: {IMAGE}\r\n");
        if is_head(seen) { answer("405 No", "", "") } else { answer("200 OK", &headers, &document) }
    })
    .await;
    assert!(head(&plain(&refusing, |_| ()), "v1").await.is_ok());
    assert_eq!(refusing.seen().len(), 2);
}

#[tokio::test]
async fn a_document_is_what_its_digest_says() {
    let document = image("{}");
    let sha512 = manifest::hash(document.as_bytes(), Algorithm::Sha512).unwrap().to_string();
    let (right, wrong) = (sha256(&document), sha256("other"));
    let cases = [
        ("v1", "", Some(&right)),
        ("v1", &right, Some(&right)),
        ("v1", &sha512, Some(&sha512)),
        ("v1", &wrong, None),
        ("v1", "sha256:0", None),
        (&right, "", Some(&right)),
        (&right, &sha512, Some(&right)),
        (&sha512, &right, Some(&sha512)),
        (&right, &wrong, None),
        (&wrong, "", None),
        (&wrong, &right, None),
        ("sha256:0", "", None),
    ];
    for (reference, said, expected) in cases {
        let headers = match said {
            "" => format!("Content-Type: {IMAGE}\r\n"),
            said => typed(IMAGE, said),
        };
        let body = document.clone();
        let server = Server::plain(move |_, _| answer("200 OK", &headers, &body)).await;
        let got = plain(&server, |_| ()).manifest("a/b", reference, &Login::anonymous(), soon()).await;
        match (got, expected) {
            (Ok(got), Some(digest)) => assert_eq!(got.head.digest.as_str(), digest),
            (Err(failure), None) => assert_eq!(failure.kind, FailureKind::Protocol),
            (other, _) => panic!("{reference} {said}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_document_is_one_thing_and_what_it_says() {
    let config = format!(r#""config":{{"mediaType":"{CONFIG}","digest":"{}"}}"#, sha256(""));
    let fine = [
        (INDEX, index(&[])),
        (INDEX, r#"{"schemaVersion":2,"manifests":[]}"#.to_owned()),
        (IMAGE, format!(r#"{{"schemaVersion":2,{config},"layers":[{{}}]}}"#)),
        (DOCKER, format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER}",{config},"layers":[]}}"#)),
        ("", image("{}")),
    ];
    let refused = [
        ("", r#"{"schemaVersion":2,"manifests":[]}"#.to_owned()),
        (INDEX, image("{}")),
        (IMAGE, index(&[])),
        (DOCKER, image("{}")),
        (IMAGE, format!(r#"{{"schemaVersion":2,{config},"layers":[],"manifests":[]}}"#)),
        (IMAGE, format!(r#"{{"schemaVersion":2,{config},"layers":[],"Manifests":[]}}"#)),
        (INDEX, r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned()),
        (INDEX, format!(r#"{{"schemaVersion":2,"manifests":[],{config}}}"#)),
        (INDEX, r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#.to_owned()),
        (INDEX, r#"{"schemaVersion":1,"manifests":[]}"#.to_owned()),
        (INDEX, r#"{"manifests":[]}"#.to_owned()),
        (INDEX, r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:0"}]}"#.to_owned()),
        (INDEX, r#"{"schemaVersion":2,"manifests":[{}]}"#.to_owned()),
        (INDEX, r#"{"schemaVersion":2,"manifests":{}}"#.to_owned()),
        (IMAGE, format!(r#"{{"schemaVersion":2,{config}}}"#)),
        (IMAGE, r#"{"schemaVersion":2,"layers":[]}"#.to_owned()),
        (IMAGE, format!(r#"{{"schemaVersion":2,{config},"layers":[],"fsLayers":[]}}"#)),
        (IMAGE, image("{}").replace(CONFIG, "application/vnd.cncf.helm.config.v1+json")),
        (IMAGE, image("{}").replace("layers\":[", &format!("layers\":[{}", "[".repeat(10_000)))),
        ("text/html", "<html>Please log in</html>".to_owned()),
        (IMAGE, "<html>Please log in</html>".to_owned()),
        (IMAGE, String::new()),
    ];
    let cases = fine.into_iter().map(|case| (case, true)).chain(refused.into_iter().map(|case| (case, false)));
    for ((media_type, document), fine) in cases {
        let body = document.clone();
        let headers = if media_type.is_empty() { String::new() } else { format!("Content-Type: {media_type}\r\n") };
        let server = Server::plain(move |_, _| answer("200 OK", &headers, &body)).await;
        let got = plain(&server, |_| ()).manifest("a/b", "v1", &Login::anonymous(), soon()).await;
        assert_eq!(got.is_ok(), fine, "{media_type} {document:.200}: {got:?}");
        assert!(got.err().is_none_or(|failure| failure.kind == FailureKind::Protocol));
    }
}

#[tokio::test]
async fn documents_have_a_size() {
    for (bytes, fine) in [(DOCUMENT_BYTES, true), (DOCUMENT_BYTES + 1, false)] {
        let mut document = image("{}");
        document.push_str(&" ".repeat(bytes - document.len()));
        let server = holding(vec![(IMAGE, document)]).await;
        let got = plain(&server, |_| ()).manifest("a/b", "v1", &Login::anonymous(), soon()).await;
        assert_eq!(got.is_ok(), fine, "{bytes}");
    }
    let many = |count: usize| index(&vec![("", ""); count]);
    for (count, fine) in [(1000, true), (1001, false)] {
        let server = holding(vec![(INDEX, many(count))]).await;
        let got = plain(&server, |_| ()).manifest("a/b", "v1", &Login::anonymous(), soon()).await;
        assert_eq!(got.is_ok(), fine, "{count}");
    }
}

#[tokio::test]
async fn labels_are_those_of_the_common_platform_or_the_first_image() {
    let configs = ["arm", "amd", "note"].map(|who| format!(r#"{{"config":{{"Labels":{{"who":"{who}"}}}}}}"#));
    let [arm, amd, note] = configs.each_ref().map(|config| image(config));
    let on = |platform: &str| format!(r#","platform":{platform}"#);
    let (on_arm, on_amd) =
        (on(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#), on(r#"{"os":"linux","architecture":"amd64"}"#));
    let attached = r#","platform":null,"annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
    let cases = [
        (index(&[(&arm, &on_arm), (&amd, &on_amd)]), Ok("who=amd")),
        (index(&[(&note, attached), (&arm, &on_arm)]), Ok("who=arm")),
        (index(&[(&arm, ""), (&note, "")]), Ok("who=arm")),
        (index(&[(&note, attached)]), Err(FailureKind::Protocol)),
        (index(&[]), Err(FailureKind::Protocol)),
        (index(&[("gone", "")]), Err(FailureKind::NotFoundOrNoAccess)),
        (amd.clone(), Ok("who=amd")),
    ];
    for (top, expected) in cases {
        let media_type = if top.contains("manifests") { INDEX } else { IMAGE };
        let mut documents = vec![(media_type, top.clone())];
        documents.extend([&arm, &amd, &note].map(|document| (IMAGE, document.clone())));
        documents.extend(configs.iter().map(|config| ("application/octet-stream", config.clone())));
        let server = holding(documents).await;
        let got = labels(&server, &sha256(&top)).await.map_err(|failure| failure.kind);
        assert_eq!(got.as_deref().map_err(|kind| *kind), expected, "{top}");
        assert!(server.seen().len() <= 3);
    }
}

#[tokio::test]
async fn a_child_that_is_an_index_is_not_followed() {
    let nested = index(&[]);
    let top = index(&[(&nested, "")]);
    let server = holding(vec![(INDEX, top.clone()), (INDEX, nested)]).await;
    assert_eq!(labels(&server, &sha256(&top)).await.unwrap_err().kind, FailureKind::Protocol);
}

#[tokio::test]
async fn a_configuration_is_what_its_digest_says() {
    let document = image(r#"{"config":{}}"#);
    for (config, fine) in [(r#"{"config":{}}"#, true), (r#"{"config":{"Labels":{"forged":"1"}}}"#, false)] {
        let document = document.clone();
        let digest = sha256(&document);
        let server = Server::plain(move |seen, _| {
            let headers = format!("Content-Type: {IMAGE}\r\n");
            if seen.line().contains("/blobs/") {
                answer("200 OK", "", config)
            } else {
                answer("200 OK", &headers, &document)
            }
        })
        .await;
        assert_eq!(labels(&server, &digest).await.is_ok(), fine);
        assert_eq!(server.seen()[1].header("accept"), Some("*/*"));
    }
}

#[tokio::test]
async fn platforms_are_those_of_all_images() {
    let config = r#"{"os":"linux","architecture":"s390x"}"#;
    let single = image(config);
    let several = index(&[
        ("a", r#","platform":{"os":"linux","architecture":"arm64","variant":"v8"}"#),
        ("b", r#","annotations":{"vnd.docker.reference.type":"x"}"#),
        ("c", r#","platform":{"os":"windows","architecture":"amd64","os.version":"10"}"#),
        ("d", ""),
    ]);
    let odd = index(&[("a", r#","platform":{"os":"li\u001bnux","architecture":"arm64"}"#)]);
    let cases = [
        (IMAGE, single, Some("linux/s390x")),
        (INDEX, several, Some("linux/arm64/v8 windows/amd64")),
        (INDEX, odd, None),
    ];
    for (media_type, document, expected) in cases {
        let server = holding(vec![(media_type, document), ("x/y", config.to_owned())]).await;
        let (remote, nobody) = (plain(&server, |_| ()), Login::anonymous());
        let manifest = remote.manifest("a/b", "v1", &nobody, soon()).await.unwrap();
        let platforms = remote.platforms("a/b", &manifest, &nobody, soon()).await;
        assert_eq!(platforms.ok().map(|platforms| platforms.join(" ")).as_deref(), expected);
    }
}

async fn facts(server: &Server, digest: &str) -> Result<crate::policy::ImageFacts, Failure> {
    plain(server, |_| ()).image("a/b", digest, &Login::anonymous(), soon()).await
}

/// The facts in short: each platform with its label `who`, its base and when it was made.
fn told(facts: &crate::policy::ImageFacts) -> String {
    let one = |one: &crate::policy::PlatformFacts| {
        let who = one.labels.get("who").map_or("", String::as_str);
        format!("{} {who} {:?} {:?}", one.platform, one.base, one.created)
    };
    facts.platforms.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn an_image_is_told_on_every_platform_that_its_index_lists() {
    let configs = ["arm", "amd"].map(|who| {
        format!(
            r#"{{"os":"linux","architecture":"{who}64","created":"1970-01-01T00:00:09Z","config":{{"Labels":{{"who":"{who}"}}}}}}"#
        )
    });
    let [arm, amd] = configs.each_ref().map(|config| image(config));
    let based = amd.replacen('{', r#"{"annotations":{"org.opencontainers.image.base.name":"base:1","x":"y"},"#, 1);
    let on = |os: &str, architecture: &str| format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}"#);
    let (on_arm, unknown) = (on("linux", "arm64"), on("unknown", "unknown"));
    let marked = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
    let nested = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{INDEX}","digest":"{}"}}]}}"#,
        sha256("x")
    );
    let arm_told = "linux/arm64 arm None At(9)";
    let amd_told = r#"linux/amd64 amd Some("base:1") At(9)"#;
    let both = format!("{arm_told}; {amd_told}");
    let many = |count: usize| index(&vec![(arm.as_str(), on_arm.as_str()); count]);
    let all = vec![arm_told; 32].join("; ");
    let cases = [
        (index(&[(&arm, &on_arm), (&based, "")]), Ok(both.as_str())),
        (based.clone(), Ok(amd_told)),
        // Attestations: nobody has them, and nobody asks for them.
        (index(&[(&arm, &on_arm), ("gone", &format!("{unknown}{marked}")), ("gone", &unknown)]), Ok(arm_told)),
        // A mark alone hides nothing that a machine would run.
        (index(&[(&arm, &on_arm), (&based, marked)]), Ok(both.as_str())),
        (index(&[(&arm, &on_arm), ("gone", "")]), Err(FailureKind::NotFoundOrNoAccess)),
        (index(&[]), Err(FailureKind::Protocol)),
        (index(&[("gone", &unknown)]), Err(FailureKind::Protocol)),
        (index(&[(&arm, &on("", "arm64"))]), Err(FailureKind::Protocol)),
        (nested, Err(FailureKind::Protocol)),
        (index(&[(&arm, &on_arm)]).replacen(IMAGE, "application/vnd.example", 1), Err(FailureKind::Protocol)),
        (image(r#"{"config":{}}"#), Err(FailureKind::NotFoundOrNoAccess)),
        (many(32), Ok(all.as_str())),
        (many(33), Err(FailureKind::Protocol)),
    ];
    for (top, expected) in cases {
        let media_type = if top.contains("manifests") { INDEX } else { IMAGE };
        let mut documents = vec![(media_type, top.clone())];
        documents.extend([&arm, &based].map(|document| (IMAGE, document.clone())));
        documents.extend(configs.iter().map(|config| ("application/octet-stream", config.clone())));
        let server = holding(documents).await;
        let got = facts(&server, &sha256(&top)).await;
        assert_eq!(got.as_ref().map(told).as_deref().map_err(|failure| failure.kind), expected, "{top}");
    }
}

#[tokio::test]
async fn no_document_of_an_image_is_believed_without_its_hash() {
    let (config, forged) = (r#"{"os":"linux","architecture":"amd64"}"#, r#"{"os":"linux","architecture":"arm64"}"#);
    let (child, other) = (image(config), image(forged));
    let top = index(&[(&child, "")]);
    let digest = sha256(&top);
    // Which of the three is another than it should be: none, the index, the manifest, the configuration.
    for (wrong, fine) in [("", true), ("top", false), ("child", false), ("config", false)] {
        let (top, child, other) = (top.clone(), child.clone(), other.clone());
        let (digest_of_top, digest_of_child) = (sha256(&top), sha256(&child));
        let server = Server::plain(move |seen, _| {
            let said =
                |media_type: &str, body: &str| answer("200 OK", &format!("Content-Type: {media_type}\r\n"), body);
            match seen.line() {
                line if line.contains(&digest_of_top) && wrong == "top" => said(INDEX, &index(&[(&other, "")])),
                line if line.contains(&digest_of_top) => said(INDEX, &top),
                line if line.contains(&digest_of_child) && wrong == "child" => said(IMAGE, &other),
                line if line.contains(&digest_of_child) => said(IMAGE, &child),
                _ => said("application/octet-stream", if wrong == "config" { forged } else { config }),
            }
        })
        .await;
        let got = facts(&server, &digest).await.map(|facts| told(&facts)).map_err(|failure| failure.kind);
        let expected = if fine { Ok("linux/amd64  None Absent".to_owned()) } else { Err(FailureKind::Protocol) };
        assert_eq!(got, expected, "{wrong}");
    }
}

#[tokio::test]
async fn an_images_word_is_bounded_over_all_platforms() {
    let config = |bytes: usize| {
        format!(r#"{{"os":"linux","architecture":"amd64","config":{{"Labels":{{"k":"{}"}}}}}}"#, "v".repeat(bytes))
    };
    let config = config(250_000);
    let child = image(&config);
    for (children, fine) in [(4, true), (5, false)] {
        let top = index(&vec![(child.as_str(), ""); children]);
        let server = holding(vec![(INDEX, top.clone()), (IMAGE, child.clone()), ("x/y", config.clone())]).await;
        let got = facts(&server, &sha256(&top)).await.map_err(|failure| failure.kind);
        assert_eq!(
            got.map(|facts| facts.platforms.len()),
            if fine { Ok(children) } else { Err(FailureKind::Protocol) }
        );
    }
}
