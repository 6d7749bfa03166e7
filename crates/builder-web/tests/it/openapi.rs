//! The description of `/api/v1` by itself: whether it is one by the rules of OpenAPI 3.1, and
//! schemas that take nothing they do not describe.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::api::description;
use crate::server::Server;

/// The schema of an answer with all it refers to, closed: what it does not describe is wrong.
pub(crate) fn closed(description: &Value, schema: &Value) -> jsonschema::Validator {
    let mut components = Map::new();
    for (name, component) in description["components"]["schemas"].as_object().unwrap() {
        components.insert(open_name(name), with_closed_members(component));
        components.insert(name.clone(), closed_schema(component));
    }
    let mut schema = closed_schema(schema);
    schema["components"] = json!({ "schemas": components });
    jsonschema::draft202012::new(&schema).unwrap()
}

/// A part of an object takes members that other parts describe.
fn open_name(name: &str) -> String {
    format!("{name}.part")
}

fn closed_schema(schema: &Value) -> Value {
    let mut schema = with_closed_members(schema);
    let is_map = schema.get("additionalProperties").is_some();
    if (schema.get("properties").is_some() && !is_map) || schema.get("allOf").is_some() {
        schema["unevaluatedProperties"] = json!(false);
    }
    schema
}

/// What is below a schema closed, but not itself.
fn with_closed_members(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let Some(object) = schema.as_object_mut() else {
        return schema;
    };
    for (keyword, below) in object {
        match (keyword.as_str(), below) {
            ("properties", Value::Object(members)) => {
                members
                    .values_mut()
                    .for_each(|member| *member = closed_schema(member));
            }
            ("items" | "additionalProperties" | "contains", below @ Value::Object(_)) => {
                *below = closed_schema(below);
            }
            ("oneOf" | "anyOf" | "prefixItems", Value::Array(all)) => {
                all.iter_mut().for_each(|one| *one = closed_schema(one));
            }
            ("allOf", Value::Array(parts)) => {
                parts.iter_mut().for_each(|part| *part = open_part(part))
            }
            _ => {}
        }
    }
    schema
}

fn open_part(part: &Value) -> Value {
    let mut part = with_closed_members(part);
    if let Some(target) = part["$ref"].as_str().map(open_name) {
        part["$ref"] = json!(target);
    }
    part
}

#[test]
fn a_closed_schema_takes_what_is_described_and_nothing_else() {
    let description = json!({ "components": { "schemas": {
        "Build": { "type": "object", "properties": { "uuid": { "type": "string" } } },
        "Detail": { "allOf": [
            { "$ref": "#/components/schemas/Build" },
            { "type": "object", "properties": { "latest": {
                "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Build" }] } } },
        ] },
    } } });
    let detail = closed(
        &description,
        &json!({ "$ref": "#/components/schemas/Detail" }),
    );
    for good in [
        json!({ "uuid": "a", "latest": null }),
        json!({ "uuid": "a", "latest": { "uuid": "b" } }),
    ] {
        assert!(detail.is_valid(&good), "{good}");
    }
    for wrong in [
        json!({ "uuid": "a", "more": 1 }),
        json!({ "uuid": "a", "latest": { "uuid": "b", "more": 1 } }),
    ] {
        assert!(!detail.is_valid(&wrong), "{wrong}");
    }
}

/// The members an object of OpenAPI 3.1 may have, as far as ours have any: a slip in a name is found.
fn members(kind: &str) -> &'static [&'static str] {
    match kind {
        "document" => &[
            "openapi",
            "info",
            "servers",
            "paths",
            "components",
            "security",
            "tags",
            "externalDocs",
        ],
        "info" => &[
            "title",
            "summary",
            "description",
            "termsOfService",
            "contact",
            "license",
            "version",
        ],
        "license" => &["name", "identifier", "url"],
        "server" => &["url", "description", "variables"],
        "components" => &["schemas", "securitySchemes"],
        "path" => &[
            "summary",
            "description",
            "servers",
            "parameters",
            "get",
            "put",
            "post",
            "delete",
            "options",
            "head",
            "patch",
            "trace",
        ],
        "operation" => &[
            "tags",
            "summary",
            "description",
            "externalDocs",
            "operationId",
            "parameters",
            "requestBody",
            "responses",
            "callbacks",
            "deprecated",
            "security",
            "servers",
        ],
        "parameter" => &[
            "name",
            "in",
            "description",
            "required",
            "deprecated",
            "allowEmptyValue",
            "style",
            "explode",
            "allowReserved",
            "schema",
            "example",
            "examples",
            "content",
        ],
        "response" => &["description", "headers", "content", "links"],
        "header" => &[
            "description",
            "required",
            "deprecated",
            "schema",
            "example",
            "content",
        ],
        "content" => &["schema", "example", "examples", "encoding"],
        "tag" => &["name", "description", "externalDocs"],
        other => panic!("no members are known of {other}"),
    }
}

/// What is wrong in a description.
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, holds: bool, what: String) {
        if !holds {
            self.0.push(what);
        }
    }

    /// The members of an object, all of which are to be known ones.
    fn object<'a>(&mut self, kind: &str, at: &str, value: &'a Value) -> &'a Map<String, Value> {
        let object = value
            .as_object()
            .unwrap_or_else(|| panic!("{at} is no object: {value}"));
        for name in object.keys() {
            let known = members(kind).contains(&name.as_str()) || name.starts_with("x-");
            self.unless(
                known,
                format!("{at} has a member {name}, which a {kind} has not"),
            );
        }
        object
    }

    fn text(&mut self, at: &str, object: &Map<String, Value>, member: &str) {
        let there = object.get(member).and_then(Value::as_str);
        self.unless(
            there.is_some_and(|text| !text.trim().is_empty()),
            format!("{at} has no {member}"),
        );
    }
}

/// What the rules of OpenAPI 3.1 have against a description.
fn against(description: &Value) -> Vec<String> {
    let mut wrong = Wrong(Vec::new());
    let document = wrong.object("document", "the document", description);
    wrong.unless(
        description["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1.")),
        "it is not of version 3.1".to_owned(),
    );
    let info = wrong.object("info", "info", &document["info"]);
    wrong.text("info", info, "title");
    wrong.text("info", info, "version");
    let license = wrong.object("license", "license", &info["license"]);
    wrong.text("license", license, "name");
    wrong.unless(
        !(license.contains_key("identifier") && license.contains_key("url")),
        "the license has an identifier and a URL".to_owned(),
    );
    let servers = description["servers"].as_array();
    wrong.unless(
        servers.is_some_and(|servers| !servers.is_empty()),
        "no server is named".to_owned(),
    );
    for server in servers.into_iter().flatten() {
        let server = wrong.object("server", "server", server);
        wrong.text("server", server, "url");
    }
    let mut tags = BTreeSet::new();
    for tag in description["tags"].as_array().into_iter().flatten() {
        let tag = wrong.object("tag", "tag", tag);
        wrong.text("tag", tag, "name");
        wrong.unless(
            tags.insert(tag["name"].as_str().unwrap_or_default()),
            format!("two tags are called {}", tag["name"]),
        );
    }
    against_components(&mut wrong, &document["components"]);
    let mut ids = BTreeSet::new();
    let mut templates = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        wrong.unless(
            path.starts_with('/'),
            format!("{path} begins without a slash"),
        );
        let names: Vec<&str> = path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap())
            .collect();
        let mut template = path.clone();
        for name in &names {
            template = template.replace(name, "");
        }
        wrong.unless(
            templates.insert(template),
            format!("{path} is another path by other names"),
        );
        for (method, operation) in wrong.object("path", path, item) {
            let at = format!("{method} {path}");
            against_operation(&mut wrong, &at, &names, operation, &document["components"]);
            let id = operation["operationId"].as_str().unwrap_or_default();
            let plain = |char: char| char.is_ascii_lowercase() || char == '_';
            wrong.unless(
                !id.is_empty() && id.chars().all(plain),
                format!("{at} has no operationId that is a name in any language: {id:?}"),
            );
            wrong.unless(
                ids.insert(id.to_owned()),
                format!("two operations are called {id}"),
            );
        }
    }
    against_references(&mut wrong, description, description);
    wrong.0
}

fn against_components(wrong: &mut Wrong, components: &Value) {
    let components = wrong.object("components", "components", components);
    for (kind, named) in components {
        for (name, component) in named.as_object().unwrap() {
            let plain = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
            wrong.unless(
                !name.is_empty() && name.chars().all(plain),
                format!("{name} is no name of a component"),
            );
            if kind == "schemas" {
                let valid = jsonschema::draft202012::meta::is_valid(component);
                wrong.unless(valid, format!("the schema {name} is none"));
            }
        }
    }
    for (name, scheme) in components["securitySchemes"].as_object().unwrap() {
        let is_http = scheme["type"] == "http" && scheme["scheme"].is_string();
        wrong.unless(is_http, format!("{name} is no scheme of HTTP"));
    }
}

fn against_operation(
    wrong: &mut Wrong,
    at: &str,
    names: &[&str],
    operation: &Value,
    components: &Value,
) {
    let operation = wrong.object("operation", at, operation);
    wrong.text(at, operation, "summary");
    let mut parameters = BTreeSet::new();
    for parameter in operation
        .get("parameters")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let parameter = wrong.object("parameter", at, parameter);
        wrong.text(at, parameter, "description");
        let (name, place) = (&parameter["name"], &parameter["in"]);
        let (name, place) = (name.as_str().unwrap(), place.as_str().unwrap());
        let places = ["path", "query", "header", "cookie"];
        wrong.unless(
            places.contains(&place),
            format!("{at}: {name} is in {place}"),
        );
        wrong.unless(
            parameters.insert((place.to_owned(), name.to_owned())),
            format!("{at}: {name} is there twice"),
        );
        wrong.unless(
            place != "path" || (names.contains(&name) && parameter["required"] == true),
            format!("{at}: {name} is not in the path, or may be absent"),
        );
        wrong.unless(
            parameter.contains_key("schema") != parameter.contains_key("content"),
            format!("{at}: {name} has not one of schema and content"),
        );
        if let Some(schema) = parameter.get("schema") {
            let valid = jsonschema::draft202012::meta::is_valid(schema);
            wrong.unless(valid, format!("{at}: the schema of {name} is none"));
        }
    }
    for name in names {
        wrong.unless(
            parameters.contains(&("path".to_owned(), (*name).to_owned())),
            format!("{at}: {name} is not described"),
        );
    }
    for requirement in operation
        .get("security")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        for scheme in requirement.as_object().unwrap().keys() {
            let known = components["securitySchemes"].get(scheme).is_some();
            wrong.unless(known, format!("{at}: {scheme} is no way to log in"));
        }
    }
    let responses = operation["responses"].as_object().unwrap();
    wrong.unless(
        responses.contains_key("200"),
        format!("{at} never answers 200"),
    );
    for (status, response) in responses {
        let at = format!("{at}: {status}");
        let number: u16 = status.parse().unwrap_or_default();
        wrong.unless((100..600).contains(&number), format!("{at} is no status"));
        let response = wrong.object("response", &at, response);
        wrong.text(&at, response, "description");
        let headers = response.get("headers").and_then(Value::as_object);
        for header in headers.into_iter().flat_map(Map::values) {
            wrong.object("header", &at, header);
        }
        let content = response.get("content").and_then(Value::as_object);
        wrong.unless(content.is_some(), format!("{at} has no content"));
        for (media, content) in content.into_iter().flatten() {
            // What is not below /api refuses in HTML those who do not ask for JSON.
            let is_page = media == "text/html" && at.contains(" /audit: 4");
            let is_known = media == "application/json" || is_page;
            wrong.unless(is_known, format!("{at} is {media}"));
            let content = wrong.object("content", &at, content);
            let schema = content.get("schema");
            wrong.unless(
                schema.is_some_and(jsonschema::draft202012::meta::is_valid),
                format!("{at} has no schema"),
            );
        }
    }
}

/// Whatever is referred to is there.
fn against_references(wrong: &mut Wrong, description: &Value, value: &Value) {
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| against_references(wrong, description, item)),
        Value::Object(members) => {
            for (name, member) in members {
                if let (true, Some(target)) = (name == "$ref", member.as_str()) {
                    let there = target
                        .strip_prefix('#')
                        .and_then(|pointer| description.pointer(pointer));
                    wrong.unless(there.is_some(), format!("{target} is not there"));
                }
                against_references(wrong, description, member);
            }
        }
        _ => {}
    }
}

#[test]
fn the_description_keeps_the_rules_of_openapi() {
    let server = Server::new();
    let description = description(&server);
    assert_eq!(against(&description), Vec::<String>::new());
}

#[test]
fn what_breaks_a_rule_is_found() {
    let server = Server::new();
    let good = description(&server);
    let job = |rest: &str| format!("/paths/~1api~1v1~1jobs~1{{job}}/get/{rest}");
    let of_all = |pointer: &str| pointer.to_owned();
    let schema = "responses/200/content/application~1json/schema";
    for (at, value, told) in [
        (of_all("/openapi"), json!("3.0.3"), "version 3.1"),
        (of_all("/servers"), json!([]), "no server"),
        (of_all("/info/titel"), json!("x"), "a member titel"),
        (
            of_all("/components/schemas/Artifact/type"),
            json!("text"),
            "the schema Artifact is none",
        ),
        (
            of_all("/paths/~1audit/get/security"),
            json!([{ "cookie": [] }]),
            "cookie is no way to log in",
        ),
        (
            job("operationId"),
            json!("list_jobs"),
            "two operations are called list_jobs",
        ),
        (job("operationId"), json!(""), "no operationId"),
        (job("parameters"), json!([]), "job is not described"),
        (job("parameters/0/required"), json!(false), "may be absent"),
        (
            job("responses/200/description"),
            json!(""),
            "no description",
        ),
        (
            job(schema),
            json!({ "$ref": "#/components/schemas/Nowhere" }),
            "Nowhere is not there",
        ),
    ] {
        let mut bad = good.clone();
        let (parent, member) = at.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[member] = value;
        let wrong = against(&bad);
        assert!(
            wrong.iter().any(|wrong| wrong.contains(told)),
            "{at}: {wrong:?}"
        );
    }
}
