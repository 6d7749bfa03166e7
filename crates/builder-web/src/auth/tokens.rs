//! Tokens: what programs log in with, in place of a password or as `Authorization: Bearer`.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use builder_store::Sha256;
use builder_store::record::tokens::{self, Scope, Token};
use builder_store::users::{self, User};

use super::{Credentials, credentials, random};
use crate::app::App;
use crate::error::{Error, Result};
use crate::metrics::LogIn;

/// What every token begins with, so that people and scanners of leaked secrets know one.
pub const PREFIX: &str = "bwt_";
/// Random bytes of a token: nobody guesses it, so its digest needs no slow hash.
const RANDOM_BYTES: usize = 32;

/// A new token.
pub fn new() -> String {
    let bytes: [u8; RANDOM_BYTES] = random();
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of a token.
pub fn digest(token: &[u8]) -> Sha256 {
    Sha256::of(token)
}

/// The user for whom a token stands that was given, and the token, if it is a good one.
pub(super) async fn find(app: &App, given: &Credentials) -> Result<Option<(User, Token)>> {
    if !given.password.starts_with(PREFIX.as_bytes()) {
        return Ok(None);
    }
    let digest = digest(&given.password);
    let found = app
        .read(move |tx| {
            let Some(token) = tokens::by_digest(tx, &digest)? else {
                return Ok(None);
            };
            Ok(users::by_name(tx, &token.user)?.map(|user| (user, token)))
        })
        .await?;
    let now = app.now();
    // A user without a password was disabled: its tokens are worth nothing.
    Ok(found.filter(|(user, token)| {
        token.is_good(&now)
            && !user.password.hash.is_empty()
            && given.name.as_ref().is_none_or(|name| *name == user.name)
    }))
}

/// Lets in who has a token for what only operators read.
pub async fn admin(app: &App, headers: &HeaderMap) -> Result<()> {
    let given = credentials(headers, app.limits().credential_bytes_max);
    let found = match &given {
        Some(given) => find(app, given).await?,
        None => None,
    };
    match found {
        Some((_, token)) if token.scope == Scope::Admin => {
            app.metrics().log_in(LogIn::Right);
            Ok(())
        }
        Some((_, token)) => Err(Error::Forbidden(format!(
            "token {} is for uploads; this needs one that was made with --scope admin",
            token.name
        ))),
        None => {
            if given.is_some() {
                app.metrics().log_in(LogIn::Wrong);
            }
            Err(Error::Unauthorized)
        }
    }
}
