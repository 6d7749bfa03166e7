//! The treemaps of two binaries side by side: what grew, shrank, came and went.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::binary::{Binary, Kind, Part};
use crate::data::Became;
use crate::groups::{Group, groups};
use crate::map::{self, Cell, Screen};
use crate::page;
use crate::squarify::Rect;
use crate::text::{bytes, change, count, escape, escaped, float, push};
use crate::treemap::{module_name, part_name, title_of};

/// Both maps are drawn in a square of this side, in pixels of the screen; the larger fills it.
fn side_of(screen: Screen) -> f64 {
    match screen {
        Screen::Wide => 640.0,
        Screen::Narrow => 330.0,
    }
}

/// Lines of the table.
const ROWS_MAX: usize = 1000;
/// What changed has a rectangle of its own if it is so many times smaller than what did not.
const SMALL_CHANGE: u64 = 20;

/// One of two builds.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What it is called, such as its job and when it was built.
    pub name: &'a str,
    /// Its page; none: there is none to link to.
    pub url: Option<&'a str>,
    /// Its ELF file with symbols.
    pub binary: &'a Binary,
}

/// Draws the treemaps of two ELF files at the same scale, coloured by what became of each part.
/// `back` is the page that compares the two in words.
pub fn treemap_changes(left: Side<'_>, right: Side<'_>, back: Option<&str>) -> String {
    let changes = changes(left.binary, right.binary);
    let (left_bytes, right_bytes) = (left.binary.bytes(), right.binary.bytes());
    let largest = left_bytes.max(right_bytes).max(1);

    let mut out = String::new();
    out.push_str("<h1>What grew and what shrank</h1>\n");
    if let Some(back) = back {
        push!(
            out,
            "<p><a href=\"{}\" target=\"_top\">All that differs between the two builds</a></p>\n",
            escaped(back)
        );
    }
    push!(
        out,
        "<p>From {} to {}: <strong>{}</strong>. {}</p>\n",
        bytes(left_bytes),
        bytes(right_bytes),
        change(left_bytes, right_bytes),
        escaped(&summary(&changes))
    );
    out.push_str(
        "<ul class=\"legend\"><li><span class=\"new\"></span>new</li><li><span class=\"grew\"></span>grew (darker: by a tenth or more)</li>\
         <li><span class=\"shrank\"></span>shrank</li><li><span class=\"gone\"></span>gone</li><li><span class=\"same\"></span>same size</li></ul>\n",
    );
    let hint = "Point at a rectangle to read what became of it. Both maps have the same scale.";
    let touch = "Tap a rectangle to go to its line in the table. Both maps have the same scale.";
    out.push_str(&page::search_and_info(
        "module, library or file",
        hint,
        touch,
    ));
    out.push_str("<div class=\"pair\">\n");
    for (id, side) in [("left", left), ("right", right)] {
        let binary = side.binary;
        out.push_str("<figure>\n<figcaption>");
        match side.url {
            Some(url) => push!(
                out,
                "<a href=\"{}\" target=\"_top\">{}</a>",
                escaped(url),
                escaped(side.name)
            ),
            None => escape(&mut out, side.name),
        }
        push!(out, ", {}</figcaption>\n", bytes(binary.bytes()));
        for screen in Screen::BOTH {
            let (whole, class) = (side_of(screen), screen.class());
            push!(
                out,
                "<svg class=\"map {class}\" viewBox=\"0 0 {whole} {whole}\" role=\"group\" aria-labelledby=\"{id}-{class}-title\"><title id=\"{id}-{class}-title\">Treemap of {}</title>\n",
                escaped(side.name)
            );
            let side = whole * (float(binary.bytes()) / float(largest)).sqrt();
            let area = Rect {
                x: 0.0,
                y: whole - side,
                width: side,
                height: side,
            };
            map::draw(&mut out, cells(binary, &changes, largest, screen), area);
            out.push_str("</svg>\n");
        }
        out.push_str("</figure>\n");
    }
    out.push_str("</div>\n");
    table(&mut out, &changes);
    page::document("What grew and what shrank", &out)
}

type Key<'b> = (Kind, &'b str, &'b str);

/// A part in one or both, and its sizes.
pub(crate) struct Change<'b> {
    pub(crate) part: &'b Part,
    pub(crate) left: u64,
    pub(crate) right: u64,
}

fn key(part: &Part) -> Key<'_> {
    (part.kind, part.group.as_str(), part.name.as_str())
}

impl Change<'_> {
    fn class(&self) -> &'static str {
        let much = self.left.abs_diff(self.right).saturating_mul(10) >= self.left;
        match (Became::of(self.left, self.right), much) {
            (Became::Same, _) => "same",
            (Became::New, _) => "new",
            (Became::Gone, _) => "gone",
            (Became::Larger, true) => "grew2",
            (Became::Larger, false) => "grew1",
            (Became::Smaller, true) => "shrank2",
            (Became::Smaller, false) => "shrank1",
        }
    }
}

/// What is in one or both, the largest changes first.
pub(crate) fn changes<'b>(left: &'b Binary, right: &'b Binary) -> Vec<Change<'b>> {
    let mut by_key: BTreeMap<Key<'b>, (&'b Part, u64, u64)> = BTreeMap::new();
    for part in &left.parts {
        by_key.entry(key(part)).or_insert((part, 0, 0)).1 += part.bytes();
    }
    for part in &right.parts {
        by_key.entry(key(part)).or_insert((part, 0, 0)).2 += part.bytes();
    }
    let mut changes: Vec<Change<'b>> = by_key
        .into_values()
        .map(|(part, left, right)| Change { part, left, right })
        .collect();
    changes.sort_by_key(|change| Reverse(change.left.abs_diff(change.right)));
    changes
}

fn summary(changes: &[Change<'_>]) -> String {
    let with = |class: &str| {
        let of_class = changes
            .iter()
            .filter(|change| change.class().starts_with(class));
        of_class.count()
    };
    let counts = [
        (with("new"), "new"),
        (with("gone"), "gone"),
        (with("grew"), "grew"),
        (with("shrank"), "shrank"),
    ];
    let said: Vec<String> = counts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    match said.as_slice() {
        [] => "Every part has the same size.".to_owned(),
        said => format!(
            "Of {}: {}.",
            count(changes.len(), "part", "parts"),
            said.join(", ")
        ),
    }
}

fn cells(binary: &Binary, changes: &[Change<'_>], total: u64, screen: Screen) -> Vec<Cell> {
    let rows: Rows<'_> = changes
        .iter()
        .enumerate()
        .map(|(row, change)| (key(change.part), (row, change)))
        .collect();
    let groups = groups(binary);
    let kinds = groups.chunk_by(|one, other| one.kind == other.kind);
    kinds
        .filter_map(|of_kind| {
            let first = of_kind.first()?;
            let sum = of_kind.iter().map(|group| group.bytes).sum();
            let children = group_cells(of_kind, &rows, total, screen);
            Some(Cell {
                label: first.kind.title().to_owned(),
                title: format!("{}\n{}", first.kind.title(), bytes(sum)),
                row: "changes".to_owned(),
                bytes: sum,
                class: "change",
                closed_class: closed_class(&children),
                children,
            })
        })
        .collect()
}

/// How a group looks whose parts are too small to be drawn: as the largest of those that changed.
fn closed_class(children: &[Cell]) -> Option<&'static str> {
    let changed = children
        .iter()
        .filter(|child| child.class != "same")
        .max_by_key(|child| child.bytes);
    changed.map_or(Some("same"), |child| {
        child.closed_class.or(Some(child.class))
    })
}

type Rows<'b> = BTreeMap<Key<'b>, (usize, &'b Change<'b>)>;

fn group_cells(groups: &[Group<'_>], rows: &Rows<'_>, total: u64, screen: Screen) -> Vec<Cell> {
    let (small, shown): (Vec<&Group<'_>>, Vec<&Group<'_>>) = groups.iter().partition(|group| {
        group
            .bytes
            .saturating_mul(screen.small_part() * SMALL_CHANGE)
            < total
    });
    let shown = shown
        .into_iter()
        .map(|group| group_cell(group, rows, total, screen));
    let small = gathered(small.iter().map(|group| group.bytes));
    shown.chain(small).collect()
}

/// What is too small for a rectangle of its own.
fn gathered(sizes: impl ExactSizeIterator<Item = u64>) -> Option<Cell> {
    let label = format!("{} smaller", sizes.len());
    let is_any = sizes.len() > 0;
    let sum = sizes.fold(0, u64::saturating_add);
    is_any.then(|| Cell {
        title: format!("{label}\n{}", bytes(sum)),
        label,
        row: "changes".to_owned(),
        bytes: sum,
        class: "same",
        children: Vec::new(),
        closed_class: None,
    })
}

fn of<'r>(rows: &'r Rows<'_>, part: &Part) -> Option<(usize, &'r Change<'r>)> {
    rows.get(&key(part)).map(|(row, change)| (*row, *change))
}

fn group_cell(group: &Group<'_>, rows: &Rows<'_>, total: u64, screen: Screen) -> Cell {
    let cell = |part: &Part, label: &str| {
        let (row, class, left, right) = of(rows, part)
            .map_or((0, "same", 0, 0), |(row, change)| {
                (row, change.class(), change.left, change.right)
            });
        Cell {
            label: label.to_owned(),
            title: format!(
                "{}\n{} → {}, {}",
                part_name(part),
                bytes(left),
                bytes(right),
                change(left, right)
            ),
            row: match class {
                "same" => "changes".to_owned(),
                _ => format!("c{row}"),
            },
            bytes: part.bytes(),
            class,
            children: Vec::new(),
            closed_class: None,
        }
    };
    if let ([part], true) = (group.parts.as_slice(), group.is_one()) {
        return cell(part, group.name);
    }
    // What is small and unchanged says nothing here; what changed is shown down to a smaller size.
    let (small, shown): (Vec<&Part>, Vec<&Part>) = group.parts.iter().partition(|part| {
        let changed = of(rows, part).is_some_and(|(_, change)| change.left != change.right);
        let smaller = if changed { SMALL_CHANGE } else { 1 };
        part.bytes().saturating_mul(screen.small_part() * smaller) < total
    });
    let mut children: Vec<Cell> = shown
        .iter()
        .map(|part| cell(part, &module_name(part)))
        .collect();
    children.extend(gathered(small.iter().map(|part| part.bytes())));
    Cell {
        label: title_of(group),
        title: format!("{}\n{}", title_of(group), bytes(group.bytes)),
        row: "changes".to_owned(),
        bytes: group.bytes,
        class: "change",
        closed_class: closed_class(&children),
        children,
    }
}

fn table(out: &mut String, changes: &[Change<'_>]) {
    let changed: Vec<&Change<'_>> = changes
        .iter()
        .filter(|change| change.left != change.right)
        .collect();
    out.push_str("<h2 id=\"changes\">As a table</h2>\n");
    if changed.is_empty() {
        out.push_str("<p>Every part has the same size.</p>\n");
        return;
    }
    out.push_str("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table class=\"changes\">\n<thead><tr><th scope=\"col\">What</th><th scope=\"col\">Became</th><th scope=\"col\" class=\"n\">Left</th>\
         <th scope=\"col\" class=\"n\">Right</th><th scope=\"col\" class=\"n\">Change</th></tr></thead>\n<tbody>\n");
    for (row, one) in changed.iter().take(ROWS_MAX).enumerate() {
        let (word, class) = match Became::of(one.left, one.right) {
            Became::New => ("new", "up"),
            Became::Gone => ("gone", "down"),
            Became::Larger => ("larger", "up"),
            Became::Smaller => ("smaller", "down"),
            Became::Same => continue,
        };
        push!(out, "<tr id=\"c{row}\"><th scope=\"row\">");
        escape(out, &part_name(one.part));
        push!(
            out,
            "</th><td>{word}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n {class}\">{}</td></tr>\n",
            bytes(one.left),
            bytes(one.right),
            change(one.left, one.right)
        );
    }
    out.push_str("</tbody></table></div>\n");
    if changed.len() > ROWS_MAX {
        push!(
            out,
            "<p class=\"soft\">{} smaller changes are left out of the table.</p>\n",
            changed.len() - ROWS_MAX
        );
    }
    let same = changes.len() - changed.len();
    if same > 0 {
        push!(
            out,
            "<p class=\"soft\">{} of the same size.</p>\n",
            count(same, "part is", "parts are")
        );
    }
}
