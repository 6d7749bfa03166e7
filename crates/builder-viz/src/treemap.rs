//! The treemap of a binary: what takes space in it, and how much of the binary that is.

use crate::Error;
use crate::binary::{Binary, Kind, Part};
use crate::groups::{Group, groups};
use crate::map::{self, Cell, SMALL_PART, Screen};
use crate::page;
use crate::squarify::Rect;
use crate::text::{bytes, count, escape, escaped, percent, push};

/// Width and height of a map, in pixels of the screen that it is for.
fn size(screen: Screen) -> (f64, f64) {
    match screen {
        Screen::Wide => (1200.0, 760.0),
        Screen::Narrow => (330.0, 540.0),
    }
}

/// Width of the scale, which is as wide as there is room.
const SCALE_WIDTH: f64 = 1000.0;
/// Lines of the table.
const ROWS_MAX: usize = 2000;

/// Draws what takes space in an ELF file with symbols, the debug binary of a unikernel, measured
/// against the `binary_bytes` of the main binary that was made of it.
///
/// # Errors
/// When `file` is no ELF file, is too large, or has nothing that is loaded.
pub fn treemap(file: &[u8], binary_bytes: Option<u64>) -> Result<String, Error> {
    let binary = Binary::read(file)?;
    let groups = groups(&binary);
    let total = binary.bytes();
    let rows = rows(&groups);
    let small_bytes: u64 = small(&groups, total);
    let description = escaped(&description(&groups, total));

    let mut out = String::new();
    out.push_str("<h1>What takes space in the binary</h1>\n");
    push!(
        out,
        "<p class=\"soft\">Everything that is loaded into memory: {} by module and file, as its symbols tell. A larger rectangle takes more space; \
         what is too small to be pointed at is gathered in its group. The table below says the same.</p>\n",
        escaped(&bytes(total)),
    );
    if let Some(binary_bytes) = binary_bytes {
        scale(&mut out, total, small_bytes, binary_bytes);
    }
    out.push_str("<ul class=\"legend\">");
    for kind in Kind::ALL {
        let of_kind = groups.iter().filter(|group| group.kind == kind);
        let sum: u64 = of_kind.map(|group| group.bytes).sum();
        if sum > 0 {
            push!(
                out,
                "<li><span class=\"{}\"></span>{} {}</li>",
                class(kind),
                legend(kind),
                bytes(sum)
            );
        }
    }
    if binary.zeroed_bytes > 0 {
        push!(
            out,
            "<li>Besides, {} of memory that is zero at the start and not in the file</li>",
            bytes(binary.zeroed_bytes)
        );
    }
    if binary.symbols_left > 0 {
        push!(
            out,
            "<li>{} symbols were not looked at</li>",
            binary.symbols_left
        );
    }
    out.push_str("</ul>\n");
    let hint = "Point at a rectangle, or walk with the arrow keys; its link leads to its line in the table.";
    let touch = "Tap a rectangle to go to its line in the table.";
    out.push_str(&page::search_and_info(
        "module, library or file",
        hint,
        touch,
    ));
    for screen in Screen::BOTH {
        let (width, height) = size(screen);
        let class = screen.class();
        push!(
            out,
            "<svg class=\"map {class}\" viewBox=\"0 0 {width} {height}\" role=\"group\" aria-labelledby=\"{class}-title {class}-desc\">\
             <title id=\"{class}-title\">Treemap of the binary</title><desc id=\"{class}-desc\">{description}</desc>\n",
        );
        let area = Rect {
            x: 0.0,
            y: 0.0,
            width,
            height,
        };
        map::draw(&mut out, cells(&groups, total, screen), area);
        out.push_str("</svg>\n");
    }
    table(&mut out, &groups, total, rows);
    Ok(page::document("Treemap", &out))
}

/// The class of a kind, by which it has its colour.
pub(crate) fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::OCaml => "ocaml",
        Kind::Runtime => "runtime",
        Kind::C => "c",
        Kind::Unnamed => "unnamed",
    }
}

fn legend(kind: Kind) -> &'static str {
    match kind {
        Kind::OCaml => "OCaml modules",
        Kind::Runtime => "OCaml’s runtime",
        Kind::C => "C code",
        Kind::Unnamed => "without a symbol, by section",
    }
}

fn is_small(bytes: u64, total: u64, small_part: u64) -> bool {
    bytes.saturating_mul(small_part) < total
}

/// What is gathered in a wide map.
pub(crate) fn small(groups: &[Group<'_>], total: u64) -> u64 {
    let mut sum = 0_u64;
    for group in groups {
        let of_group = match is_small(group.bytes, total, SMALL_PART) {
            true => group.bytes,
            false if group.is_one() => 0,
            false => {
                let parts = group.parts.iter().map(|part| part.bytes());
                parts
                    .filter(|bytes| is_small(*bytes, total, SMALL_PART))
                    .sum()
            }
        };
        sum = sum.saturating_add(of_group);
    }
    sum
}

/// How much of the main binary the picture shows: one bar within the other.
fn scale(out: &mut String, total: u64, small: u64, binary_bytes: u64) {
    let shown = total.min(binary_bytes);
    let small = small.min(shown);
    let large = shown - small;
    let whole = binary_bytes.max(1);
    let width = |bytes: u64| SCALE_WIDTH * crate::text::float(bytes) / crate::text::float(whole);
    let mut said = format!(
        "The binary has {}. The treemap shows {} of them ({}), {} in small entries; {} are headers, padding and what is not loaded.",
        bytes(binary_bytes),
        bytes(shown),
        percent(shown, binary_bytes),
        bytes(small),
        bytes(binary_bytes - shown)
    );
    if total > binary_bytes {
        said.push_str(" The treemap counts more than that: the binary and its debug binary seem not to be of one build.");
    }
    push!(
        out,
        "<svg class=\"scale\" viewBox=\"0 0 {SCALE_WIDTH} 18\" preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"scale-title\"><title id=\"scale-title\">{}</title>\
         <rect class=\"all\" width=\"{SCALE_WIDTH}\" height=\"18\"/>\
         <rect class=\"drawn\" width=\"{:.1}\" height=\"18\"/>\
         <rect class=\"small\" x=\"{:.1}\" width=\"{:.1}\" height=\"18\"/></svg>\n",
        escaped(&said),
        width(large),
        width(large),
        width(small),
    );
    push!(
        out,
        "<p class=\"soft\">Binary: {} · Treemap: {} · Smaller entries: {} · Not covered: {}</p>\n",
        bytes(binary_bytes),
        bytes(total),
        bytes(small),
        bytes(binary_bytes - shown)
    );
    if total > binary_bytes {
        push!(out, "<p>{}</p>\n", escaped(&said));
    }
}

/// In a sentence, for those who do not see it.
fn description(groups: &[Group<'_>], total: u64) -> String {
    let mut largest: Vec<&Group<'_>> = groups.iter().collect();
    largest.sort_by_key(|group| u64::MAX - group.bytes);
    let largest: Vec<String> = largest
        .iter()
        .take(5)
        .map(|group| format!("{} {}", title_of(group), percent(group.bytes, total)))
        .collect();
    format!(
        "{} in {}. The largest: {}.",
        bytes(total),
        count(groups.len(), "group", "groups"),
        largest.join(", ")
    )
}

/// What a group is called on its own.
pub(crate) fn title_of(group: &Group<'_>) -> String {
    match (group.kind, group.name) {
        (Kind::Unnamed, name) => format!("{name} without symbols"),
        (Kind::OCaml, "Dune__exe") => "the program itself".to_owned(),
        (_, name) => name.to_owned(),
    }
}

fn cells(groups: &[Group<'_>], total: u64, screen: Screen) -> Vec<Cell> {
    let mut kinds = Vec::new();
    let mut next = 0;
    for of_kind in groups.chunk_by(|one, other| one.kind == other.kind) {
        let mut children = Vec::new();
        let mut gathered = Gathered::default();
        for group in of_kind {
            let row = format!("g{next}");
            next += 1;
            if is_small(group.bytes, total, screen.small_part()) {
                gathered.add(group.bytes, &row);
            } else {
                children.push(group_cell(group, &row, total, screen));
            }
        }
        children.extend(gathered.cell("group", "groups", total));
        let (Some(first), sum) = (
            of_kind.first(),
            of_kind.iter().map(|group| group.bytes).sum(),
        ) else {
            continue;
        };
        kinds.push(Cell {
            label: first.kind.title().to_owned(),
            title: format!(
                "{}\n{}, {}",
                legend(first.kind),
                bytes(sum),
                percent(sum, total)
            ),
            row: format!("k-{}", class(first.kind)),
            bytes: sum,
            class: class(first.kind),
            children,
            closed_class: None,
        });
    }
    kinds
}

fn group_cell(group: &Group<'_>, row: &str, total: u64, screen: Screen) -> Cell {
    let mut children = Vec::new();
    let mut gathered = Gathered::default();
    if !group.is_one() {
        for part in &group.parts {
            if is_small(part.bytes(), total, screen.small_part()) {
                gathered.add(part.bytes(), row);
            } else {
                children.push(Cell {
                    label: module_name(part),
                    title: part_title(part, total),
                    row: row.to_owned(),
                    bytes: part.bytes(),
                    class: "part",
                    children: Vec::new(),
                    closed_class: None,
                });
            }
        }
        // All of them small: one rectangle says as much.
        if !children.is_empty() {
            children.extend(gathered.cell("module", "modules", total));
        }
    }
    let title = match group.parts.as_slice() {
        [part] if group.is_one() => part_title(part, total),
        parts => format!(
            "{}\n{}, {}, in {}",
            title_of(group),
            bytes(group.bytes),
            percent(group.bytes, total),
            count(parts.len(), "part", "parts")
        ),
    };
    Cell {
        label: title_of(group),
        title,
        row: row.to_owned(),
        bytes: group.bytes,
        class: "group",
        children,
        closed_class: None,
    }
}

/// What a part is called, with what it belongs to.
pub(crate) fn part_name(part: &Part) -> String {
    match part.kind {
        Kind::OCaml if part.group == part.name => part.name.clone(),
        Kind::OCaml => format!("{}.{}", part.group, module_name(part)),
        Kind::Unnamed => format!("{} without symbols", part.name),
        _ => format!("{}, {}", part.group, part.name),
    }
}

/// What a part is called within what it belongs to.
pub(crate) fn module_name(part: &Part) -> String {
    part.name.replace("__", ".")
}

fn part_title(part: &Part, total: u64) -> String {
    let mut out = format!(
        "{}\n{}, {}",
        part_name(part),
        bytes(part.bytes()),
        percent(part.bytes(), total)
    );
    if part.code_bytes > 0 && part.data_bytes > 0 {
        push!(
            out,
            "; code {}, data {}",
            bytes(part.code_bytes),
            bytes(part.data_bytes)
        );
    }
    if !part.largest.is_empty() {
        push!(out, "\nLargest functions: {}", largest(part));
    }
    out
}

fn largest(part: &Part) -> String {
    let names: Vec<String> = part
        .largest
        .iter()
        .map(|(size, name)| format!("{name} {}", bytes(*size)))
        .collect();
    names.join(", ")
}

/// What is too small for a rectangle of its own.
#[derive(Default)]
struct Gathered {
    bytes: u64,
    count: usize,
    row: String,
}

impl Gathered {
    fn add(&mut self, bytes: u64, row: &str) {
        if self.count == 0 {
            self.row = row.to_owned();
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.count += 1;
    }

    fn cell(self, one: &str, many: &str, total: u64) -> Option<Cell> {
        let what = format!("smaller {}", if self.count == 1 { one } else { many });
        (self.count > 0).then(|| Cell {
            label: format!("{} smaller", self.count),
            title: format!(
                "{} {what}\n{}, {}",
                self.count,
                bytes(self.bytes),
                percent(self.bytes, total)
            ),
            row: self.row,
            bytes: self.bytes,
            class: "rest",
            children: Vec::new(),
            closed_class: None,
        })
    }
}

/// How many lines the table would have.
fn rows(groups: &[Group<'_>]) -> usize {
    let parts = groups.iter().map(|group| match group.is_one() {
        true => 1,
        false => group.parts.len() + 1,
    });
    parts.sum()
}

fn table(out: &mut String, groups: &[Group<'_>], total: u64, rows: usize) {
    out.push_str("<h2>As a table</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table class=\"sizes\">\n<thead><tr><th scope=\"col\">What</th><th scope=\"col\" class=\"n\">Code</th>\
         <th scope=\"col\" class=\"n\">Data</th><th scope=\"col\" class=\"n\">Size</th><th scope=\"col\" class=\"n\">Share</th><th scope=\"col\">Largest functions</th></tr></thead>\n");
    let mut written = 0;
    let mut kind = None;
    for (index, group) in groups.iter().enumerate() {
        if written >= ROWS_MAX {
            break;
        }
        if kind != Some(group.kind) {
            if kind.is_some() {
                out.push_str("</tbody>\n");
            }
            kind = Some(group.kind);
            push!(
                out,
                "<tbody><tr class=\"group\" id=\"k-{}\"><th scope=\"rowgroup\" colspan=\"6\">{}</th></tr>\n",
                class(group.kind),
                legend(group.kind)
            );
        }
        let code = group.parts.iter().map(|part| part.code_bytes);
        let code = code.fold(0, u64::saturating_add);
        push!(out, "<tr class=\"group\" id=\"g{index}\">");
        let functions = match group.parts.as_slice() {
            [part] if group.is_one() => largest(part),
            _ => String::new(),
        };
        let sizes = (code, group.bytes - code);
        cells_of_row(out, &title_of(group), sizes, total, &functions);
        written += 1;
        if group.is_one() {
            continue;
        }
        for part in &group.parts {
            if written >= ROWS_MAX {
                break;
            }
            out.push_str("<tr class=\"part\">");
            let sizes = (part.code_bytes, part.data_bytes);
            cells_of_row(out, &module_name(part), sizes, total, &largest(part));
            written += 1;
        }
    }
    if kind.is_some() {
        out.push_str("</tbody>\n");
    }
    out.push_str("</table></div>\n");
    if rows > written {
        push!(
            out,
            "<p class=\"soft\">{} more are left out of the table.</p>\n",
            rows - written
        );
    }
}

fn cells_of_row(
    out: &mut String,
    name: &str,
    (code, data): (u64, u64),
    total: u64,
    functions: &str,
) {
    out.push_str("<th scope=\"row\">");
    escape(out, name);
    out.push_str("</th>");
    let sum = code.saturating_add(data);
    let shown = |size: u64| match size {
        0 => String::new(),
        size => bytes(size),
    };
    for cell in [shown(code), shown(data), bytes(sum), percent(sum, total)] {
        push!(out, "<td class=\"n\">{cell}</td>");
    }
    out.push_str("<td class=\"functions\">");
    escape(out, functions);
    out.push_str("</td></tr>\n");
}
