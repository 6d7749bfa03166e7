//! One package's opam file: its fields, read by the names and types that opam knows.

use std::sync::Arc;

use crate::package::compare_names;
use crate::typed::{Problem, Typed};
use crate::value::{Document, ItemKind, Items, Value};

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

    /// The value of an `x-` field, as it is written; the last one counts if there are several.
    pub fn extension(&self, name: &str) -> Option<Value<'_>> {
        let named = self.items().filter_map(|item| match item.kind() {
            ItemKind::Field(field, value) if field == name.as_bytes() => Some(value),
            _ => None,
        });
        named.last()
    }

    /// The bytes it was read from; in a switch export the whole section with its title.
    pub fn source(&self) -> &[u8] {
        match self.place {
            Place::WholeDocument => self.document.source(),
            Place::Section(id) => self.document.item(id).source(),
        }
    }

    /// Whether there is a field of that name, whatever its value.
    pub fn has_field(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// The one-line summary. Empty when there is a description only; `None` when there is neither.
    pub fn synopsis(&self) -> Option<String> {
        self.typed()
            .synopsis_and_description
            .map(|(synopsis, _)| lossy(synopsis))
    }

    /// The description without the synopsis, if it is not empty.
    pub fn description_body(&self) -> Option<String> {
        let description = self
            .typed()
            .synopsis_and_description
            .map(|(_, description)| lossy(description));
        description.filter(|text| !text.is_empty())
    }

    /// Whether `depends` mentions a package anywhere, whatever the conditions.
    pub fn depends_on(&self, package: &str) -> bool {
        self.typed().depends_on(package)
    }

    /// Every package that `depends` and `depopts` mention, whatever the conditions; each once, in opam's order.
    pub fn mentioned_packages(&self) -> Vec<String> {
        let typed = self.typed();
        let mut names = typed.mentioned_packages();
        names.sort_unstable_by(|a, b| compare_names(a, b));
        names.dedup();
        names.into_iter().map(lossy).collect()
    }

    /// What opam ignores in this file: unknown, repeated and malformed fields.
    pub fn problems(&self) -> Vec<Problem> {
        self.typed().problems
    }

    /// The file as opam prints it: fields in its order, values normalised, ending with a line feed.
    ///
    /// ```
    /// let file = opam_file::OpamFile::parse(b"build: [[make]] opam-version: \"2.0\"").unwrap();
    /// assert_eq!(file.print(), b"opam-version: \"2.0\"\nbuild: make\n");
    /// ```
    pub fn print(&self) -> Vec<u8> {
        self.typed().to_document().print()
    }

    /// Whether both files say the same about how the package is built (`OpamFile.OPAM.effectively_equal` of opam 2.5).
    /// What is only shown to people does not count, and of a source with checksums only the first checksum does.
    pub fn effectively_equal(&self, other: &OpamFile) -> bool {
        self.typed().effectively_equal(&other.typed())
    }

    pub(crate) fn typed(&self) -> Typed<'_> {
        Typed::read(self.items(), self.name())
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
