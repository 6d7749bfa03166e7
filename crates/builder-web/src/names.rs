//! Names in URLs.

use axum::extract::FromRequestParts;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::error::Error;

/// The names in a path. A path that holds none we could have given out is that of no page.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Error> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(names)) => Ok(Path(names)),
            Err(PathRejection::FailedToDeserializePathParams(rejection)) => {
                match rejection.kind() {
                    ErrorKind::InvalidUtf8InPathParam { key } => Err(Error::NotFound(format!(
                        "the {key} in this address is no text: its bytes are not UTF-8"
                    ))),
                    kind => Err(Error::NotFound(format!("there is no such page: {kind}"))),
                }
            }
            // Our routes and handlers do not agree.
            Err(rejection) => Err(Error::internal(rejection)),
        }
    }
}

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
