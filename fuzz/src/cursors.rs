//! Any text as a cursor, and as the other small texts that come from outside: nothing panics, and
//! what is read is written as it was read.

use builder_web::client::TrustedProxy;
use builder_web::metrics::influx::Collector;
use builder_web::{cursor, names, origin, times};

/// One input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    cursors::<1>(text);
    cursors::<2>(text);
    cursors::<3>(text);
    if let Ok(number) = cursor::number::<i64>(text) {
        assert_eq!(
            cursor::number::<i64>(&number.to_string()).ok(),
            Some(number)
        );
    }
    if let Some(uuid) = names::uuid(text) {
        assert_eq!(names::uuid(&uuid.to_string()), Some(uuid));
    }
    if let Ok(time) = times::parse(text) {
        assert_eq!(times::parse(&time.to_rfc3339()), Ok(time));
    }
    if let Ok(url) = origin::parse(text) {
        assert_eq!(origin::parse(&url), Ok(url));
    }
    if let Ok(collector) = text.parse::<Collector>() {
        assert!(collector.to_string().contains(':'));
    }
    let _a_proxy_or_none = text.parse::<TrustedProxy>();
}

fn cursors<const N: usize>(text: &str) {
    for list in ["files", "b"] {
        if let Ok(parts) = cursor::decode::<N>(list, text) {
            let texts = parts.each_ref().map(String::as_str);
            let again = cursor::encode(list, &texts);
            assert_eq!(cursor::decode::<N>(list, &again).ok(), Some(parts));
        }
        let encoded = cursor::encode(list, &[text]);
        let fits = encoded.len() <= 8 * 1024 && !text.contains('\u{1f}');
        let decoded = cursor::decode::<1>(list, &encoded).ok();
        assert_eq!(decoded, fits.then(|| [text.to_owned()]));
    }
}
