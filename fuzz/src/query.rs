//! Any text as a query string: nothing panics, what is found was sent.
use builder_web::query::Query;

/// One input.
pub fn run(data: &[u8]) {
    let Ok(data) = std::str::from_utf8(data) else {
        return;
    };
    let query = Query::parse(Some(data));
    for name in ["platform", "count", "start", "sha256", "q", ""] {
        if let Some(value) = query.get(name) {
            // Decoding makes nothing longer but what is no UTF-8: a byte becomes three.
            assert!(value.len() <= data.len() * 3);
        }
        if let Some(number) = query.number(name) {
            assert!(
                query
                    .get(name)
                    .is_some_and(|text| text.contains(char::is_numeric)),
                "{number}"
            );
        }
    }
    assert!(query.platform().is_none_or(|platform| !platform.is_empty()));
}
