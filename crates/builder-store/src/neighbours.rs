//! The builds that a build is compared with: from the same input, or with the same output. However
//! many there are, they are counted, and the newest of them are named.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use builder_exec::Timestamp;

use crate::builds::{self, Build};
use crate::db::Row;
use crate::record::removed::{self, RemovedBuild};
use crate::verdict::{self, Judged};
use crate::{Result, Sha256, Tx};

/// Builds that are named of each kind.
pub const NAMED_MAX: usize = 20;

/// Builds of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// How many there are.
    pub count: u64,
    /// The newest of them, the newest first.
    pub newest: Vec<Judged>,
    /// The rows of the users who uploaded them.
    pub uploaders: BTreeSet<i64>,
}

impl Neighbours {
    /// How many there are beside those that are named.
    pub fn left_out(&self) -> u64 {
        self.count.saturating_sub(self.newest.len() as u64)
    }
}

/// Removed builds of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemovedNeighbours {
    /// How many there are.
    pub count: u64,
    /// The newest of them, the newest first.
    pub newest: Vec<RemovedBuild>,
    /// The names of the users who uploaded them.
    pub uploaders: BTreeSet<String>,
}

impl RemovedNeighbours {
    /// How many there are beside those that are named.
    pub fn left_out(&self) -> u64 {
        self.count.saturating_sub(self.newest.len() as u64)
    }

    fn take(&mut self, build: RemovedBuild) {
        self.count += 1;
        if !self.uploaders.contains(&build.uploader) {
            self.uploaders.insert(build.uploader.clone());
        }
        if self.newest.len() < NAMED_MAX {
            self.newest.push(build);
        }
    }
}

/// The other builds from a build's input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OfInput {
    /// With the same output: those that reproduced it.
    pub same_output: Neighbours,
    /// With another output, one for each: the newest.
    pub other_outputs: Neighbours,
    /// With the same output, and removed.
    pub removed_same_output: RemovedNeighbours,
    /// With another output, and removed.
    pub removed_other_output: RemovedNeighbours,
}

/// The other builds from the input of `build`; none where it was not recorded, or nothing was built.
pub fn of_input(tx: &mut Tx<'_>, build: &Build) -> Result<OfInput> {
    let (Some(input_id), Some(main)) = (&build.input_id, &build.main_binary) else {
        return Ok(OfInput::default());
    };
    let mut same = Newest::default();
    let mut others: HashMap<Sha256, Found> = HashMap::new();
    let mut uploaders = BTreeSet::new();
    tx.for_each(
        "SELECT b.id, m.sha256, b.start_d, b.start_ps, b.user
         FROM build b JOIN build_artifact m ON m.id = b.main_binary
         WHERE b.input_id = $1 AND b.id <> $2",
        &[input_id.into(), build.id.into()],
        |row| {
            let Some((output, found)) = row.or_left_out(found(row))? else {
                return Ok(());
            };
            if output == main.sha256 {
                same.take(found);
            } else {
                uploaders.insert(found.user);
                keep_newest(&mut others, output, found);
            }
            Ok(())
        },
    )?;
    let mut of_input = OfInput {
        same_output: same.named(tx)?,
        other_outputs: Neighbours {
            // All of them, not only those of the newest with each output.
            uploaders,
            ..newest_of_each(others).named(tx)?
        },
        ..OfInput::default()
    };
    removed::for_each_of_input(tx, *input_id, |removed| {
        match removed.main_binary.as_ref().map(|main| main.sha256) {
            Some(output) if output == main.sha256 => of_input.removed_same_output.take(removed),
            _ => of_input.removed_other_output.take(removed),
        }
    })?;
    Ok(of_input)
}

/// The builds from other inputs with the output of `build`, one for each input: the newest.
pub fn of_output(tx: &mut Tx<'_>, build: &Build) -> Result<Neighbours> {
    let (Some(input_id), Some(main)) = (&build.input_id, &build.main_binary) else {
        return Ok(Neighbours::default());
    };
    let mut inputs: HashMap<Sha256, Found> = HashMap::new();
    tx.for_each(
        "SELECT b.id, b.input_id, b.start_d, b.start_ps, b.user
         FROM build_artifact m JOIN build b ON b.main_binary = m.id
         WHERE m.sha256 = $1 AND b.input_id <> $2",
        &[(&main.sha256).into(), input_id.into()],
        |row| {
            if let Some((input, found)) = row.or_left_out(found(row))? {
                keep_newest(&mut inputs, input, found);
            }
            Ok(())
        },
    )?;
    newest_of_each(inputs).named(tx)
}

/// A build as far as it is looked at before it is known whether it is named.
#[derive(Debug, Clone, Copy)]
struct Found {
    id: i64,
    start: Timestamp,
    user: i64,
}

impl Found {
    /// As [`Build::age`].
    fn age(&self) -> (Timestamp, i64) {
        (self.start, self.id)
    }
}

/// With the digest in column 1.
fn found(row: &Row<'_>) -> Result<(Sha256, Found)> {
    let found = Found {
        id: row.int(0)?,
        start: row.timestamp(2)?,
        user: row.int(4)?,
    };
    Ok((row.sha256(1)?, found))
}

fn keep_newest(all: &mut HashMap<Sha256, Found>, digest: Sha256, found: Found) {
    match all.entry(digest) {
        Entry::Occupied(mut known) if known.get().age() < found.age() => {
            known.insert(found);
        }
        Entry::Occupied(_) => {}
        Entry::Vacant(vacant) => {
            vacant.insert(found);
        }
    }
}

fn newest_of_each(all: HashMap<Sha256, Found>) -> Newest {
    let mut newest = Newest::default();
    all.into_values().for_each(|found| newest.take(found));
    newest
}

/// Counts builds, and keeps the newest of them.
#[derive(Debug, Default)]
struct Newest {
    count: u64,
    uploaders: BTreeSet<i64>,
    /// The oldest first.
    newest: BTreeSet<(Timestamp, i64)>,
}

impl Newest {
    fn take(&mut self, found: Found) {
        self.count += 1;
        self.uploaders.insert(found.user);
        self.newest.insert(found.age());
        if self.newest.len() > NAMED_MAX {
            self.newest.pop_first();
        }
    }

    fn named(self, tx: &mut Tx<'_>) -> Result<Neighbours> {
        let mut named = Vec::with_capacity(self.newest.len());
        for (_, id) in self.newest.iter().rev() {
            named.extend(builds::by_id(tx, *id)?);
        }
        Ok(Neighbours {
            count: self.count,
            newest: verdict::judged(tx, named)?,
            uploaders: self.uploaders,
        })
    }
}
