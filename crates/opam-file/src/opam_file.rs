//! One package's opam file: its fields, read by the names and types that opam knows.

use std::sync::Arc;

use crate::value::{Document, ItemKind, Items, Kind, Value};

/// The opam file of one package: a file of its own, or a section of a switch export.
#[derive(Clone)]
pub struct OpamFile {
    document: Arc<Document>,
    place: Place,
    name: Option<String>,
}

/// Where the fields are.
#[derive(Clone, Copy)]
enum Place {
    WholeDocument,
    Section(u32),
}

impl OpamFile {
    /// Reads the opam file of one package.
    pub fn parse(source: &[u8]) -> Result<OpamFile, crate::Error> {
        let document = Arc::new(Document::parse(source)?);
        Ok(OpamFile {
            document,
            place: Place::WholeDocument,
            name: None,
        })
    }

    pub(crate) fn of_section(document: Arc<Document>, section: u32, name: String) -> OpamFile {
        OpamFile {
            document,
            place: Place::Section(section),
            name: Some(name),
        }
    }

    /// The package's name, if the place of the file gives it: in a switch export, the title of the section.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The fields and sections as they are written.
    pub fn items(&self) -> Items<'_> {
        let section = match self.place {
            Place::WholeDocument => return self.document.items(),
            Place::Section(id) => self.document.item(id),
        };
        match section.kind() {
            ItemKind::Section { items, .. } => items,
            ItemKind::Field(..) => self.document.items(),
        }
    }

    /// The value of the first field of that name, as it is written.
    pub fn field(&self, name: &str) -> Option<Value<'_>> {
        self.items().field(name)
    }

    /// Whether there is a field of that name, whatever its value.
    pub fn has_field(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// The one-line summary. Empty when there is a description only; `None` when there is neither.
    pub fn synopsis(&self) -> Option<String> {
        Some(self.summary()?.0)
    }

    /// The description without the synopsis, if it is not empty.
    pub fn description_body(&self) -> Option<String> {
        Some(self.summary()?.1).filter(|body| !body.is_empty())
    }

    /// Whether `depends` mentions a package anywhere, whatever the conditions.
    pub fn depends_on(&self, package: &str) -> bool {
        self.field("depends")
            .is_some_and(|depends| mentions(depends, package.as_bytes()))
    }

    fn summary(&self) -> Option<(String, String)> {
        let text = |name| {
            self.field(name)
                .and_then(Value::as_string)
                .map(trim)
                .map(lossy)
        };
        match (text("synopsis"), text("description")) {
            (None, None) => None,
            (synopsis, description) => Some((
                synopsis.unwrap_or_default(),
                description.unwrap_or_default(),
            )),
        }
    }
}

fn mentions(formula: Value<'_>, package: &[u8]) -> bool {
    match formula.kind() {
        Kind::String(name) => name == package,
        Kind::Option(value, _) | Kind::Prefix(_, value) => mentions(value, package),
        Kind::List(mut values) | Kind::Group(mut values) | Kind::Logical(_, mut values) => {
            values.any(|value| mentions(value, package))
        }
        _ => false,
    }
}

/// Without blanks and line ends on both sides.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = text.iter().take_while(|byte| blank(byte)).count();
    let rest = text.get(start..).unwrap_or_default();
    let trailing = rest.iter().rev().take_while(|byte| blank(byte)).count();
    rest.get(..rest.len() - trailing).unwrap_or_default()
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
