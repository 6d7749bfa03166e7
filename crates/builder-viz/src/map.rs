//! A treemap as SVG: nested rectangles with a name where it fits. Knows nothing of binaries.

use crate::squarify::{Rect, squarify};
use crate::text::{escape, fitting, number, push};

/// What a map is drawn for. Each map is drawn for both, and the style sheet shows the one that fits:
/// a map for a wide window, made as small as a telephone, cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    Wide,
    Narrow,
}

impl Screen {
    pub(crate) const BOTH: [Screen; 2] = [Screen::Wide, Screen::Narrow];

    /// The class of its map, which is a part of its id, too.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Screen::Wide => "on-wide",
            Screen::Narrow => "on-narrow",
        }
    }

    /// What has less than one in so many bytes is gathered into one rectangle: what would be too
    /// small to be pointed at.
    pub(crate) fn small_part(self) -> u64 {
        match self {
            Screen::Wide => SMALL_PART,
            Screen::Narrow => 150,
        }
    }
}

/// What has less than one in so many bytes is gathered into one rectangle of a wide map.
pub(crate) const SMALL_PART: u64 = 1000;

/// A rectangle to be, with those inside of it.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    /// What stands in it, as much as fits.
    pub(crate) label: String,
    /// What is told when it is pointed at.
    pub(crate) title: String,
    /// The line of the table that tells the same, an `id`.
    pub(crate) row: String,
    pub(crate) bytes: u64,
    /// Its class, which gives the colour of it and what is inside.
    pub(crate) class: &'static str,
    pub(crate) children: Vec<Cell>,
    /// Its class where there is no room to draw what is inside, if that is another one.
    pub(crate) closed_class: Option<&'static str>,
}

/// Height of the name of what has something inside.
const HEAD: f64 = 17.0;
const FONT: f64 = 12.0;
/// How much wider the bold names are than others.
const BOLD: f64 = 1.1;
/// Between the name and the side of its rectangle.
const LABEL_MARGIN: f64 = 4.0;
/// Below this width or height nothing is drawn inside.
const INSIDE_MIN: f64 = 14.0;

/// Draws cells so that they fill a rectangle.
pub(crate) fn draw(out: &mut String, mut cells: Vec<Cell>, area: Rect) {
    cells.sort_by(|one, other| {
        let by_size = other.bytes.cmp(&one.bytes);
        by_size.then_with(|| one.label.cmp(&other.label))
    });
    let sizes: Vec<u64> = cells.iter().map(|cell| cell.bytes).collect();
    for (cell, rect) in cells.into_iter().zip(squarify(&sizes, area)) {
        if rect.area() < 0.01 {
            continue;
        }
        draw_cell(out, cell, rect);
    }
}

fn draw_cell(out: &mut String, cell: Cell, rect: Rect) {
    let inside =
        !cell.children.is_empty() && rect.width >= INSIDE_MIN && rect.height >= INSIDE_MIN + HEAD;
    let class = match cell.closed_class {
        Some(class) if !inside => class,
        _ => cell.class,
    };
    push!(out, "<g class=\"{class}\"><a href=\"#{}\"", cell.row);
    out.push_str(" data-q=\"");
    escape(out, &cell.label);
    out.push('"');
    if !inside {
        out.push_str(" data-leaf=\"\"");
    }
    out.push_str("><title>");
    escape(out, &cell.title);
    out.push_str("</title><rect class=\"");
    out.push_str(if inside { "box" } else { "leaf" });
    out.push('"');
    let sides = [
        ("x", rect.x),
        ("y", rect.y),
        ("width", rect.width),
        ("height", rect.height),
    ];
    for (name, value) in sides {
        push!(out, " {name}=\"");
        number(out, value);
        out.push('"');
    }
    out.push_str("/>");
    label(out, &cell.label, rect, inside);
    out.push_str("</a>");
    if inside {
        draw(out, cell.children, rect.inner(2.0, HEAD));
    }
    out.push_str("</g>\n");
}

/// The name, at the top left; larger in large rectangles. How wide it becomes depends on the fonts of
/// who looks at it: it is cut to what is likely to fit, and what does not is hidden by a frame.
fn label(out: &mut String, label: &str, rect: Rect, is_head: bool) {
    let font = match is_head {
        true => FONT,
        false => (rect.height.min(rect.width) / 6.0).clamp(10.0, 22.0),
    };
    if rect.height < font + 2.0 {
        return;
    }
    let room = (rect.width - 2.0 * LABEL_MARGIN) / if is_head { font * BOLD } else { font };
    let Some(label) = fitting(label, room) else {
        return;
    };
    out.push_str("<svg");
    let height = match is_head {
        true => rect.height.min(HEAD),
        false => rect.height,
    };
    for (name, value) in [
        ("x", rect.x),
        ("y", rect.y),
        ("width", rect.width - LABEL_MARGIN / 2.0),
        ("height", height),
    ] {
        push!(out, " {name}=\"");
        number(out, value);
        out.push('"');
    }
    out.push_str("><text");
    if is_head {
        out.push_str(" class=\"head\"");
    }
    for (name, value) in [("x", LABEL_MARGIN), ("y", font + 1.0), ("font-size", font)] {
        push!(out, " {name}=\"");
        number(out, value);
        out.push('"');
    }
    out.push('>');
    escape(out, &label);
    out.push_str("</text></svg>");
}
