//! Names in URLs.

use uuid::Uuid;

/// A uuid in its canonical form of 36 characters, upper or lower case, and nothing around it.
pub fn uuid(text: &str) -> Option<Uuid> {
    // The parser would take other forms, too.
    (text.len() == 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_a_uuid() {
        let canonical = "f63a5b8a-9ab3-40a3-8cfc-fcbc1dc68df9";
        assert!(uuid(canonical).is_some());
        assert!(uuid(&canonical.to_uppercase()).is_some());
        for wrong in [
            "",
            "f63a5b8a9ab340a38cfcfcbc1dc68df9",
            &format!("{canonical}zz"),
            &format!("{{{canonical}}}"),
            &format!("urn:uuid:{canonical}"),
            &canonical.replace('f', "g"),
            "f63a5b8a-9ab340a3-8cfc-fcbc-1dc68df9",
        ] {
            assert_eq!(uuid(wrong), None, "{wrong}");
        }
    }
}
