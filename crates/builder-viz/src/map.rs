//! A treemap as SVG: nested rectangles with a name where it fits. Knows nothing of binaries.

use crate::squarify::{Rect, squarify};
use crate::text::{self, escape, number, push};

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
/// Width of a character, on average, as a part of the height of the font.
const CHAR_WIDTH: f64 = 0.58;
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

/// The name, at the top left; larger in large rectangles.
fn label(out: &mut String, label: &str, rect: Rect, is_head: bool) {
    let font = match is_head {
        true => FONT,
        false => (rect.height.min(rect.width) / 6.0).clamp(10.0, 22.0),
    };
    if rect.height < font + 2.0 {
        return;
    }
    let mut room = 0;
    let mut width = 8.0 + font * CHAR_WIDTH;
    while width <= rect.width && room < text::NAME_CHARS_MAX {
        room += 1;
        width += font * CHAR_WIDTH;
    }
    if room < 2 {
        return;
    }
    out.push_str("<text");
    if is_head {
        out.push_str(" class=\"head\"");
    }
    for (name, value) in [
        ("x", rect.x + 4.0),
        ("y", rect.y + font + 1.0),
        ("font-size", font),
    ] {
        push!(out, " {name}=\"");
        number(out, value);
        out.push('"');
    }
    out.push('>');
    escape(out, &text::cut(label, room));
    out.push_str("</text>");
}
