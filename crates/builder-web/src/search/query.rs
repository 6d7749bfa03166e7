//! What is typed into the search box, and what it may mean. Pure.

use std::cmp::Ordering;

use builder_store::Sha256;
use builder_store::search::DigestRange;
use opam_file::{Package, version};

/// Bytes of a query: a path of an artifact and more fit.
pub const QUERY_BYTES_MAX: usize = 500;
/// Hexadecimal digits from which a text may be the beginning of a digest or uuid.
const DIGITS_MIN: usize = 4;
/// Conditions on the version of one package.
const CONDITIONS_MAX: usize = 8;

/// What a query may mean; several at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// As it was typed, without blanks around it.
    pub text: String,
    /// The beginning of a uuid, in lower case, or all of it.
    pub uuid: Option<String>,
    /// The beginning of a digest, or all of it.
    pub digest: Option<DigestRange>,
    /// A package of some versions.
    pub package: Option<Constraint>,
    /// Part of a name, in lower case: of a job, a package or a file.
    pub name: Option<String>,
}

/// A package of some versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Its name.
    pub name: String,
    /// All of which hold for the version; none: any version.
    pub conditions: Vec<Condition>,
}

/// A condition on a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    relation: Relation,
    version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// The longer ones first.
const RELATIONS: [(&str, Relation); 9] = [
    ("<=", Relation::LessOrEqual),
    (">=", Relation::GreaterOrEqual),
    ("!=", Relation::NotEqual),
    ("=", Relation::Equal),
    ("≤", Relation::LessOrEqual),
    ("≥", Relation::GreaterOrEqual),
    ("≠", Relation::NotEqual),
    ("<", Relation::Less),
    (">", Relation::Greater),
];

impl Relation {
    fn sign(self) -> &'static str {
        let known = RELATIONS.iter().find(|(_, relation)| *relation == self);
        known.map_or("=", |(sign, _)| sign)
    }
}

impl Query {
    /// What a text may mean. An empty one means nothing.
    pub fn parse(text: &str) -> Query {
        let text = text.trim();
        let mut query = Query {
            text: text.to_owned(),
            ..Query::default()
        };
        if text.is_empty() || text.len() > QUERY_BYTES_MAX {
            return query;
        }
        if let Some(digits) = strip_digest_prefix(text) {
            query.digest = DigestRange::of(digits);
            return query;
        }
        if text.contains(['<', '>', '=', '≤', '≥', '≠']) {
            query.package = Constraint::parse(text);
            return query;
        }
        query.uuid = uuid_beginning(text);
        if text.len() >= DIGITS_MIN {
            query.digest = DigestRange::of(text);
        }
        // A whole digest or uuid is no name.
        if query.digest.is_some_and(|digest| digest.only().is_some())
            || query.uuid.as_ref().is_some_and(|uuid| uuid.len() == 36)
        {
            return query;
        }
        query.package = with_version(text);
        query.name = Some(text.to_lowercase());
        query
    }

    /// The digest that is meant, if it is a whole one.
    pub fn whole_digest(&self) -> Option<Sha256> {
        self.digest.and_then(|digest| digest.only())
    }

    /// The uuid that is meant, if it is a whole one.
    pub fn whole_uuid(&self) -> Option<uuid::Uuid> {
        crate::names::uuid(self.uuid.as_deref()?)
    }

    /// Whether it is a whole uuid or digest.
    pub fn names_a_build(&self) -> bool {
        self.whole_uuid().is_some() || self.whole_digest().is_some()
    }

    /// Whether there is nothing it could mean.
    pub fn means_nothing(&self) -> bool {
        self.uuid.is_none()
            && self.digest.is_none()
            && self.package.is_none()
            && self.name.is_none()
    }
}

/// As our pages print a digest, or `sha256sum` a line of its list.
fn strip_digest_prefix(text: &str) -> Option<&str> {
    let (prefix, rest) = text.split_at_checked(7)?;
    (prefix.eq_ignore_ascii_case("sha256:") || prefix.eq_ignore_ascii_case("sha256="))
        .then(|| rest.trim())
}

/// The beginning of a uuid's canonical form.
fn uuid_beginning(text: &str) -> Option<String> {
    let fits = (DIGITS_MIN..=36).contains(&text.len())
        && text.char_indices().all(|(at, char)| match at {
            8 | 13 | 18 | 23 => char == '-',
            _ => char.is_ascii_hexdigit(),
        });
    fits.then(|| text.to_ascii_lowercase())
}

/// `NAME.VERSION` or `NAME VERSION`.
fn with_version(text: &str) -> Option<Constraint> {
    let package = match text.split_once(char::is_whitespace) {
        Some((name, version)) => {
            let version = version.trim_start();
            let starts = version.strip_prefix('v').unwrap_or(version);
            starts
                .starts_with(|char: char| char.is_ascii_digit())
                .then_some(())?;
            Package::parse(format!("{name}.{version}").as_bytes())?
        }
        None => Package::parse(text.as_bytes())?,
    };
    Some(Constraint {
        name: package.name,
        conditions: vec![Condition {
            relation: Relation::Equal,
            version: package.version,
        }],
    })
}

impl Constraint {
    /// Reads `NAME CONDITIONS`, as in `tls >= 1.0 & < 2.0.1`.
    pub fn parse(text: &str) -> Option<Constraint> {
        let at = text.find(['<', '>', '=', '!', '≤', '≥', '≠'])?;
        let (name, conditions) = text.split_at_checked(at)?;
        let name = name.trim();
        // Reads as a name of opam's, with some version.
        let package = Package::parse(format!("{name}.0").as_bytes())?;
        Some(Constraint {
            name: package.name,
            conditions: conditions_of(conditions)?,
        })
    }

    /// A package with conditions on its version, as in `< 2.0.1`; a version alone is that version.
    pub fn of(name: &str, conditions: &str) -> Option<Constraint> {
        let conditions = conditions.trim();
        let conditions = match conditions {
            "" => Vec::new(),
            text if text.starts_with(['<', '>', '=', '!', '≤', '≥', '≠']) => {
                conditions_of(text)?
            }
            version => vec![Condition {
                relation: Relation::Equal,
                version: version.to_owned(),
            }],
        };
        Some(Constraint {
            name: name.to_owned(),
            conditions,
        })
    }

    /// Whether a version is one of those that are meant.
    pub fn holds(&self, version: &str) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds(version))
    }

    /// The conditions as they may be typed.
    pub fn conditions_text(&self) -> String {
        let conditions: Vec<String> = self
            .conditions
            .iter()
            .map(|condition| format!("{} {}", condition.relation.sign(), condition.version))
            .collect();
        conditions.join(" & ")
    }

    /// Whether one version alone is meant.
    pub fn is_one_version(&self) -> bool {
        matches!(self.conditions.as_slice(), [only] if only.relation == Relation::Equal)
    }
}

fn conditions_of(text: &str) -> Option<Vec<Condition>> {
    let conditions: Option<Vec<Condition>> = text
        .split(['&', ','])
        .take(CONDITIONS_MAX + 1)
        .map(|condition| {
            let condition = condition.trim();
            let (sign, relation) = RELATIONS
                .iter()
                .find(|(sign, _)| condition.starts_with(sign))?;
            let version = condition
                .strip_prefix(sign)?
                .trim_start_matches('=')
                .trim()
                .trim_matches('"');
            // Reads as a version of opam's.
            let package = Package::parse(format!("x.{version}").as_bytes())?;
            Some(Condition {
                relation: *relation,
                version: package.version,
            })
        })
        .collect();
    conditions.filter(|conditions| conditions.len() <= CONDITIONS_MAX)
}

impl Condition {
    fn holds(&self, version: &str) -> bool {
        let order = version::compare(version.as_bytes(), self.version.as_bytes());
        match self.relation {
            Relation::Less => order == Ordering::Less,
            Relation::LessOrEqual => order != Ordering::Greater,
            Relation::Equal => order == Ordering::Equal,
            Relation::NotEqual => order != Ordering::Equal,
            Relation::GreaterOrEqual => order != Ordering::Less,
            Relation::Greater => order == Ordering::Greater,
        }
    }
}

/// Whether a name is a pattern for [`glob`].
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// The longest text that each path with a name or pattern in it has from the beginning of a word on, which
/// is all that the index finds paths by; none: there is no such text.
pub fn beginning_of_a_word(name: &str) -> Option<&str> {
    let literals = name.split(['*', '?']).enumerate();
    let beginnings = literals.map(|(number, literal)| {
        let literal = match number {
            0 => literal,
            // What a wildcard stands for may end in the midst of a word.
            _ => literal.trim_start_matches(char::is_alphanumeric),
        };
        literal.trim_start_matches(|char: char| !char.is_alphanumeric())
    });
    beginnings
        .filter(|beginning| !beginning.is_empty())
        .max_by_key(|beginning| beginning.len())
}

/// Whether a text matches a pattern, in which `*` stands for any text and `?` for any character.
pub fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut star) = ((0, 0), None);
    while at.1 < text.len() {
        match pattern.get(at.0) {
            Some('*') => {
                star = Some(at);
                at.0 += 1;
            }
            Some(char) if *char == '?' || *char == text[at.1] => at = (at.0 + 1, at.1 + 1),
            _ => match &mut star {
                // The last star takes one more.
                Some(star) => {
                    star.1 += 1;
                    at = (star.0 + 1, star.1);
                }
                None => return false,
            },
        }
    }
    pattern[at.0..].iter().all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_means_what_it_looks_like() {
        let said = |text: &str| {
            let query = Query::parse(text);
            let mut said = Vec::new();
            if query.uuid.is_some() {
                said.push("uuid");
            }
            if query.digest.is_some() {
                said.push("digest");
            }
            if query.package.is_some() {
                said.push("package");
            }
            if query.name.is_some() {
                said.push("name");
            }
            said.join(" ")
        };
        let (digest, uuid) = ("ab".repeat(32), "f63a5b8a-9ab3-40a3-8cfc-fcbc1dc68df9");
        for (text, meaning) in [
            ("", ""),
            ("  ", ""),
            ("tls", "name"),
            ("cafe", "uuid digest name"),
            ("f63a5b8a-9a", "uuid name"),
            (uuid, "uuid"),
            (&uuid.to_uppercase(), "uuid"),
            (&digest, "digest"),
            (&format!(" SHA256:{digest} "), "digest"),
            ("sha256:ab", "digest"),
            ("sha256:xyz", ""),
            ("tls.2.0.1", "package name"),
            ("tls 2.0.1", "package name"),
            ("tls < 2.0.1", "package"),
            ("tls<2.0.1", "package"),
            ("tls >= 1.0 & < 2.0.1", "package"),
            ("tls <", ""),
            ("< 1", ""),
            ("hello world", "name"),
            (&"x".repeat(501), ""),
        ] {
            assert_eq!(said(text), meaning, "{text}");
        }
    }

    #[test]
    fn conditions_hold_in_opams_order_of_versions() {
        let check = |text: &str, version: &str| Constraint::parse(text).unwrap().holds(version);
        assert!(check("tls < 2.0.1", "2.0.0"));
        assert!(check("tls < 2.0.1", "2.0.1~beta1"));
        assert!(check("tls < 2.0.10", "2.0.9"));
        assert!(!check("tls < 2.0.1", "2.0.1"));
        assert!(check("tls = 1.0", "1.00"));
        assert!(check("tls != 1.0", "1.1"));
        assert!(check("tls ≥ 1.0, ≤ 1.2", "1.2"));
        assert!(!check("tls >= 1.0 & < 1.2", "1.2"));
        assert!(check("tls > \"1.0\"", "1.0.1"));
        assert!(Constraint::of("tls", "").unwrap().holds("anything"));
        assert!(Constraint::of("tls", "2.0").unwrap().is_one_version());
        assert_eq!(Constraint::of("tls", "< ä"), None);
        assert_eq!(
            Constraint::parse(&format!("tls {}", "< 1 &".repeat(9))),
            None
        );
    }

    #[test]
    fn what_a_path_is_looked_up_by_begins_a_word_of_it() {
        for (name, beginning) in [
            ("unipi", Some("unipi")),
            ("bin/uni", Some("bin/uni")),
            ("_x", Some("x")),
            (".hvt", Some("hvt")),
            ("*.hvt", Some("hvt")),
            ("*nipi.hvt", Some("hvt")),
            ("?nipi.hvt.debug", Some("hvt.debug")),
            ("lib?png", Some("lib")),
            ("*lib?png/x*", Some("x")),
            ("a*-longer", Some("longer")),
            ("*nipi", None),
            ("*nipi.", None),
            ("*", None),
            ("..", None),
        ] {
            assert_eq!(beginning_of_a_word(name), beginning, "{name}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_text() {
        for (pattern, text, matches) in [
            ("*.hvt", "bin/a.hvt", true),
            ("*.hvt", "bin/a.hvt.debug", false),
            ("bin/*", "bin/a", true),
            ("b?n/*a*b", "bin/xaxab", true),
            ("*", "", true),
            ("?", "", false),
            ("a*a", "a", false),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
        let begin = std::time::Instant::now();
        assert!(!glob(&"*a".repeat(200), &"a".repeat(150)));
        assert!(!glob(&format!("{}b", "*a".repeat(100)), &"a".repeat(4_000)));
        assert!(begin.elapsed().as_secs() < 20);
    }
}
