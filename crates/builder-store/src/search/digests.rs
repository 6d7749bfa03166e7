//! Digests and uuids by their beginning, through the indexes the database has itself.

use uuid::Uuid;

use crate::builds::{Artifact, Build, select_build};
use crate::db::uuid_bounds;
use crate::{Result, Sha256, Tx};

/// Some rows, and the one to go on from, if there are more.
pub type Part<T> = (Vec<T>, Option<i64>);

/// All digests that begin with the same hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestRange {
    first: Sha256,
    last: Sha256,
}

/// A digest that something kept here has, with its newest upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The digest.
    pub sha256: Sha256,
    /// The build with it that was uploaded last.
    pub build: Build,
    /// The artifact of that build; none for the digest of an input.
    pub artifact: Option<Artifact>,
}

impl DigestRange {
    /// The digests that begin with these 1 to 64 hexadecimal digits, in either case.
    pub fn of(hex: &str) -> Option<DigestRange> {
        let all_digits =
            (1..=64).contains(&hex.len()) && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        let fill = |digit: &str| {
            let missing = 64_usize.checked_sub(hex.len())?;
            Sha256::from_hex(&format!("{hex}{}", digit.repeat(missing)))
        };
        all_digits.then_some(())?;
        Some(DigestRange {
            first: fill("0")?,
            last: fill("f")?,
        })
    }

    /// The first and the last digest that may be in it.
    pub(crate) fn bounds(&self) -> (Sha256, Sha256) {
        (self.first, self.last)
    }

    /// The digest, if there is only one in the range.
    pub fn only(&self) -> Option<Sha256> {
        (self.first == self.last).then_some(self.first)
    }

    /// The part of the range that follows a digest; none when that was its last.
    pub fn after(&self, sha256: Sha256) -> Option<DigestRange> {
        let mut bytes = *sha256.as_bytes();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                let first = Sha256::from_bytes(bytes).max(self.first);
                return (first <= self.last).then_some(DigestRange {
                    first,
                    last: self.last,
                });
            }
        }
        None
    }
}

/// Distinct contents of artifacts within a range, in the order of their digests: up to `count`.
pub fn artifacts_in(tx: &mut Tx<'_>, range: DigestRange, count: usize) -> Result<Vec<Digest>> {
    let first = "SELECT sha256 FROM build_artifact WHERE sha256 BETWEEN $1 AND $2
                 ORDER BY sha256 LIMIT 1";
    distinct_in(tx, range, count, first, |tx, sha256| {
        let (builds, _) = with_artifact(tx, sha256, None, 1)?;
        Ok(builds
            .into_iter()
            .next()
            .map(|(build, artifact)| (build, Some(artifact))))
    })
}

/// Distinct input ids within a range, in their order: up to `count`.
pub fn inputs_in(tx: &mut Tx<'_>, range: DigestRange, count: usize) -> Result<Vec<Digest>> {
    let first = "SELECT input_id FROM build WHERE input_id BETWEEN $1 AND $2
                 ORDER BY input_id LIMIT 1";
    distinct_in(tx, range, count, first, |tx, sha256| {
        let (builds, _) = with_input(tx, sha256, None, 1)?;
        Ok(builds.into_iter().next().map(|build| (build, None)))
    })
}

/// Steps from digest to digest with a statement that gives the first one of a range, since many
/// builds may share one.
fn distinct_in(
    tx: &mut Tx<'_>,
    range: DigestRange,
    count: usize,
    first: &'static str,
    newest: impl Fn(&mut Tx<'_>, Sha256) -> Result<Option<(Build, Option<Artifact>)>>,
) -> Result<Vec<Digest>> {
    let mut all = Vec::new();
    let mut rest = Some(range);
    while let Some(range) = rest.filter(|_| all.len() < count) {
        let bounds = [(&range.first).into(), (&range.last).into()];
        let Some(sha256) = tx.query_opt(first, &bounds, |row| row.sha256(0))? else {
            break;
        };
        all.extend(newest(tx, sha256)?.map(|(build, artifact)| Digest {
            sha256,
            build,
            artifact,
        }));
        rest = range.after(sha256);
    }
    Ok(all)
}

/// Builds that have an artifact of this content, with that artifact, the last upload first: up to
/// `count` before the artifact's row `before`; and the row to go on from, if there are more.
pub fn with_artifact(
    tx: &mut Tx<'_>,
    sha256: Sha256,
    before: Option<i64>,
    count: usize,
) -> Result<Part<(Build, Artifact)>> {
    let rows = tx.query(
        "SELECT b.id, b.uuid, j.id, j.name, b.platform, b.start_d, b.start_ps, b.finish_d,
           b.finish_ps, b.result_code, b.result_msg, b.console, b.script, b.input_id,
           b.user, m.filepath, m.sha256, m.size, a.filepath, a.size, a.id
         FROM build_artifact a JOIN build b ON b.id = a.build JOIN job j ON j.id = b.job
         LEFT JOIN build_artifact m ON m.id = b.main_binary
         WHERE a.sha256 = $1 AND a.id < $2
         ORDER BY a.id DESC LIMIT $3",
        &[
            (&sha256).into(),
            before.unwrap_or(i64::MAX).into(),
            one_more(count).into(),
        ],
        |row| {
            let artifact = Artifact {
                path: row.text(18)?,
                sha256,
                size: row.size(19)?,
            };
            Ok((row.int(20)?, (Build::from_row(row)?, artifact)))
        },
    )?;
    Ok(page(rows, count))
}

/// Builds of this input, the last upload first: up to `count` before the build's row `before`; and
/// the row to go on from, if there are more.
pub fn with_input(
    tx: &mut Tx<'_>,
    input_id: Sha256,
    before: Option<i64>,
    count: usize,
) -> Result<Part<Build>> {
    let rows = tx.query(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.input_id = $1 AND b.id < $2
             ORDER BY b.id DESC LIMIT $3"
        ),
        &[
            (&input_id).into(),
            before.unwrap_or(i64::MAX).into(),
            one_more(count).into(),
        ],
        |row| {
            let build = Build::from_row(row)?;
            Ok((build.id, build))
        },
    )?;
    Ok(page(rows, count))
}

/// Builds whose uuid begins with `beginning`, a part of the canonical form in lower case, in the
/// order of their uuids: up to `count` after `after`.
pub fn uuids_from(
    tx: &mut Tx<'_>,
    beginning: &str,
    after: Option<Uuid>,
    count: usize,
) -> Result<Vec<Build>> {
    let (end, after) = uuid_bounds(beginning, after);
    tx.query(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.uuid >= $1 AND b.uuid < $2 AND b.uuid > $3
             ORDER BY b.uuid LIMIT $4"
        ),
        &[
            beginning.into(),
            end.as_str().into(),
            after.as_str().into(),
            i64::try_from(count).unwrap_or(i64::MAX).into(),
        ],
        Build::from_row,
    )
}

/// One more than is shown tells whether there is a next page.
pub(super) fn one_more(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX).saturating_add(1)
}

/// The first `count` of some rows with their keys, and the key of the last if there were more.
pub(super) fn page<T, K: Copy>(mut rows: Vec<(K, T)>, count: usize) -> (Vec<T>, Option<K>) {
    let more = rows.len() > count;
    rows.truncate(count);
    let next = rows.last().map(|(key, _)| *key).filter(|_| more);
    (rows.into_iter().map(|(_, row)| row).collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_begins_with_the_digits() {
        let digest = |hex: &str| Sha256::from_hex(hex).unwrap();
        let range = DigestRange::of("aBc").unwrap();
        assert_eq!(range.first, digest(&format!("abc{}", "0".repeat(61))));
        assert_eq!(range.last, digest(&format!("abc{}", "f".repeat(61))));
        assert_eq!(range.only(), None);
        let whole = "ab".repeat(32);
        assert_eq!(
            DigestRange::of(&whole).unwrap().only(),
            Some(digest(&whole))
        );
        for wrong in ["", "g", "+1", &"a".repeat(65)] {
            assert_eq!(DigestRange::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_range_goes_on_after_a_digest_and_ends() {
        let all = DigestRange::of("f").unwrap();
        let next = all.after(Sha256::from_hex(&format!("f0{}", "f".repeat(62))).unwrap());
        assert_eq!(
            next.unwrap().first,
            Sha256::from_hex(&format!("f1{}", "0".repeat(62))).unwrap()
        );
        assert_eq!(all.after(all.last), None);
        assert_eq!(DigestRange::of("e").unwrap().after(all.first), None);
    }
}
