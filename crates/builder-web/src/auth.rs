//! Who uploads: HTTP Basic against the user table, whose passwords are scrypt hashes.
//!
//! scrypt is slow on purpose, and an upload is sent with its password each time. So a password
//! that was right is remembered for some minutes, as a digest under a key that this process alone
//! knows and never writes down.

mod attempts;
pub mod refusals;
pub mod tokens;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use builder_exec::Timestamp;
use builder_store::record::audit::{self, Actor};
use builder_store::record::tokens::{self as tokens_of_record, Token};
use builder_store::users::{self, PasswordHash, User};
use builder_store::{Sha256, Tx, access};
use subtle::ConstantTimeEq;
use tracing::{info, warn};

use crate::app::App;
use crate::client::Client;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::metrics::{LogIn, Place, Queue};
use crate::places::{Places, Who};
use attempts::Attempts;
use refusals::{Refusal, Source};
use tokens::Found;

/// Bytes of a derived key and of a salt, as the OCaml server makes them.
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// The most memory that one hash may take, in bytes: parameters beyond are refused.
const SCRYPT_MEMORY_MAX: u64 = 256 * 1024 * 1024;

/// scrypt's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptParams {
    /// The cost, a power of two.
    pub n: i64,
    /// The block size.
    pub r: i64,
    /// The parallelism.
    pub p: i64,
}

impl Default for ScryptParams {
    /// What the OCaml server takes when it is told nothing else.
    fn default() -> ScryptParams {
        ScryptParams {
            n: 16384,
            r: 8,
            p: 1,
        }
    }
}

/// Passwords that were right a moment ago.
#[derive(Debug)]
pub struct Passwords {
    key: [u8; 32],
    time: Duration,
    max: usize,
    right: Mutex<HashMap<Sha256, Instant>>,
    hashing: Places,
    /// Of users at addresses where they have logged in before: strangers do not fill it.
    hashing_of_known: Places,
    attempts: Attempts,
}

impl Passwords {
    /// Remembers none yet.
    pub fn new(limits: &Limits) -> Passwords {
        Passwords {
            key: random(),
            time: limits.password_cache_time,
            max: limits.password_cache_max,
            right: Mutex::default(),
            hashing: Places::new(Place::Password, limits.passwords()),
            hashing_of_known: Places::new(Place::Password, limits.passwords()),
            attempts: Attempts::new(limits),
        }
    }

    /// How many passwords are being checked, and how many wait.
    pub fn queue(&self) -> Queue {
        let (strangers, known) = (self.hashing.queue(), self.hashing_of_known.queue());
        Queue {
            taken: strangers.taken + known.taken,
            waiting: strangers.waiting + known.waiting,
        }
    }

    /// Stands for a name, a password, the hash it was right for and from where; a changed password,
    /// or a removed user, is another one.
    fn digest(&self, given: &Credentials, from: Option<IpAddr>, stored: &PasswordHash) -> Sha256 {
        let mut text = self.key.to_vec();
        let from = from.map(|address| address.to_string()).unwrap_or_default();
        for part in [
            given.name.as_deref().unwrap_or_default().as_bytes(),
            &given.password,
            &stored.hash,
            from.as_bytes(),
        ] {
            text.extend((part.len() as u64).to_le_bytes());
            text.extend(part);
        }
        Sha256::of(&text)
    }

    /// Stands for a name; nobody outside can tell which.
    fn number(&self, name: &str) -> u64 {
        let mut text = self.key.to_vec();
        text.extend(name.as_bytes());
        let digest = Sha256::of(&text);
        let (first, _) = digest
            .as_bytes()
            .split_first_chunk()
            .unwrap_or((&[0; 8], &[]));
        u64::from_le_bytes(*first)
    }

    fn was_right(&self, digest: Sha256) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right
            .get(&digest)
            .is_some_and(|at| at.elapsed() < self.time)
    }

    fn remember(&self, digest: Sha256) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.retain(|_, at| at.elapsed() < self.time);
        if right.len() < self.max {
            right.insert(digest, Instant::now());
        }
    }
}

struct Credentials {
    /// None with a token alone.
    name: Option<String>,
    password: Vec<u8>,
}

/// Who acts: a user, perhaps by a token that may do less.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user.
    pub user: User,
    /// The token that stands for the user.
    pub token: Option<Token>,
    /// How the audit record names who acts.
    pub actor: Actor,
    /// How it names the bringing of a build: over the network, or on the command line.
    pub action: &'static str,
    /// Whether upload hooks are run for a build it brings.
    pub runs_hooks: bool,
    /// Acts on the command line, where whoever may write to the data directory may do anything.
    is_local: bool,
}

/// Why a log-in was not looked at.
const TOO_SOON: &str = "too soon after others that were wrong";

impl Caller {
    /// The account `actor` on the command line, in the name of a user.
    pub fn local(user: User, actor: Actor) -> Caller {
        Caller {
            action: audit::IMPORT,
            actor,
            user,
            token: None,
            runs_hooks: false,
            is_local: true,
        }
    }

    fn of(user: User, token: Option<Token>, client: Option<&Client>) -> Caller {
        let who = match &token {
            Some(token) => tokens::who(token),
            None => user.name.clone(),
        };
        Caller {
            action: audit::UPLOAD,
            actor: actor(who, client),
            user,
            token,
            runs_hooks: true,
            is_local: false,
        }
    }
}

/// How the audit record names a client.
fn actor(who: String, client: Option<&Client>) -> Actor {
    Actor {
        who,
        address: client.map_or_else(|| "-".to_owned(), Client::address_text),
        request: client.map_or_else(String::new, |client| client.request_id.as_str().to_owned()),
    }
}

/// Notes that somebody who named themselves so was not let in at `target`.
fn note_not_let_in(app: &App, source: Source, actor: Actor, target: &str, why: &str) {
    info!(user.name = ?actor.who, "refused a log-in");
    let refusal = Refusal {
        source,
        actor,
        action: audit::LOG_IN,
        subject: target.to_owned(),
        why: why.to_owned(),
    };
    refusals::note(app, refusal);
}

/// Who sends a request.
pub async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    client: Option<&Client>,
) -> Result<Caller> {
    let Some(given) = credentials(headers, app.limits().credential_bytes_max) else {
        return Err(Error::Unauthorized);
    };
    match tokens::find(app, &given).await? {
        Found::Good(user, token) => {
            app.metrics().log_in(LogIn::Right);
            return Ok(Caller::of(user, Some(token), client));
        }
        Found::WorthNothing(token, why) => {
            return Err(tokens::refuse(app, &given, &token, &why, client, ""));
        }
        Found::Nothing => {}
    }
    let from = client.and_then(Client::network);
    let name = given.name.clone();
    let user = match given.name {
        Some(_) => by_password(app, given, from).await,
        None => Err(wrong_token(app, &given, from)),
    };
    let why = match user {
        Ok(user) => return Ok(Caller::of(user, None, client)),
        Err(Error::Unauthorized) if name.is_none() => tokens::WRONG,
        Err(Error::Unauthorized) => "wrong user name, password or token",
        Err(Error::SlowedDown(_)) => TOO_SOON,
        Err(error) => return Err(error),
    };
    let actor = actor(name.unwrap_or_default(), client);
    note_not_let_in(app, Source::Address(from), actor, "", why);
    user.map(|user| Caller::of(user, None, client))
}

/// What a wrong token is answered, or a password where only a token will do. Nobody guesses one, so
/// a right one is never slowed down: but who sends wrong ones all the time is told to do so less
/// often.
fn wrong_token(app: &App, given: &Credentials, from: Option<IpAddr>) -> Error {
    if let Err(slowed) = slowed_down(app, given, from) {
        return slowed;
    }
    let name = given.name.as_deref().unwrap_or_default();
    app.passwords().attempts.wrong(name, from, Instant::now());
    app.metrics().log_in(LogIn::Wrong);
    Error::Unauthorized
}

/// Whether something was given to log in with, that can be looked at.
pub fn are_given(app: &App, headers: &HeaderMap) -> bool {
    credentials(headers, app.limits().credential_bytes_max).is_some()
}

/// The user whose password was given, from an address.
async fn by_password(app: &App, given: Credentials, from: Option<IpAddr>) -> Result<User> {
    let name = given.name.clone().unwrap_or_default();
    let number = app.passwords().number(&name);
    let (user, stand_in) = app
        .read(move |tx| match users::by_name(tx, &name)? {
            Some(user) => Ok((Some(user), None)),
            None => Ok((None, users::some_password(tx, number)?)),
        })
        .await?;
    // First, since what is remembered is compared at once: who could ask it without end, at the
    // address of a user, would guess thousands of passwords a second.
    slowed_down(app, &given, from)?;
    if let Some(user) = was_right(app, &given, from, user.as_ref()) {
        return Ok(user);
    }
    let name = given.name.as_deref().unwrap_or_default();
    let passwords = app.passwords();
    let (places, who) = match passwords.attempts.knows(name, from, Instant::now()) {
        true => (
            &passwords.hashing_of_known,
            Some(Who::User(name.to_owned())),
        ),
        false => (&passwords.hashing, from.map(Who::Network)),
    };
    let _place = places.take(app.metrics(), who).await?;
    // Looked at again when it is this one's turn: those before may have been wrong, or right.
    slowed_down(app, &given, from)?;
    if let Some(user) = was_right(app, &given, from, user.as_ref()) {
        return Ok(user);
    }
    app.blocking(move |app| {
        // An unknown user costs the same time as a wrong password of a known one.
        let stored = match (&user, stand_in) {
            (Some(user), _) => user.password.clone(),
            (None, Some(stand_in)) => stand_in,
            (None, None) => nobody(),
        };
        let right = verify(&given.password, &stored);
        let name = given.name.as_deref().unwrap_or_default();
        match user {
            Some(user) if right => {
                let digest = app.passwords().digest(&given, from, &user.password);
                app.passwords().remember(digest);
                app.passwords().attempts.right(name, from, Instant::now());
                app.metrics().log_in(LogIn::Right);
                Ok(user)
            }
            _ => {
                app.passwords().attempts.wrong(name, from, Instant::now());
                app.metrics().log_in(LogIn::Wrong);
                Err(Error::Unauthorized)
            }
        }
    })
    .await?
}

/// The user, if the password was right a moment ago, from the same address.
fn was_right(
    app: &App,
    given: &Credentials,
    from: Option<IpAddr>,
    user: Option<&User>,
) -> Option<User> {
    let user = user?;
    let digest = app.passwords().digest(given, from, &user.password);
    app.passwords().was_right(digest).then(|| {
        app.metrics().log_in(LogIn::Right);
        user.clone()
    })
}

/// Refuses a log-in that comes too soon after wrong ones.
fn slowed_down(app: &App, given: &Credentials, from: Option<IpAddr>) -> Result<()> {
    let attempts = &app.passwords().attempts;
    match attempts.wait(
        given.name.as_deref().unwrap_or_default(),
        from,
        Instant::now(),
    ) {
        Some(wait) => {
            app.metrics().log_in(LogIn::Slowed);
            Err(Error::SlowedDown(wait))
        }
        None => Ok(()),
    }
}

/// Whether who acts may add builds to a job as things are now, and if not, why: an upload may take
/// days, and a user or a token be worth nothing since it began.
pub fn may_upload(
    tx: &mut Tx<'_>,
    caller: &Caller,
    job: &str,
    now: &Timestamp,
) -> builder_store::Result<Result<()>> {
    let Caller { actor, .. } = caller;
    if caller.is_local {
        return Ok(Ok(()));
    }
    let user = users::by_name(tx, &caller.user.name)?;
    // Somebody else may have been given the name.
    let user = user.filter(|user| user.id == caller.user.id);
    if let Some(token) = &caller.token {
        let flaw = match tokens_of_record::by_id(tx, token.id)? {
            Some(token) => tokens::flaw(&token, user.as_ref(), now),
            None => Some("which is not known any more".to_owned()),
        };
        if let Some(flaw) = flaw {
            return Ok(Err(tokens::worth_nothing(&tokens::why(token, &flaw))));
        }
    }
    let name = &caller.user.name;
    let user = match user {
        Some(user) if !user.is_disabled() => user,
        user => {
            let what = if user.is_some() {
                "disabled"
            } else {
                "removed"
            };
            let why = format!("user {name} was {what}");
            return Ok(Err(Error::WorthNothing(why)));
        }
    };
    let by_token = caller.token.as_ref().is_none_or(|token| token.allows(job));
    if by_token && (!user.restricted || access::allows(tx, user.id, job)?) {
        return Ok(Ok(()));
    }
    Ok(Err(Error::Forbidden(format!(
        "user {} may not upload to job {job}",
        actor.who
    ))))
}

/// What was given to log in: a name and a password, or a token alone.
fn credentials(headers: &HeaderMap, bytes_max: usize) -> Option<Credentials> {
    let header = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, given) = header.split_at(header.iter().position(|byte| *byte == b' ')?);
    let given = given.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return (given.len() <= bytes_max).then(|| Credentials {
            name: None,
            password: given.to_vec(),
        });
    }
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return None;
    }
    let decoded = STANDARD.decode(given).ok()?;
    // A password may hold colons, a name does not.
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
    if name.len() > bytes_max || password.len() > bytes_max {
        return None;
    }
    Some(Credentials {
        name: Some(std::str::from_utf8(name).ok()?.to_owned()),
        password: password.to_vec(),
    })
}

/// A hash that no password has.
fn nobody() -> PasswordHash {
    let ScryptParams { n, r, p } = ScryptParams::default();
    PasswordHash {
        hash: vec![0; HASH_BYTES],
        salt: vec![0; SALT_BYTES],
        scrypt_n: n,
        scrypt_r: r,
        scrypt_p: p,
    }
}

fn verify(password: &[u8], stored: &PasswordHash) -> bool {
    // A user who was disabled: the same time as for a wrong password.
    let disabled = stored.hash.is_empty();
    let nobody = nobody();
    let stored = if disabled { &nobody } else { stored };
    let params = ScryptParams {
        n: stored.scrypt_n,
        r: stored.scrypt_r,
        p: stored.scrypt_p,
    };
    match derive(password, &stored.salt, params, stored.hash.len()) {
        Ok(key) => !disabled && bool::from(key.ct_eq(&stored.hash)),
        Err(error) => {
            warn!("a stored password cannot be checked: {error}");
            false
        }
    }
}

/// Hashes a new password with a random salt.
pub fn hash_password(password: &[u8], params: ScryptParams) -> anyhow::Result<PasswordHash> {
    let salt: [u8; SALT_BYTES] = random();
    let hash = derive(password, &salt, params, HASH_BYTES)?;
    Ok(PasswordHash {
        hash,
        salt: salt.to_vec(),
        scrypt_n: params.n,
        scrypt_r: params.r,
        scrypt_p: params.p,
    })
}

fn derive(
    password: &[u8],
    salt: &[u8],
    params: ScryptParams,
    bytes: usize,
) -> anyhow::Result<Vec<u8>> {
    let n = u64::try_from(params.n)?;
    let r = u32::try_from(params.r)?;
    let p = u32::try_from(params.p)?;
    anyhow::ensure!(
        n.is_power_of_two(),
        "scrypt's N is {n}, which is no power of two"
    );
    let memory = 128u64
        .saturating_mul(n)
        .saturating_mul(r.into())
        .saturating_mul(p.into());
    anyhow::ensure!(
        memory <= SCRYPT_MEMORY_MAX,
        "scrypt with N={n}, r={r}, p={p} would take {memory} bytes of memory, at most {SCRYPT_MEMORY_MAX} are allowed"
    );
    let log_n = u8::try_from(n.ilog2())?;
    let scrypt = scrypt::Params::new(log_n, r, p)
        .map_err(|error| anyhow::anyhow!("scrypt refuses N={n}, r={r}, p={p}: {error}"))?;
    let mut key = vec![0; bytes];
    scrypt::scrypt(password, salt, &scrypt, &mut key)
        .map_err(|error| anyhow::anyhow!("scrypt cannot make {bytes} bytes: {error}"))?;
    Ok(key)
}

#[expect(clippy::expect_used, reason = "without randomness no password is safe")]
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_right_for_its_hash_alone() {
        let params = ScryptParams { n: 16, r: 1, p: 1 };
        let stored = hash_password(b"hunter2:with colon", params).unwrap();
        assert!(verify(b"hunter2:with colon", &stored));
        assert!(!verify(b"hunter2", &stored));
    }

    #[test]
    fn a_hash_of_the_ocaml_server_is_understood() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
                .collect()
        };
        let stored = PasswordHash {
            hash: hex("3e8d55f013f21163014e8c6217138b3d49db6d216dcd3dae264d0928b6ae50cb"),
            salt: hex("0a2dee2e5f164e48633035f79393e9f0"),
            scrypt_n: 16384,
            scrypt_r: 8,
            scrypt_p: 1,
        };
        assert!(verify(b"pw", &stored));
        assert!(!verify(b"pw ", &stored));
    }

    #[test]
    fn parameters_that_make_no_sense_or_cost_too_much_are_refused() {
        for (n, r, p) in [
            (0, 8, 1),
            (-16, 8, 1),
            (1000, 8, 1),
            (1 << 30, 8, 1),
            (16384, 0, 1),
        ] {
            assert!(
                derive(b"", b"", ScryptParams { n, r, p }, 32).is_err(),
                "{n} {r} {p}"
            );
        }
    }
}
