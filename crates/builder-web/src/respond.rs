//! Parts of every answer: content types, what the client accepts, conditions and ranges.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::share::Picture;
use crate::site::Site;

/// Content type of pages.
pub const HTML: &str = "text/html; charset=utf-8";
/// Content type of JSON, as clients know it.
pub const JSON: &str = "application/json";
/// Content type of texts.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// What every page shows around its own content.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Where the style sheet is; changes with its content, so that it can be kept forever.
    pub style: String,
    /// Where the script is, likewise.
    pub script: String,
    /// What it is, as browsers compare it.
    pub script_digest: String,
    /// Where the picture is that browsers show beside the title.
    pub icon: String,
    /// Where the logo is, if the site has one.
    pub logo: Option<String>,
    /// What is shown beside a page that is shared.
    pub picture: Picture,
    /// What the operator says of the site.
    pub site: Site,
    /// The version of builder-web that serves it.
    pub version: &'static str,
}

/// What the client can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// It asked for JSON in any of the alternatives of `Accept`, whatever their order and weight:
    /// clients in the field rely on just that.
    pub json: bool,
    /// How a text may be packed.
    pub encoding: Encoding,
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Encoding {
    /// Its name in `Content-Encoding`.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Zstd => Some("zstd"),
        }
    }
}

impl Accepts {
    /// From the headers of a request.
    pub fn of(headers: &HeaderMap) -> Accepts {
        let json = list(headers, header::ACCEPT).any(|entry| {
            let media = entry.split(';').next().unwrap_or_default().trim();
            media.eq_ignore_ascii_case("application/json")
        });
        let (mut gzip, mut zstd) = (false, false);
        for entry in list(headers, header::ACCEPT_ENCODING) {
            let mut parts = entry.split(';').map(str::trim);
            let coding = parts.next().unwrap_or_default();
            let refused = parts.any(|parameter| {
                parameter
                    .strip_prefix("q=")
                    .and_then(|weight| weight.parse::<f32>().ok())
                    .is_some_and(|weight| weight <= 0.0)
            });
            gzip |= !refused && coding.eq_ignore_ascii_case("gzip");
            zstd |= !refused && coding.eq_ignore_ascii_case("zstd");
        }
        let encoding = match (zstd, gzip) {
            (true, _) => Encoding::Zstd,
            (false, true) => Encoding::Gzip,
            (false, false) => Encoding::Identity,
        };
        Accepts { json, encoding }
    }
}

/// The comma-separated entries of a header, trimmed.
fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// A header value of our own making. What cannot be one (it never holds bytes from outside that
/// were not encoded) is left empty.
pub fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether `If-None-Match` names this entity. Weak comparison, as RFC 9110 has it; the bare value
/// without quotes is what the OCaml server gave out.
pub fn none_match(headers: &HeaderMap, tag: &str) -> bool {
    list(headers, header::IF_NONE_MATCH).any(|entry| entry == "*" || tag_is(entry, tag))
}

/// `tag` without its quotes and mark, and without what our own compression added to it.
fn tag_is(entry: &str, tag: &str) -> bool {
    let bare = entry.strip_prefix("W/").unwrap_or(entry).trim_matches('"');
    let bare = bare
        .strip_suffix("-gzip")
        .or_else(|| bare.strip_suffix("-zstd"))
        .unwrap_or(bare);
    bare == tag
}

/// The part of a file that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// All of it.
    Whole,
    /// `count` bytes from `first` on.
    Part {
        /// The first byte.
        first: u64,
        /// How many; at least one.
        count: u64,
    },
    /// Not to be had.
    Refused(&'static str),
}

/// Reads `Range` and `If-Range` for a file of `size` bytes with the entity tag `tag`.
pub fn range(headers: &HeaderMap, size: u64, tag: &str) -> Range {
    let Some(range) = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok())
    else {
        return Range::Whole;
    };
    if let Some(condition) = headers.get(header::IF_RANGE) {
        // Strong comparison: what is marked weak, or a date (we give none out), matches nothing.
        let same = condition
            .to_str()
            .is_ok_and(|condition| condition == format!("\"{tag}\""));
        if !same {
            return Range::Whole;
        }
    }
    let Some((unit, specs)) = range.split_once('=') else {
        return Range::Whole;
    };
    // RFC 9110: a unit we do not know, or one that is malformed, is as good as no range.
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Range::Whole;
    }
    // It may be ignored, and several at once are.
    if specs.contains(',') {
        return Range::Whole;
    }
    let Some((first, last)) = specs.trim().split_once('-') else {
        return Range::Whole;
    };
    let number = |digits: &str| {
        // `parse` alone would take a sign.
        (!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
            .then(|| digits.parse::<u64>().unwrap_or(u64::MAX))
    };
    const OUTSIDE: Range = Range::Refused("the range is outside of the file");
    match (number(first), number(last)) {
        (Some(first), last) if last.is_some() || specs.trim().ends_with('-') => {
            if last.is_some_and(|last| last < first) {
                return Range::Whole;
            }
            if first >= size {
                return OUTSIDE;
            }
            let last = last.unwrap_or(u64::MAX).min(size - 1);
            Range::Part {
                first,
                count: last - first + 1,
            }
        }
        (None, Some(count)) if first.is_empty() => match count.min(size) {
            0 => OUTSIDE,
            count => Range::Part {
                first: size - count,
                count,
            },
        },
        _ => Range::Whole,
    }
}

/// `Content-Disposition` with a file's name: shown by the browser, or only saved.
pub fn disposition(file_name: &str, shown: bool) -> HeaderValue {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    /// `attr-char` of RFC 8187.
    const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    let kind = if shown { "inline" } else { "attachment" };
    let plain: String = file_name
        .chars()
        .map(|char| match char {
            '"' | '\\' | '%' => '_',
            ' '..='~' => char,
            _ => '_',
        })
        .collect();
    let mut text = format!("{kind}; filename=\"{plain}\"");
    if plain != file_name {
        text.push_str("; filename*=UTF-8''");
        text.extend(utf8_percent_encode(file_name, EXTENDED));
    }
    value(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, text: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(text).unwrap())])
    }

    #[test]
    fn json_is_asked_for_by_any_alternative_whatever_its_weight() {
        let json = |accept| Accepts::of(&headers(header::ACCEPT, accept)).json;
        assert!(json("application/json"));
        assert!(json("text/html;q=1, application/json;q=0.1"));
        assert!(json("text/html,Application/JSON ; charset=utf-8"));
        assert!(!json("*/*"));
        assert!(!json("application/*"));
        assert!(!json("text/html"));
    }

    #[test]
    fn the_best_encoding_that_is_not_refused_is_taken() {
        let encoding = |accept| Accepts::of(&headers(header::ACCEPT_ENCODING, accept)).encoding;
        assert_eq!(encoding("gzip, deflate, br, zstd"), Encoding::Zstd);
        assert_eq!(encoding("gzip;q=0.5"), Encoding::Gzip);
        assert_eq!(encoding("gzip;q=0, zstd; q=0.0"), Encoding::Identity);
        assert_eq!(encoding("identity"), Encoding::Identity);
        assert_eq!(encoding("*"), Encoding::Identity);
    }

    #[test]
    fn an_entity_is_recognised_quoted_bare_weak_in_a_list_and_by_the_star() {
        for same in [
            "\"abc=\"",
            "abc=",
            "W/\"abc=\"",
            "\"x\", \"abc=\"",
            "*",
            "\"abc=-gzip\"",
        ] {
            assert!(
                none_match(&headers(header::IF_NONE_MATCH, same), "abc="),
                "{same}"
            );
        }
        assert!(!none_match(
            &headers(header::IF_NONE_MATCH, "\"abd=\""),
            "abc="
        ));
    }

    #[test]
    fn one_range_is_served_and_several_or_nonsense_are_none() {
        let of = |text| range(&headers(header::RANGE, text), 100, "t");
        let part = |first, count| Range::Part { first, count };
        assert_eq!(of("bytes=0-9"), part(0, 10));
        assert_eq!(of("bytes=90-"), part(90, 10));
        assert_eq!(of("bytes=90-900"), part(90, 10));
        assert_eq!(of("bytes=-7"), part(93, 7));
        assert_eq!(of("bytes=-700"), part(0, 100));
        assert_eq!(of("bytes=0-18446744073709551616"), part(0, 100));
        assert!(matches!(of("bytes=100-"), Range::Refused(_)));
        assert!(matches!(of("bytes=-0"), Range::Refused(_)));
        for nonsense in [
            "bytes",
            "lines=1-2",
            "bytes=a-b",
            "bytes=5-1",
            "bytes=-",
            "bytes=+1-2",
            "bytes=1-x",
            "bytes= ",
            "bytes=0-1,5-6",
            "bytes=0-0,900-",
        ] {
            assert_eq!(of(nonsense), Range::Whole, "{nonsense}");
        }
    }

    #[test]
    fn if_range_with_another_or_a_weak_tag_gives_the_whole_file() {
        let mut with = headers(header::RANGE, "bytes=1-2");
        for (condition, whole) in [
            ("\"t\"", false),
            ("W/\"t\"", true),
            ("\"u\"", true),
            ("Tue, 12 May 2026 04:12:33 GMT", true),
        ] {
            with.insert(header::IF_RANGE, HeaderValue::from_static(condition));
            assert_eq!(range(&with, 100, "t") == Range::Whole, whole, "{condition}");
        }
    }

    #[test]
    fn a_file_name_is_given_plainly_and_exactly() {
        assert_eq!(
            disposition("a.hvt", false),
            "attachment; filename=\"a.hvt\""
        );
        assert_eq!(
            disposition("ü \"x\"\r\n.txt", true),
            "inline; filename=\"_ _x___.txt\"; filename*=UTF-8''%C3%BC%20%22x%22%0D%0A.txt"
        );
    }
}
