//! Archives, member by member.

use std::collections::HashMap;
use std::ops::Range;

use crate::causes::Causes;
use crate::compare::{Comparison, Found};
use crate::report::{ArchiveDiff, Detail, FieldChange, Kind, Listed, MemberDiff, Presence};
use crate::unpack::Budget;

/// A member of an archive.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) path: String,
    /// Where its content is in the archive.
    pub(crate) content: Range<usize>,
    /// What the archive says of it.
    pub(crate) fields: Vec<Field>,
    /// SHA-256 of all that the archive says of it, without what is of a known kind.
    pub(crate) framing: [u8; 32],
}

/// What a member takes in memory, beside its names.
const MEMBER_BYTES: usize = 700;

impl Member {
    /// Takes what it holds from the budget.
    pub(crate) fn charge(&self, budget: &mut Budget) -> Result<(), String> {
        let values = self.fields.iter().map(|field| field.value.len());
        let bytes = MEMBER_BYTES + self.path.len() + values.sum::<usize>();
        budget.members = budget.members.checked_sub(1).ok_or(TOO_MANY)?;
        let rest = budget.held_bytes.checked_sub(bytes as u64);
        budget.held_bytes = rest.ok_or(TOO_MANY)?;
        Ok(())
    }
}

const TOO_MANY: &str = "has too many members to be compared one by one";

/// Something an archive says of a member.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// The known kind a difference in it is of.
    pub(crate) kind: Option<Kind>,
}

/// The members of an archive, and what follows the last of them.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) members: Vec<Member>,
    pub(crate) rest: Range<usize>,
}

pub(crate) fn diff(
    comparison: &mut Comparison<'_>,
    (left_bytes, left): (&[u8], Members),
    (right_bytes, right): (&[u8], Members),
) -> Found {
    let mut causes = Causes::default();
    let mut explained = left_bytes.get(left.rest.clone()) == right_bytes.get(right.rest.clone());
    let mut incomplete = Vec::new();
    let mut same = 0;

    let right_places = places(&right.members);
    let left_places = places(&left.members);
    // Taken before those of archives inside, so that the outermost is listed first.
    let keys = left_places.keys.iter();
    let only_left = keys.filter(|key| !right_places.by_key.contains_key(*key));
    let room = comparison
        .budget
        .members_listed
        .min(comparison.limits.listed_max)
        .min(right.members.len() + only_left.count());
    comparison.budget.members_listed -= room;
    let mut members = MembersListed::new(room);
    // Where the members of both stand on the right, in the order of the left.
    let mut order = Vec::new();
    for (number, member) in left.members.iter().enumerate() {
        let key = left_places.keys.get(number);
        let Some(place) = key.and_then(|key| right_places.by_key.get(key)) else {
            explained = false;
            members.push(lone(member, Presence::OnlyLeft));
            continue;
        };
        let Some(other) = right.members.get(*place) else {
            continue;
        };
        order.push(*place);
        let left_content = left_bytes.get(member.content.clone()).unwrap_or_default();
        let right_content = right_bytes.get(other.content.clone()).unwrap_or_default();
        let metadata = changes(member, other, &mut causes);
        explained &= member.framing == other.framing;
        if left_content == right_content {
            match metadata.is_empty() {
                true => same += 1,
                false => members.push(MemberDiff {
                    path: member.path.clone(),
                    presence: Presence::Same,
                    left_bytes: Some(left_content.len() as u64),
                    right_bytes: Some(right_content.len() as u64),
                    metadata,
                    report: None,
                }),
            }
            continue;
        }
        let report = match comparison.budget.depth {
            0 => {
                explained = false;
                incomplete.push(format!(
                    "{}: more than {} deep, not looked into",
                    member.path, comparison.limits.depth_max
                ));
                None
            }
            _ => {
                comparison.budget.depth -= 1;
                let report = comparison.files(left_content, right_content);
                comparison.budget.depth += 1;
                causes.add_inner(&member.path, &report.causes);
                explained &= !report.apart_from.is_empty();
                Some(Box::new(report))
            }
        };
        members.push(MemberDiff {
            path: member.path.clone(),
            presence: Presence::Differs,
            left_bytes: Some(left_content.len() as u64),
            right_bytes: Some(right_content.len() as u64),
            metadata,
            report,
        });
    }
    for (number, member) in right.members.iter().enumerate() {
        let key = right_places.keys.get(number);
        if key.is_none_or(|key| !left_places.by_key.contains_key(key)) {
            explained = false;
            members.push(lone(member, Presence::OnlyRight));
        }
    }
    let order_differs = !order.is_sorted();
    if order_differs {
        let first = |members: &Members| {
            let paths = members.members.iter().map(|member| member.path.as_str());
            paths.take(4).collect::<Vec<_>>().join(", ")
        };
        causes.add(Kind::FileOrder, "", &first(&left), &first(&right));
    }
    // With nothing left to name them by, differences are not explained.
    explained &= !causes.is_empty();
    let members = members.cut();
    comparison.budget.members_listed += room - members.items.len();
    Found {
        detail: Detail::Archive(ArchiveDiff {
            left_members: left.members.len() as u64,
            right_members: right.members.len() as u64,
            same,
            order_differs,
            members,
        }),
        causes,
        explained,
        incomplete,
    }
}

/// Members to be listed: those with other contents first, when there is no room for all.
struct MembersListed {
    max: usize,
    all: Vec<MemberDiff>,
    same: usize,
    left_out: u64,
}

impl MembersListed {
    fn new(max: usize) -> MembersListed {
        MembersListed {
            max,
            all: Vec::new(),
            same: 0,
            left_out: 0,
        }
    }

    fn push(&mut self, member: MemberDiff) {
        let is_same = member.presence == Presence::Same;
        let others = self.all.len() - self.same;
        if (if is_same { self.same } else { others }) >= self.max {
            self.left_out += 1;
            return;
        }
        self.same += usize::from(is_same);
        self.all.push(member);
    }

    fn cut(mut self) -> Listed<MemberDiff> {
        if self.all.len() > self.max || self.left_out > 0 {
            self.all
                .sort_by_key(|member| member.presence == Presence::Same);
        }
        let mut listed = Listed::cut(self.all, self.max);
        listed.left_out += self.left_out;
        listed
    }
}

/// Members by path; a path that is there more than once is counted.
struct Places<'m> {
    by_key: HashMap<(&'m str, usize), usize>,
    keys: Vec<(&'m str, usize)>,
}

fn places(members: &[Member]) -> Places<'_> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    let mut places = Places {
        by_key: HashMap::new(),
        keys: Vec::new(),
    };
    for (number, member) in members.iter().enumerate() {
        let times = times.entry(&member.path).or_default();
        let key = (member.path.as_str(), *times);
        *times += 1;
        places.by_key.insert(key, number);
        places.keys.push(key);
    }
    places
}

fn lone(member: &Member, presence: Presence) -> MemberDiff {
    let bytes = Some(member.content.len() as u64);
    let on_left = presence == Presence::OnlyLeft;
    MemberDiff {
        path: member.path.clone(),
        presence,
        left_bytes: bytes.filter(|_| on_left),
        right_bytes: bytes.filter(|_| !on_left),
        metadata: Vec::new(),
        report: None,
    }
}

fn changes(left: &Member, right: &Member, causes: &mut Causes) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    for field in &left.fields {
        let other = right.fields.iter().find(|other| other.name == field.name);
        let Some(other) = other.filter(|other| other.value != field.value) else {
            continue;
        };
        if let Some(kind) = field.kind {
            let place = format!("{} of {}", field.name, left.path);
            causes.add(kind, &place, &field.value, &other.value);
        }
        changes.push(FieldChange {
            field: field.name.to_owned(),
            left: field.value.clone(),
            right: other.value.clone(),
        });
    }
    changes
}

/// Bytes of a path that are kept.
const PATH_BYTES_MAX: usize = 4096;

/// A path as it is shown.
pub(crate) fn path(bytes: &[u8]) -> String {
    crate::causes::printable(bytes.get(..PATH_BYTES_MAX).unwrap_or(bytes))
}
