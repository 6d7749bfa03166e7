//! Any text as a README: nothing panics, and nothing that could run or load comes through.
use builder_web::markdown;

/// One input.
pub fn run(data: &[u8]) {
    let Ok(data) = std::str::from_utf8(data) else {
        return;
    };
    let html = markdown::to_html(data).to_string();
    for part in html.split('<').skip(1) {
        let tag = part
            .split('>')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        for name in [
            "script", "style", "iframe", "object", "embed", "form", "img", "svg", "base",
        ] {
            assert!(!tag.trim_start_matches('/').starts_with(name), "<{tag}>");
        }
        // Outside of quotes are the names of attributes.
        for outside in tag.split('"').step_by(2) {
            for word in outside.split_ascii_whitespace().skip(1) {
                assert!(!word.starts_with("on"), "<{tag}>");
            }
        }
        assert!(
            !tag.contains("href=\"javascript") && !tag.contains("href=\"data"),
            "<{tag}>"
        );
    }
}
