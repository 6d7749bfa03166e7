//! The graph of a switch: the root in the middle, all packages around it, a line for each
//! dependency.
//!
//! Packages that one package alone brings in stand beside it, under a common arc: they would go
//! with it. Everything else has its place by name, so that it is found.

use std::f64::consts::{PI, TAU};

use opam_file::compare_names;

use crate::Error;
use crate::dominators::immediate_dominators;
use crate::graph::{Graph, Package};
use crate::page;
use crate::text::{count, cut, escape, escaped, float, number, push};

/// Room for a name along the circle.
const STEP: f64 = 13.5;
const RADIUS_MIN: f64 = 210.0;
/// Characters of a name and its version beside the circle.
const LABEL_CHARS_MAX: usize = 34;
const CHAR_WIDTH: f64 = 6.1;
/// Names that are listed in the table for one package.
const NAMES_MAX: usize = 200;

/// Draws the dependency graph of a switch, from the bytes of `opam-switch`.
///
/// # Errors
/// When `switch` is no switch export, is too large, or has no root.
pub fn dependencies(switch: &[u8]) -> Result<String, Error> {
    let graph = Graph::read(switch)?;
    let Some(root) = graph.packages.first() else {
        return Err(Error::NoRoot);
    };
    let circle = Circle::of(&graph);
    let mut out = String::new();
    push!(
        out,
        "<h1>What {} depends on</h1>\n",
        escaped(&with_version(root))
    );
    push!(
        out,
        "<p class=\"soft\">{}, {} directly. Each stands on the circle once; a line leads to each package that it needs, for building too. \
         Packages under an arc are there for the sake of the first of them alone. The table below says the same.</p>\n",
        count(graph.packages.len() - 1, "package", "packages"),
        root.needs.len()
    );
    if graph.packages_left > 0 || graph.edges_left > 0 {
        push!(
            out,
            "<p>Not drawn: {} and {}, those furthest from the root.</p>\n",
            count(graph.packages_left, "package", "packages"),
            count(graph.edges_left, "dependency", "dependencies")
        );
    }
    out.push_str(
        "<ul class=\"legend\"><li><span class=\"needs\"></span>what it needs</li><li><span class=\"needed\"></span>what needs it</li>\
         <li><span class=\"s0\"></span>needed by one</li><li><span class=\"s4\"></span>needed by many</li><li><b>bold</b>: direct dependency</li></ul>\n",
    );
    let hint = "Point at a package to see what it needs and what needs it; press it to hold it, twice to go to its line in the table. Arrow keys walk around.";
    let touch = "Tap a package to see what it needs and what needs it, twice to go to its line in the table. The picture can be moved sideways.";
    out.push_str(&page::search_and_info("package", hint, touch));
    draw(&mut out, &graph, &circle);
    table(&mut out, &graph);
    Ok(page::document("Dependencies", &out))
}

fn with_version(package: &Package) -> String {
    match &package.version {
        Some(version) => format!("{} {version}", package.name),
        None => package.name.clone(),
    }
}

/// Where the packages are.
struct Circle {
    radius: f64,
    /// From the middle to the edge of the picture.
    half: f64,
    /// The packages in order, without the root, and the angle of each package.
    order: Vec<usize>,
    angles: Vec<f64>,
    /// First and last of those under one arc.
    arcs: Vec<(usize, usize)>,
}

impl Circle {
    fn of(graph: &Graph) -> Circle {
        let dominators = immediate_dominators(&graph.successors());
        let mut below: Vec<Vec<usize>> = vec![Vec::new(); graph.packages.len()];
        for (index, dominator) in dominators.iter().enumerate().skip(1) {
            if let Some(below) = below.get_mut(*dominator) {
                below.push(index);
            }
        }
        let name = |index: &usize| {
            let package = graph.packages.get(*index);
            package.map_or("", |package| package.name.as_str())
        };
        for below in &mut below {
            below.sort_by(|one, other| compare_names(name(one).as_bytes(), name(other).as_bytes()));
        }
        let mut order = Vec::new();
        let mut arcs = Vec::new();
        for first in below.first().into_iter().flatten() {
            let begin = order.len();
            let mut todo = vec![*first];
            while let Some(next) = todo.pop() {
                order.push(next);
                let after = below.get(next).into_iter().flatten().rev();
                todo.extend(after);
            }
            if order.len() > begin + 1 {
                arcs.push((begin, order.len() - 1));
            }
        }
        // A little room around each group, so that arcs do not touch.
        let places = float((order.len() + arcs.len()).max(1) as u64);
        let radius = (places * STEP / TAU).max(RADIUS_MIN);
        let mut angles = vec![0.0; graph.packages.len()];
        let mut place = 0.0;
        for (at, index) in order.iter().enumerate() {
            let begins = arcs.iter().any(|(begin, _)| *begin == at);
            let ended = arcs.iter().any(|(_, end)| end + 1 == at);
            place += if begins { 0.5 } else { 0.0 } + if ended { 0.5 } else { 0.0 };
            if let Some(angle) = angles.get_mut(*index) {
                *angle = place * TAU / places - PI / 2.0;
            }
            place += 1.0;
        }
        let longest = graph.packages.iter().skip(1);
        let longest = longest.map(label_chars).max();
        let room = float(longest.unwrap_or(0) as u64) * CHAR_WIDTH + 26.0;
        Circle {
            radius,
            half: radius + room,
            order,
            angles,
            arcs,
        }
    }

    fn angle(&self, index: usize) -> f64 {
        self.angles.get(index).copied().unwrap_or_default()
    }

    /// A point at this angle, so far from the middle as a part of the radius.
    fn point(&self, angle: f64, part: f64) -> (f64, f64) {
        let distance = self.radius * part;
        (distance * angle.cos(), distance * angle.sin())
    }
}

fn label_chars(package: &Package) -> usize {
    with_version(package).chars().count().min(LABEL_CHARS_MAX)
}

fn draw(out: &mut String, graph: &Graph, circle: &Circle) {
    let half = circle.half;
    push!(
        out,
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Graph\"><svg class=\"graph\" viewBox=\"{:.0} {:.0} {:.0} {:.0}\" role=\"group\" aria-labelledby=\"graph-title graph-desc\"><title id=\"graph-title\">Dependency graph</title><desc id=\"graph-desc\">",
        -half,
        -half,
        2.0 * half,
        2.0 * half
    );
    escape(out, &description(graph));
    out.push_str("</desc>\n<g>\n");
    for (begin, end) in &circle.arcs {
        arc(out, circle, *begin, *end);
    }
    out.push_str("</g>\n<g>\n");
    for (from, package) in graph.packages.iter().enumerate() {
        for to in &package.needs {
            edge(out, circle, from, *to);
        }
    }
    out.push_str("</g>\n<g>\n");
    let most = graph.packages.iter().skip(1);
    let most = most.map(|package| package.needed_by.len()).max();
    let most = most.unwrap_or(1);
    for index in std::iter::once(&0).chain(&circle.order) {
        if let Some(package) = graph.packages.get(*index) {
            node(out, circle, *index, package, most);
        }
    }
    out.push_str("</g>\n</svg></div>\n");
}

fn description(graph: &Graph) -> String {
    let mut shared: Vec<&Package> = graph.packages.iter().skip(1).collect();
    shared.sort_by_key(|package| usize::MAX - package.needed_by.len());
    let shared: Vec<String> = shared
        .iter()
        .take(5)
        .map(|package| format!("{} by {}", package.name, package.needed_by.len()))
        .collect();
    format!(
        "{}. Needed by the most: {}.",
        count(graph.packages.len(), "package", "packages"),
        shared.join(", ")
    )
}

/// Outside of the circle, along those that go with the first of them.
fn arc(out: &mut String, circle: &Circle, begin: usize, end: usize) {
    let angle = |at: usize| circle.order.get(at).map(|index| circle.angle(*index));
    let (Some(first), Some(last)) = (angle(begin), angle(end)) else {
        return;
    };
    let part = 1.0 - 9.0 / circle.radius;
    let (from, to) = (circle.point(first, part), circle.point(last, part));
    out.push_str("<path class=\"arc\" d=\"M");
    pair(out, from);
    out.push('A');
    pair(out, (circle.radius * part, circle.radius * part));
    push!(out, " 0 {} 1 ", u8::from(last - first > PI));
    pair(out, to);
    out.push_str("\"/>\n");
}

/// Leaves and meets the circle at a right angle, and passes nearer to the middle the further it
/// goes, so that lines of one direction run together.
fn edge(out: &mut String, circle: &Circle, from: usize, to: usize) {
    out.push_str("<path d=\"M");
    let spoke = from == 0 || to == 0;
    if spoke {
        let other = from.max(to);
        let angle = circle.angle(other);
        pair(out, circle.point(angle, 18.0 / circle.radius));
        out.push('L');
        pair(out, circle.point(angle, 1.0));
    } else {
        let (one, other) = (circle.angle(from), circle.angle(to));
        let apart = (one - other).abs().rem_euclid(TAU);
        let apart = apart.min(TAU - apart) / PI;
        let pull = 0.82 - 0.72 * apart.sqrt();
        pair(out, circle.point(one, 1.0));
        out.push('C');
        pair(out, circle.point(one, pull));
        out.push(' ');
        pair(out, circle.point(other, pull));
        out.push(' ');
        pair(out, circle.point(other, 1.0));
    }
    out.push('"');
    if spoke {
        out.push_str(" class=\"spoke\"");
    }
    push!(out, " data-e=\"{from} {to}\"/>\n");
}

fn pair(out: &mut String, (x, y): (f64, f64)) {
    number(out, x);
    out.push(' ');
    number(out, y);
}

fn node(out: &mut String, circle: &Circle, index: usize, package: &Package, most: usize) {
    let class = match index {
        0 => "root".to_owned(),
        _ => {
            let direct = if package.distance == 1 { " direct" } else { "" };
            format!("s{}{direct}", shade(package.needed_by.len(), most))
        }
    };
    push!(
        out,
        "<a href=\"#p{index}\" class=\"{class}\" data-n=\"{index}\" data-q=\""
    );
    escape(out, &package.name);
    out.push_str("\"><title>");
    escape(out, &title(index, package));
    out.push_str("</title>");
    if index == 0 {
        push!(
            out,
            "<circle r=\"16\"/><text text-anchor=\"middle\" y=\"34\">"
        );
        escape(out, &cut(&with_version(package), LABEL_CHARS_MAX));
        out.push_str("</text></a>\n");
        return;
    }
    let angle = circle.angle(index);
    let (x, y) = circle.point(angle, 1.0);
    let radius =
        2.6 + 4.0 * float(package.needed_by.len() as u64).sqrt() / float(most.max(1) as u64).sqrt();
    out.push_str("<circle cx=\"");
    number(out, x);
    out.push_str("\" cy=\"");
    number(out, y);
    out.push_str("\" r=\"");
    number(out, radius);
    // On the left side names are read towards the circle.
    let is_left = angle.cos() < 0.0;
    let (turn, anchor, shift) = match is_left {
        true => (angle.to_degrees() + 180.0, "end", -11.0),
        false => (angle.to_degrees(), "start", 11.0),
    };
    out.push_str("\"/><text dy=\".33em\" text-anchor=\"");
    out.push_str(anchor);
    out.push_str("\" transform=\"translate(");
    pair(out, (x, y));
    out.push_str(")rotate(");
    number(out, turn);
    out.push_str(")translate(");
    number(out, shift);
    out.push_str(")\">");
    let name = cut(&package.name, LABEL_CHARS_MAX);
    escape(out, &name);
    let room = LABEL_CHARS_MAX.saturating_sub(name.chars().count() + 1);
    if let Some(version) = package.version.as_deref().filter(|_| room > 2) {
        out.push_str(" <tspan class=\"v\">");
        escape(out, &cut(version, room));
        out.push_str("</tspan>");
    }
    out.push_str("</text></a>\n");
}

/// How shared a package is, in five steps: the last one from a fifth of the most shared on.
fn shade(needed_by: usize, most: usize) -> usize {
    match needed_by {
        0 | 1 => 0,
        count => (1 + count * 15 / most.max(1)).min(4),
    }
}

fn title(index: usize, package: &Package) -> String {
    let needs = format!(
        "needs {}, with all that these need {}",
        package.needs.len(),
        package.brings
    );
    let what = with_version(package);
    match (index, package.distance) {
        (0, _) => format!("{what}: the root, {needs}"),
        (_, distance) => {
            let place = match distance {
                1 => "direct dependency".to_owned(),
                steps => format!("{steps} steps from the root"),
            };
            format!(
                "{what}: {place}, needed by {}, {needs}",
                package.needed_by.len()
            )
        }
    }
}

fn table(out: &mut String, graph: &Graph) {
    out.push_str("<h2>As a table</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table class=\"packages\">\n<thead><tr><th scope=\"col\">Package</th><th scope=\"col\">Version</th><th scope=\"col\" class=\"n\">Steps</th>\
         <th scope=\"col\" class=\"n\">Needed by</th><th scope=\"col\" class=\"n\">Brings in</th><th scope=\"col\">Needs</th></tr></thead>\n<tbody>\n");
    let mut order: Vec<usize> = (1..graph.packages.len()).collect();
    let name = |index: &usize| {
        let package = graph.packages.get(*index);
        package.map_or("", |package| package.name.as_str())
    };
    order.sort_by(|one, other| compare_names(name(one).as_bytes(), name(other).as_bytes()));
    for index in std::iter::once(0).chain(order) {
        let Some(package) = graph.packages.get(index) else {
            continue;
        };
        push!(out, "<tr id=\"p{index}\"><th scope=\"row\">");
        escape(out, &package.name);
        out.push_str("</th><td class=\"version\">");
        // What is in no switch and yet needed is in a directory of the root's sources.
        let elsewhere = if index == 0 { "" } else { "vendored" };
        escape(out, package.version.as_deref().unwrap_or(elsewhere));
        push!(
            out,
            "</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"names\">",
            package.distance,
            package.needed_by.len(),
            package.brings
        );
        for (at, needed) in package.needs.iter().take(NAMES_MAX).enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            push!(out, "<a href=\"#p{needed}\">");
            escape(out, name(needed));
            out.push_str("</a>");
        }
        if package.needs.len() > NAMES_MAX {
            push!(out, " and {} more", package.needs.len() - NAMES_MAX);
        }
        out.push_str("</td></tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}
