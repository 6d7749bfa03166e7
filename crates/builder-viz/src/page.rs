//! The document around a picture: style, script, and what it may do.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::text::{escape, escaped};

const STYLE: &str = include_str!("style.css");
/// Only adds comfort: everything is there without it.
const SCRIPT: &str = include_str!("script.js");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// The content security policy of every picture, which is also written into it: its own style and
/// script and nothing else, from nowhere. A server may send it as a header, and add who may frame
/// the picture, which a document cannot say of itself.
pub fn policy() -> &'static str {
    &POLICY
}

/// How every picture begins.
const BEGIN: &str = "<!DOCTYPE html>\n<html lang=\"en\"";

/// A picture for a frame of a page that says itself what it is: without its own heading, and no
/// higher than the frame. Anything else stays as it is.
pub fn framed(mut document: Vec<u8>) -> Vec<u8> {
    if document.starts_with(BEGIN.as_bytes()) {
        let end = BEGIN.len();
        document.splice(end..end, *b" class=\"framed\"");
    }
    document
}

/// A whole document. `body` is markup.
pub(crate) fn document(title: &str, body: &str) -> String {
    let mut out = String::with_capacity(body.len() + STYLE.len() + SCRIPT.len() + 1024);
    out.push_str(BEGIN);
    out.push_str(">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"");
    escape(&mut out, policy());
    out.push_str(
        "\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
    );
    escape(&mut out, title);
    out.push_str("</title>\n<style>");
    out.push_str(STYLE);
    out.push_str("</style>\n</head>\n<body>\n<main>\n");
    out.push_str(body);
    out.push_str("</main>\n<script>");
    out.push_str(SCRIPT);
    out.push_str("</script>\n</body>\n</html>\n");
    out
}

/// The field to search in, which is of no use without the script, and the line where it tells what
/// is pointed at; what to do with it, by a mouse and by touch.
pub(crate) fn search_and_info(what: &str, hint: &str, touch: &str) -> String {
    format!(
        "<div class=\"bar\"><form id=\"find\" role=\"search\" hidden><label for=\"q\">Find a {what}</label> \
         <input id=\"q\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\"> <span id=\"found\" role=\"status\"></span></form>\
         <p id=\"info\" aria-live=\"polite\" data-hint=\"{hint}\" data-touch=\"{touch}\">{hint}</p></div>\n",
        what = escaped(what),
        hint = escaped(hint),
        touch = escaped(touch),
    )
}
