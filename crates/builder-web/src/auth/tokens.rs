//! Tokens: what programs log in with, in place of a password or as `Authorization: Bearer`.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use builder_exec::Timestamp;
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

/// What there is of a token that was given.
pub(super) enum Found {
    /// It is no token that was ever made, or not one of the user that was named with it.
    Nothing,
    /// A good one, and the user for whom it stands.
    Good(User, Token),
    /// One that was made here, whole and right, and why it lets nobody in. Who gives it has it: so
    /// this is no secret to them, and to nobody else is it told.
    WorthNothing(Token, String),
}

/// How the audit record names who has a token.
pub(super) fn who(token: &Token) -> String {
    format!("{} (token {})", token.user, token.name)
}

/// Looks for a token that was given.
pub(super) async fn find(app: &App, given: &Credentials) -> Result<Found> {
    if !given.password.starts_with(PREFIX.as_bytes()) {
        return Ok(Found::Nothing);
    }
    let digest = digest(&given.password);
    let found = app
        .read(move |tx| {
            let Some(token) = tokens::by_digest(tx, &digest)? else {
                return Ok(None);
            };
            let user = users::by_name(tx, &token.user)?;
            Ok(Some((token, user)))
        })
        .await?;
    let Some((token, user)) = found else {
        return Ok(Found::Nothing);
    };
    if given.name.as_ref().is_some_and(|name| *name != token.user) {
        return Ok(Found::Nothing);
    }
    let now = app.now();
    if let Some(flaw) = flaw(&token, user.as_ref(), &now) {
        if token.scope == Scope::Unknown {
            warn!(
                "token {} is refused: what it is for is not known to this version",
                token.name
            );
        }
        let why = why(&token, &flaw);
        return Ok(Found::WorthNothing(token, why));
    }
    let Some(user) = user else {
        return Ok(Found::Nothing);
    };
    if token.used_day.is_none_or(|day| day < now.days()) {
        note_use(app, token.clone());
    }
    Ok(Found::Good(user, token))
}

/// What a token that is worth nothing is called where that is told.
pub(super) fn why(token: &Token, flaw: &str) -> String {
    format!("token {} of {}, {flaw}", token.name, token.user)
}

/// Why a token of a user is worth nothing; none: it is good.
pub(super) fn flaw(token: &Token, user: Option<&User>, now: &Timestamp) -> Option<String> {
    if let Some(at) = token.revoked {
        return Some(format!("revoked {}", at.to_rfc3339()));
    }
    if token.scope == Scope::Unknown {
        return Some("for something that this version does not know".to_owned());
    }
    if !token.is_good(now) {
        let at = token.expires.map(Timestamp::to_rfc3339).unwrap_or_default();
        return Some(format!("expired {at}"));
    }
    // Tokens of who is removed or disabled were revoked, but by the OCaml tool, which knows of none.
    match user {
        None => Some("who was removed".to_owned()),
        Some(user) if user.is_disabled() => Some("who is disabled".to_owned()),
        Some(_) => None,
    }
}

/// What the client is told of it.
pub(super) fn worth_nothing(why: &str) -> Error {
    Error::WorthNothing(format!("{why}: it is worth nothing any more"))
}

/// Refuses, at `target`, who has a token that is worth nothing, and notes whose it was. It is slowed
/// down as a wrong one is, by which it is no better than that to those who have it.
pub(super) fn refuse(
    app: &App,
    given: &Credentials,
    token: &Token,
    why: &str,
    client: Option<&Client>,
    target: &str,
) -> Error {
    let actor = actor(who(token), client);
    // Not as one of those who guess: a flood of them does not push this out of the record.
    let source = Source::Token(token.name.clone());
    note_not_let_in(app, source, actor, target, why);
    match wrong_token(app, given, client.and_then(Client::network)) {
        Error::Unauthorized => {
            if token.revoked.is_none() && !token.was_expired {
                note_expired(app);
            }
            worth_nothing(why)
        }
        slowed_down => slowed_down,
    }
}

/// Notes that a token was used today, and which have expired. In the background: nobody waits for it.
fn note_use(app: &App, token: Token) {
    let app = app.clone();
    let note = move |app: &App| {
        let now = app.now();
        let noted = app.store().write(|tx| {
            tokens::note_expired(tx, &now)?;
            tokens::note_use(tx, &token, &now)
        });
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

/// Notes in the background which tokens have expired: so that they stay so, when the clock is put back
/// or begins anew. Done when the server starts, when the first token is used on a day, and when one is
/// given that has expired.
pub fn note_expired(app: &App) {
    let app = app.clone();
    let note = |app: &App| {
        let now = app.now();
        let store = app.store();
        let noted = store.read(|tx| tokens::any_expired(tx, &now));
        let noted = noted.and_then(|any| match any {
            true => store.write(|tx| tokens::note_expired(tx, &now)),
            false => Ok(()),
        });
        if let Err(error) = noted {
            let error = with_causes(&error);
            warn!("which tokens have expired is not noted: {error}");
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
        Found::Good(_, token) if token.scope == Scope::Admin => {
            app.metrics().log_in(LogIn::Right);
            Ok(())
        }
        Found::Good(user, token) => {
            let why = format!(
                "token {} is for uploads; this needs one that was made with --scope admin",
                token.name
            );
            let source = Source::User(user.name.clone());
            let caller = Caller::of(user, Some(token), client);
            note_not_let_in(app, source, caller.actor, target, &why);
            Err(Error::Forbidden(why))
        }
        Found::WorthNothing(token, why) => Err(refuse(app, &given, &token, &why, client, target)),
        Found::Nothing => {
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
