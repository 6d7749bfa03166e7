//! opam switch exports, laid out as `opam switch export --full --freeze` does it.
//!
//! Knows the format and nothing of the packages. Lists break into lines by a simple rule that agrees with opam's own
//! printer on what is written here: one element a line if any has a condition, is a list, or they do not fit one line.
//!
//! ```
//! use demo_builds::switch::{Export, Package, Value};
//!
//! let mut package = Package::new("hello", "1.0");
//! package.field("depends", Value::List(vec![Value::when("ocaml", ">= \"4.14.0\"")]));
//! let export = Export { root: "hello".to_owned(), packages: vec![package] };
//! assert_eq!(
//!     export.text(),
//!     r#"opam-version: "2.0"
//! roots: ["hello.1.0"]
//! installed: ["hello.1.0"]
//! package "hello" {
//!   opam-version: "2.0"
//!   version: "1.0"
//!   depends: [
//!     "ocaml" {>= "4.14.0"}
//!   ]
//! }
//! "#
//! );
//! ```

/// The longest line opam writes if it can break it; one more where nothing closes behind it.
const LINE_BYTES: usize = 77;

/// A frozen switch: every installed package with its whole opam file.
#[derive(Clone, Debug)]
pub struct Export {
    /// The name of the package the switch was made for.
    pub root: String,
    /// The installed packages, in any order, the root among them.
    pub packages: Vec<Package>,
}

/// An installed package and its opam file.
#[derive(Clone, Debug)]
pub struct Package {
    name: String,
    version: String,
    fields: Vec<(String, Value)>,
    url: Vec<(String, Value)>,
    extensions: Vec<(String, Value)>,
}

/// The value of a field.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string, quoted and escaped when written; one with line breaks goes between triple quotes.
    Text(String),
    /// A word that is not quoted, such as `make` or `name`.
    Ident(String),
    /// A value with a condition in braces, which is written as it is given.
    When(Box<Value>, String),
    /// Several values.
    List(Vec<Value>),
}

impl Value {
    /// A string.
    pub fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    /// A string with a condition.
    pub fn when(text: &str, condition: &str) -> Value {
        Value::When(Box::new(Value::text(text)), condition.to_owned())
    }

    /// The way opam writes most lists: one value stands alone, without brackets.
    pub fn one_or_more(values: Vec<Value>) -> Value {
        match <[Value; 1]>::try_from(values) {
            Ok([value]) => value,
            Err(values) => Value::List(values),
        }
    }

    /// Strings.
    pub fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Value {
        Value::List(
            texts
                .into_iter()
                .map(|text| Value::text(text.as_ref()))
                .collect(),
        )
    }
}

impl Package {
    /// A package with an empty opam file.
    pub fn new(name: &str, version: &str) -> Package {
        let (name, version) = (name.to_owned(), version.to_owned());
        Package {
            name,
            version,
            fields: Vec::new(),
            url: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// Adds a field behind the others. Those whose name starts `x-` come last, in the order of their names.
    pub fn field(&mut self, name: &str, value: Value) {
        if name.starts_with("x-") {
            self.extensions.push((name.to_owned(), value));
            self.extensions.sort_by(|left, right| left.0.cmp(&right.0));
        } else {
            self.fields.push((name.to_owned(), value));
        }
    }

    /// Where the sources are, with checksums such as `sha256=…`; none for a commit of a repository.
    pub fn source(&mut self, url: &str, checksums: Vec<String>) {
        self.url = vec![("src".to_owned(), Value::text(url))];
        if !checksums.is_empty() {
            self.url
                .push(("checksum".to_owned(), Value::texts(checksums)));
        }
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.name, self.version)
    }
}

impl Export {
    /// The export as opam writes it.
    pub fn text(&self) -> String {
        let mut packages: Vec<&Package> = self.packages.iter().collect();
        packages.sort_by(|left, right| left.name.cmp(&right.name));
        let installed = Value::texts(packages.iter().map(|package| package.full_name()));
        let roots = packages.iter().filter(|package| package.name == self.root);
        let mut out = String::new();
        field(&mut out, 0, "opam-version", &Value::text("2.0"));
        field(
            &mut out,
            0,
            "roots",
            &Value::texts(roots.map(|package| package.full_name())),
        );
        field(&mut out, 0, "installed", &installed);
        for package in packages {
            out.push_str(&format!("package {} {{\n", quoted(&package.name)));
            field(&mut out, 2, "opam-version", &Value::text("2.0"));
            field(&mut out, 2, "version", &Value::text(&package.version));
            for (name, value) in &package.fields {
                field(&mut out, 2, name, value);
            }
            if !package.url.is_empty() {
                out.push_str("  url {\n");
                for (name, value) in &package.url {
                    field(&mut out, 4, name, value);
                }
                out.push_str("  }\n");
            }
            for (name, value) in &package.extensions {
                field(&mut out, 2, name, value);
            }
            out.push_str("}\n");
        }
        out
    }
}

/// A file of these fields, such as orb's build hashes. Ends with a line break.
pub fn file(fields: &[(&str, Value)]) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        field(&mut out, 0, name, value);
    }
    out
}

fn field(out: &mut String, indent: usize, name: &str, value: &Value) {
    let margin = " ".repeat(indent);
    let line = format!("{margin}{name}: {}", flat(value));
    match value {
        Value::List(values) if values.iter().any(is_compound) || line.len() > LINE_BYTES => {
            out.push_str(&format!("{margin}{name}: "));
            block(out, indent, values);
            out.push('\n');
        }
        Value::Text(text) if text.contains('\n') => {
            out.push_str(&format!("{margin}{name}: {}\n", triple_quoted(text)));
        }
        Value::Text(_) if line.len() > LINE_BYTES => {
            out.push_str(&format!("{margin}{name}:\n{margin}  {}\n", flat(value)));
        }
        _ => out.push_str(&(line + "\n")),
    }
}

/// A list over several lines, the cursor standing where it opens.
fn block(out: &mut String, indent: usize, values: &[Value]) {
    let margin = " ".repeat(indent + 2);
    out.push_str("[\n");
    let together = values.iter().map(flat).collect::<Vec<_>>().join(" ");
    if !values.iter().any(is_compound) && margin.len() + together.len() <= LINE_BYTES + 1 {
        out.push_str(&format!("{margin}{together}\n"));
    } else {
        for value in values {
            out.push_str(&margin);
            let text = flat(value);
            match value {
                Value::List(values) if margin.len() + text.len() > LINE_BYTES => {
                    block(out, indent + 2, values)
                }
                _ => out.push_str(&text),
            }
            out.push('\n');
        }
    }
    out.push_str(&" ".repeat(indent));
    out.push(']');
}

fn is_compound(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::When(..))
}

fn flat(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Ident(word) => word.clone(),
        Value::When(value, condition) => format!("{} {{{condition}}}", flat(value)),
        Value::List(values) => format!(
            "[{}]",
            values.iter().map(flat).collect::<Vec<_>>().join(" ")
        ),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn triple_quoted(text: &str) -> String {
    let mut text = text.replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"");
    if text.ends_with('"') {
        text.insert(text.len() - 1, '\\');
    }
    format!("\"\"\"\\\n{text}\"\"\"")
}
