//! Unified differences, as GNU `diff -u` prints them.
//!
//! There are many shortest differences of two texts, and people compare ours with what diff shows. So the lines that stay
//! are found the way diff finds them: lines that are in one file only are set aside, the rest is halved as in Myers' paper
//! (E. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986), and changes that can be moved up or down without
//! changing their meaning are moved down, or beside a change of the other file. What this leaves out is diff's special
//! treatment of lines that are very frequent.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Unchanged lines shown around a change.
const CONTEXT_LINES: usize = 3;

/// The difference of two texts with labels for both; empty if they are the same.
///
/// ```
/// let text = opam_file::unified_diff("left/a", b"1\n2\n", "right/a", b"1\n3");
/// assert_eq!(text, b"--- left/a\n+++ right/a\n@@ -1,2 +1,2 @@\n 1\n-2\n+3\n\\ No newline at end of file\n");
/// ```
pub fn unified_diff(left_label: &str, left: &[u8], right_label: &str, right: &[u8]) -> Vec<u8> {
    unified_diff_within(&mut Effort::default(), left_label, left, right_label, right)
}

/// The same, for several differences that share what may be spent on them.
pub(crate) fn unified_diff_within(
    effort: &mut Effort,
    left_label: &str,
    left: &[u8],
    right_label: &str,
    right: &[u8],
) -> Vec<u8> {
    let mut text = Vec::new();
    if left == right {
        return text;
    }
    text.extend_from_slice(format!("--- {left_label}\n+++ {right_label}\n").as_bytes());
    let (left, right) = (lines(left), lines(right));
    for hunk in hunks(&changes(effort, &left, &right)) {
        print_hunk(&mut text, &left, &right, hunk);
    }
    text
}

/// Lines with their line feeds; the last may have none.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').collect()
}

/// Lines that are replaced by others. One of the ranges may be empty.
struct Change {
    left: Range<usize>,
    right: Range<usize>,
}

fn changes(effort: &mut Effort, left: &[&[u8]], right: &[&[u8]]) -> Vec<Change> {
    let (left_ids, right_ids) = numbered(left, right);
    let (mut left_changed, mut right_changed) = (vec![false; left.len()], vec![false; right.len()]);
    let left_shared = Shared::of(&left_ids, &right_ids, &mut left_changed);
    let right_shared = Shared::of(&right_ids, &left_ids, &mut right_changed);
    mark_changes(
        effort,
        &left_shared,
        &right_shared,
        &mut left_changed,
        &mut right_changed,
    );
    settle(&left_ids, &mut left_changed, &right_changed);
    settle(&right_ids, &mut right_changed, &left_changed);
    runs(&left_changed, &right_changed)
}

/// A number for each line, the same for the same text.
fn numbered<'t>(left: &[&'t [u8]], right: &[&'t [u8]]) -> (Vec<usize>, Vec<usize>) {
    let mut numbers: HashMap<&[u8], usize> = HashMap::with_capacity(left.len() + right.len());
    let mut number = |line: &&'t [u8]| {
        let next = numbers.len();
        *numbers.entry(*line).or_insert(next)
    };
    let left = left.iter().map(&mut number).collect();
    (left, right.iter().map(&mut number).collect())
}

/// The lines of a file that occur in the other one too: what they are and where they stand.
struct Shared {
    ids: Vec<usize>,
    places: Vec<usize>,
}

impl Shared {
    /// All other lines are marked as changed.
    fn of(ids: &[usize], others: &[usize], changed: &mut [bool]) -> Shared {
        let others: HashSet<usize> = others.iter().copied().collect();
        let mut shared = Shared {
            ids: Vec::new(),
            places: Vec::new(),
        };
        for (place, (id, changed)) in ids.iter().zip(changed).enumerate() {
            *changed = !others.contains(id);
            if !*changed {
                shared.ids.push(*id);
                shared.places.push(place);
            }
        }
        shared
    }

    fn slice(&self, range: &Range<usize>) -> &[usize] {
        self.ids.get(range.clone()).unwrap_or_default()
    }

    fn mark(&self, range: Range<usize>, changed: &mut [bool]) {
        for &place in self.places.get(range).unwrap_or_default() {
            if let Some(flag) = changed.get_mut(place) {
                *flag = true;
            }
        }
    }
}

/// Takes what is equal off both ends, finds a point on a shortest path through the rest, and does the same on both sides
/// of it, until nothing is left of one file.
fn mark_changes(
    effort: &mut Effort,
    left: &Shared,
    right: &Shared,
    left_changed: &mut [bool],
    right_changed: &mut [bool],
) {
    let mut search = Search::new(left.ids.len(), right.ids.len());
    let mut open = vec![(0..left.ids.len(), 0..right.ids.len())];
    while let Some((mut l, mut r)) = open.pop() {
        let pairs = left.slice(&l).iter().zip(right.slice(&r));
        let same_start = pairs.take_while(|(a, b)| a == b).count();
        (l.start, r.start) = (l.start + same_start, r.start + same_start);
        let pairs = left
            .slice(&l)
            .iter()
            .rev()
            .zip(right.slice(&r).iter().rev());
        let same_end = pairs.take_while(|(a, b)| a == b).count();
        (l.end, r.end) = (l.end - same_end, r.end - same_end);
        let split = if l.is_empty() || r.is_empty() {
            None
        } else {
            search.split(effort, left.slice(&l), right.slice(&r))
        };
        match split {
            Some((x, y)) => {
                let (x, y) = (l.start + x, r.start + y);
                open.push((l.start..x, r.start..y));
                open.push((x..l.end, y..r.end));
            }
            None => {
                left.mark(l, left_changed);
                right.mark(r, right_changed);
            }
        }
    }
}

/// Looks for shortest paths from both ends at once until they meet. A diagonal is the set of points with the same
/// `x - y`, where `x` lines of the left and `y` lines of the right file have been passed.
struct Search {
    forward: Furthest,
    backward: Furthest,
}

/// How far each diagonal has been followed.
struct Furthest {
    x: Vec<isize>,
    zero: isize,
    first: isize,
    last: isize,
}

/// What may be spent on shortest differences, in steps: to another diagonal, or past a line that is the same. Beyond it, differences are found in
/// linear time, but they may be longer than needed.
pub(crate) struct Effort {
    steps_left: usize,
}

/// Less than a tenth of a second. Two files that differ in four thousand lines take half of it.
const STEPS_MAX: usize = 1 << 24;

/// Always spent, so that there is something to choose from.
const ROUNDS_MIN: usize = 16;

impl Default for Effort {
    fn default() -> Effort {
        Effort {
            steps_left: STEPS_MAX,
        }
    }
}

/// Beyond any point.
const FAR: isize = isize::MAX / 2;

impl Search {
    fn new(left: usize, right: usize) -> Search {
        Search {
            forward: Furthest::new(left, right),
            backward: Furthest::new(left, right),
        }
    }

    /// A point on a shortest path, neither its start nor its end; or on a good path, if the shortest takes too long.
    fn split(
        &mut self,
        effort: &mut Effort,
        left: &[usize],
        right: &[usize],
    ) -> Option<(usize, usize)> {
        let (Ok(width), Ok(height)) = (isize::try_from(left.len()), isize::try_from(right.len()))
        else {
            return None;
        };
        let is_same = |x: isize, y: isize| {
            let at = |ids: &[usize], place: isize| {
                usize::try_from(place)
                    .ok()
                    .and_then(|place| ids.get(place).copied())
            };
            at(left, x).is_some_and(|id| at(right, y) == Some(id))
        };
        let is_inside =
            |x: isize, k: isize| (0..=width).contains(&x) && (0..=height).contains(&(x - k));
        let point = |x: isize, k: isize| {
            let is_end = x + (x - k) == 0 || x + (x - k) == width + height;
            usize::try_from(x)
                .ok()
                .zip(usize::try_from(x - k).ok())
                .filter(|_| is_inside(x, k) && !is_end)
        };
        let end = width - height;
        let is_odd = end & 1 != 0;
        self.forward.start(0, 0);
        self.backward.start(end, width);
        for round in 0.. {
            if effort.steps_left == 0 && round >= ROUNDS_MIN {
                break;
            }
            self.forward.widen(-height, width, -1);
            for k in self.forward.diagonals() {
                let (below, above) = (self.forward.get(k - 1), self.forward.get(k + 1));
                let mut x = if below < above { above } else { below + 1 };
                let start = x;
                while is_same(x, x - k) {
                    x += 1;
                }
                effort.spend(x - start);
                self.forward.set(k, x);
                if is_odd && self.backward.covers(k) && self.backward.get(k) <= x && is_inside(x, k)
                {
                    return point(x, k);
                }
            }
            self.backward.widen(-height, width, FAR);
            for k in self.backward.diagonals() {
                let (below, above) = (self.backward.get(k - 1), self.backward.get(k + 1));
                let mut x = if below < above { below } else { above - 1 };
                let start = x;
                while is_same(x - 1, x - k - 1) {
                    x -= 1;
                }
                effort.spend(start - x);
                self.backward.set(k, x);
                if !is_odd && self.forward.covers(k) && x <= self.forward.get(k) && is_inside(x, k)
                {
                    return point(x, k);
                }
            }
        }
        // Too long. The path that got furthest, from either end, is as good as any, and what was spent on the others is
        // no more than a few times what it gained.
        let ahead = |(x, k): &(isize, isize)| x + (x - k);
        let forward = self
            .forward
            .reached()
            .filter(|(x, k)| is_inside(*x, *k))
            .max_by_key(ahead);
        let backward = self
            .backward
            .reached()
            .filter(|(x, k)| is_inside(*x, *k))
            .min_by_key(ahead);
        let gained = forward.as_ref().map_or(0, ahead);
        let gained_backward = backward
            .as_ref()
            .map_or(0, |point| width + height - ahead(point));
        let (x, k) = if gained >= gained_backward {
            forward?
        } else {
            backward?
        };
        point(x, k)
    }
}

impl Effort {
    fn spend(&mut self, matching_lines: isize) {
        let steps = 1 + usize::try_from(matching_lines).unwrap_or(0);
        self.steps_left = self.steps_left.saturating_sub(steps);
    }
}

impl Furthest {
    fn new(left: usize, right: usize) -> Furthest {
        Furthest {
            x: vec![0; left + right + 3],
            zero: isize::try_from(right + 1).unwrap_or(0),
            first: 0,
            last: 0,
        }
    }

    fn start(&mut self, k: isize, x: isize) {
        (self.first, self.last) = (k, k);
        self.set(k, x);
    }

    /// One more diagonal on each side; at the edge of the field one less, so that every other one is visited. A new one
    /// has a neighbour not seen yet, which counts as `unseen`.
    fn widen(&mut self, lowest: isize, highest: isize, unseen: isize) {
        if self.first > lowest {
            self.first -= 1;
            self.set(self.first - 1, unseen);
        } else {
            self.first += 1;
        }
        if self.last < highest {
            self.last += 1;
            self.set(self.last + 1, unseen);
        } else {
            self.last -= 1;
        }
    }

    /// From the last to the first, every other one.
    fn diagonals(&self) -> impl Iterator<Item = isize> + use<> {
        let (first, last) = (self.first, self.last);
        (first..=last).rev().step_by(2)
    }

    /// The points reached last, as `x` and the diagonal.
    fn reached(&self) -> impl Iterator<Item = (isize, isize)> {
        self.diagonals().map(|k| (self.get(k), k))
    }

    fn covers(&self, k: isize) -> bool {
        (self.first..=self.last).contains(&k)
    }

    fn get(&self, k: isize) -> isize {
        usize::try_from(k + self.zero)
            .ok()
            .and_then(|at| self.x.get(at).copied())
            .unwrap_or(0)
    }

    fn set(&mut self, k: isize, x: isize) {
        if let Some(furthest) = usize::try_from(k + self.zero)
            .ok()
            .and_then(|at| self.x.get_mut(at))
        {
            *furthest = x;
        }
    }
}

/// Moves the changes of one file to where GNU diff leaves them.
fn settle(ids: &[usize], changed: &mut [bool], other_changed: &[bool]) {
    let mut place = Place {
        ids,
        changed,
        other_changed,
        start: 0,
        end: 0,
        other: 0,
    };
    while place.find_next_change() {
        loop {
            let length = place.end - place.start;
            while place.move_up() {}
            let mut beside = place.is_beside_other_change().then_some(place.end);
            while place.move_down() {
                if place.is_beside_other_change() {
                    beside = Some(place.end);
                }
            }
            // Having met another change and joined it, it may move further.
            if place.end - place.start == length {
                while beside.is_some_and(|end| end < place.end) && place.move_up() {}
                break;
            }
        }
    }
}

/// A change on the move: the lines from `start` to `end`. The other file stands at the unchanged line that follows the
/// same place.
struct Place<'f> {
    ids: &'f [usize],
    changed: &'f mut [bool],
    other_changed: &'f [bool],
    start: usize,
    end: usize,
    other: usize,
}

impl Place<'_> {
    fn find_next_change(&mut self) -> bool {
        while self.end < self.changed.len() && !self.is_changed(self.end) {
            self.skip_other_changes();
            self.other += 1;
            self.end += 1;
        }
        self.start = self.end;
        self.skip_own_changes();
        self.skip_other_changes();
        self.start < self.end
    }

    /// Possible if the line above is the same as the last one of the change. Changes met above join.
    fn move_up(&mut self) -> bool {
        let Some(above) = self.start.checked_sub(1) else {
            return false;
        };
        if !self.same(above, self.end - 1) {
            return false;
        }
        self.start = above;
        self.end -= 1;
        self.mark(self.start, true);
        self.mark(self.end, false);
        while self.start > 0 && self.is_changed(self.start - 1) {
            self.start -= 1;
        }
        self.other = self.other.saturating_sub(1);
        while self.other > 0 && self.is_other_changed(self.other) {
            self.other -= 1;
        }
        true
    }

    /// Possible if the line below is the same as the first one of the change. Changes met below join.
    fn move_down(&mut self) -> bool {
        if !self.same(self.start, self.end) {
            return false;
        }
        self.mark(self.start, false);
        self.mark(self.end, true);
        self.start += 1;
        self.end += 1;
        self.skip_own_changes();
        self.other += 1;
        self.skip_other_changes();
        true
    }

    fn is_beside_other_change(&self) -> bool {
        self.other > 0 && self.is_other_changed(self.other - 1)
    }

    fn skip_own_changes(&mut self) {
        while self.is_changed(self.end) {
            self.end += 1;
        }
    }

    fn skip_other_changes(&mut self) {
        while self.is_other_changed(self.other) {
            self.other += 1;
        }
    }

    fn same(&self, a: usize, b: usize) -> bool {
        self.ids
            .get(a)
            .is_some_and(|id| self.ids.get(b) == Some(id))
    }

    fn is_changed(&self, at: usize) -> bool {
        self.changed.get(at).copied().unwrap_or(false)
    }

    fn is_other_changed(&self, at: usize) -> bool {
        self.other_changed.get(at).copied().unwrap_or(false)
    }

    fn mark(&mut self, at: usize, changed: bool) {
        if let Some(flag) = self.changed.get_mut(at) {
            *flag = changed;
        }
    }
}

fn runs(left_changed: &[bool], right_changed: &[bool]) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut left, mut right) = (0, 0);
    while left < left_changed.len() || right < right_changed.len() {
        let left_run = left_changed
            .iter()
            .skip(left)
            .take_while(|changed| **changed)
            .count();
        let right_run = right_changed
            .iter()
            .skip(right)
            .take_while(|changed| **changed)
            .count();
        if left_run + right_run > 0 {
            changes.push(Change {
                left: left..left + left_run,
                right: right..right + right_run,
            });
        }
        left += left_run + 1;
        right += right_run + 1;
    }
    changes
}

/// Changes near each other share a hunk.
fn hunks(changes: &[Change]) -> impl Iterator<Item = &[Change]> {
    changes.chunk_by(|before, after| after.left.start - before.left.end <= 2 * CONTEXT_LINES)
}

fn print_hunk(text: &mut Vec<u8>, left: &[&[u8]], right: &[&[u8]], changes: &[Change]) {
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        return;
    };
    let before = first.left.start.min(CONTEXT_LINES);
    let after = (left.len() - last.left.end).min(CONTEXT_LINES);
    let left_shown = first.left.start - before..last.left.end + after;
    let right_shown = first.right.start - before..last.right.end + after;
    text.extend_from_slice(
        format!("@@ -{} +{} @@\n", place(&left_shown), place(&right_shown)).as_bytes(),
    );
    let mut shown = left_shown.start;
    for change in changes {
        print_lines(text, b' ', left, shown..change.left.start);
        print_lines(text, b'-', left, change.left.clone());
        print_lines(text, b'+', right, change.right.clone());
        shown = change.left.end;
    }
    print_lines(text, b' ', left, shown..left_shown.end);
}

/// `FIRST,COUNT`; a count of one is left out, and of no lines the line before is named.
fn place(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        count => format!("{},{count}", lines.start + 1),
    }
}

fn print_lines(text: &mut Vec<u8>, mark: u8, lines: &[&[u8]], range: Range<usize>) {
    for line in lines.get(range).unwrap_or_default() {
        text.push(mark);
        text.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            text.extend_from_slice(b"\n\\ No newline at end of file\n");
        }
    }
}
