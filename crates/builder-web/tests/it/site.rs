//! What is the same on all pages: style sheet, script, logo, and what the operator says of the site.

use builder_web::site::Logo;

use crate::downloads::unpack;
use crate::server::Server;

#[test]
fn style_sheet_script_and_logo_are_kept_forever_only_by_the_name_of_their_content() {
    let server = Server::with(|config| {
        config.site.logo = Some(Logo {
            bytes: b"<svg/>".to_vec(),
            content_type: "image/svg+xml",
        });
    });
    let page = server.page("/");
    for (path, content_type) in [
        ("/style.css", "text/css; charset=utf-8"),
        ("/script.js", "text/javascript; charset=utf-8"),
        ("/logo", "image/svg+xml"),
    ] {
        let begin = page.find(&format!("{path}?v=")).unwrap();
        let url = page[begin..].split('"').next().unwrap();
        let plain = server.get(url);
        assert_eq!(
            plain.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
        assert_eq!(plain.header("content-type"), Some(content_type));
        for other in ["", "?v=", "?v=000000000000"].map(|query| format!("{path}{query}")) {
            let answer = server.get(&other);
            assert_eq!(answer.header("cache-control"), Some("no-cache"), "{other}");
            assert!(answer.body == plain.body);
            let tag = answer.header("etag").unwrap();
            let known = server.get_with(&other, &[("if-none-match", tag)]);
            assert_eq!((known.status, known.body.len()), (304, 0), "{other}");
        }
        assert_eq!(plain.header("vary"), Some("accept-encoding"));
        if path == "/logo" {
            let policy = plain.header("content-security-policy").unwrap();
            assert!(policy.starts_with("sandbox"), "{policy}");
            continue;
        }
        for encoding in ["gzip", "zstd"] {
            let answer = server.get_with(url, &[("accept-encoding", encoding)]);
            assert_eq!(answer.header("content-encoding"), Some(encoding));
            assert!(unpack(&answer) == plain.body);
        }
    }
    assert_eq!(Server::new().get("/logo").status, 404);
}

#[test]
fn the_operator_names_the_site_and_links_from_it() {
    let server = Server::with(|config| {
        config.site.name = "Builds of <Example>".to_owned();
        config.site.links = vec!["Imprint=https://example.org/imprint".parse().unwrap()];
    });
    for target in ["/", "/failed-builds", "/nowhere"] {
        let page = server.get(target).text();
        let name = "Builds of &#60;Example&#62;";
        assert!(page.contains(&format!("{name}</title>")), "{page}");
        assert!(page.contains("<a href=\"https://example.org/imprint\">Imprint</a>"));
    }
}
