//! An entry of the audit record.

use builder_store::record::audit;
use serde::Serialize;
use utoipa::ToSchema;

/// An entry of the audit record.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// A later entry has a greater one.
    pub id: i64,
    /// When it was (RFC 3339).
    pub time: String,
    /// The user, with the token; on the command line the account.
    pub who: String,
    /// The address of the client, or `command line`.
    pub from: String,
    /// The request, by its `X-Request-Id`; empty on the command line.
    pub request: String,
    /// Such as `upload`, `log-in`, `token-add`.
    pub action: String,
    /// What it was done to.
    pub subject: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// More of it, or why it was refused.
    pub detail: String,
    /// How often: what is refused again and again has an entry of the first time, and later one of
    /// the last time with the count of those between.
    pub times: u64,
}

impl AuditEntry {
    /// From what is kept.
    pub fn of(entry: audit::Entry) -> AuditEntry {
        AuditEntry {
            id: entry.id,
            time: entry.at.to_rfc3339(),
            who: entry.actor.who,
            from: entry.actor.address,
            request: entry.actor.request,
            action: entry.action,
            subject: entry.subject,
            outcome: entry.outcome,
            detail: entry.detail,
            times: entry.times,
        }
    }
}
