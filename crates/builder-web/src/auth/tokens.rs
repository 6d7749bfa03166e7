//! Tokens: what programs log in with, in place of a password or as `Authorization: Bearer`.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use builder_store::Sha256;
use builder_store::record::tokens::{self, Scope, Token};
use builder_store::users::{self, User};
use tracing::warn;

use super::refusals::Source;
use super::{
    Caller, Credentials, TOO_SOON, actor, credentials, note_not_let_in, random, wrong_token,
};
use crate::app::App;
use crate::client::Client;
use crate::error::{Error, Result, with_causes};
use crate::metrics::LogIn;

/// What every token begins with, so that people and scanners of leaked secrets know one.
pub const PREFIX: &str = "bwt_";
/// Random bytes of a token: nobody guesses it, so its digest needs no slow hash.
const RANDOM_BYTES: usize = 32;

/// Why somebody was not let in.
pub(super) const WRONG: &str = "wrong token";

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
    if let Some((_, token)) = &found
        && token.scope == Scope::Unknown
    {
        warn!(
            "token {} is refused: what it is for is not known to this version",
            token.name
        );
    }
    // Tokens of who is disabled were revoked, but by the OCaml tool, which knows of none.
    let found = found.filter(|(user, token)| {
        token.is_good(&now)
            && !user.is_disabled()
            && given.name.as_ref().is_none_or(|name| *name == user.name)
    });
    if let Some((_, token)) = &found
        && token.used_day.is_none_or(|day| day < now.days())
    {
        note_use(app, token.clone());
    }
    Ok(found)
}

/// Notes that a token was used today. In the background: nobody waits for it.
fn note_use(app: &App, token: Token) {
    let app = app.clone();
    let note = move |app: &App| {
        let now = app.now();
        let noted = app.store().write(|tx| tokens::note_use(tx, &token, &now));
        if let Err(error) = noted {
            warn!(
                "the use of token {} is not noted: {}",
                token.name,
                with_causes(&error)
            );
        }
    };
    tokio::spawn(async move { app.blocking(note).await });
}

/// Lets in who has a token for what only operators read, at `target`.
pub async fn admin(
    app: &App,
    headers: &HeaderMap,
    client: Option<&Client>,
    target: &str,
) -> Result<()> {
    let Some(given) = credentials(headers, app.limits().credential_bytes_max) else {
        return Err(Error::Unauthorized);
    };
    match find(app, &given).await? {
        Some((_, token)) if token.scope == Scope::Admin => {
            app.metrics().log_in(LogIn::Right);
            Ok(())
        }
        Some((user, token)) => {
            let why = format!(
                "token {} is for uploads; this needs one that was made with --scope admin",
                token.name
            );
            let source = Source::User(user.name.clone());
            let caller = Caller::of(user, Some(token), client);
            note_not_let_in(app, source, caller.actor, target, &why);
            Err(Error::Forbidden(why))
        }
        None => {
            let from = client.and_then(Client::network);
            let refused = wrong_token(app, &given, from);
            let why = match refused {
                Error::SlowedDown(_) => TOO_SOON,
                _ => WRONG,
            };
            let actor = actor(given.name.unwrap_or_default(), client);
            note_not_let_in(app, Source::Address(from), actor, target, why);
            Err(refused)
        }
    }
}
