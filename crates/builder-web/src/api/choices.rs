//! Which values parameters take: told from the lists by which the handlers read them.

use utoipa::Modify;
use utoipa::openapi::{OpenApi, RefOr, Schema};

use crate::failure::Class;
use crate::search::Kind;
use crate::{show, times};

/// Adds the values of parameters that take only some, and how those look that are not free.
pub(super) struct Choices;

impl Modify for Choices {
    fn modify(&self, description: &mut OpenApi) {
        for path in description.paths.paths.values_mut() {
            let Some(operation) = &mut path.get else {
                continue;
            };
            for parameter in operation.parameters.iter_mut().flatten() {
                let RefOr::T(parameter) = parameter else {
                    continue;
                };
                let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else {
                    continue;
                };
                if let Some(values) = values(&parameter.name) {
                    schema.enum_values = Some(values.into_iter().map(Into::into).collect());
                }
                if let Some(pattern) = pattern(&parameter.name) {
                    schema.pattern = Some(pattern);
                }
            }
        }
    }
}

/// What a parameter of this name may be; none: anything. An empty one is as good as none.
fn values(parameter: &str) -> Option<Vec<&'static str>> {
    let mut values = vec![""];
    match parameter {
        "state" => values.extend(show::VERDICTS.map(|(name, _)| name)),
        "kind" => values.extend(Kind::ALL.map(Kind::name)),
        "class" => values.extend(Class::ALL.map(Class::name)),
        "result" => values.extend(super::jobs::RESULTS),
        _ => return None,
    }
    Some(values)
}

/// How a parameter of this name looks; none: as it likes.
fn pattern(parameter: &str) -> Option<String> {
    match parameter {
        "cursor" => Some("^[A-Za-z0-9_-]*$".to_owned()),
        "since" | "until" => Some(format!("^({})?$", times::PATTERN)),
        "output" | "input_id" => Some("^([0-9A-Fa-f]{64})?$".to_owned()),
        _ => None,
    }
}
