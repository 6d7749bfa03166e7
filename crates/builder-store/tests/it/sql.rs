//! SQL is written once for two databases: words that only SQLite knows stay in the files of
//! SQLite.

use std::path::Path;

/// The string literals of a source that are statements.
fn statements(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find('"') {
        let raw = rest[..at].ends_with("r#");
        let content = &rest[at + 1..];
        let end = if raw {
            content.find("\"#")
        } else {
            let mut escaped = false;
            content.find(|char| {
                let ends = char == '"' && !escaped;
                escaped = char == '\\' && !escaped;
                ends
            })
        };
        let Some(end) = end else { break };
        let literal = &content[..end];
        if ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "FROM "]
            .iter()
            .any(|word| literal.trim_start().starts_with(word))
        {
            all.push(literal.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        rest = &content[end + 1..];
    }
    all
}

fn all_statements() -> Vec<(String, String)> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    let mut todo = vec![sources.clone()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&sources).unwrap().display().to_string();
            // Of SQLite alone: pragmas, attaching, and migrations.
            if ["store.rs", "db", "migrations"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let code = std::fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            all.extend(
                statements(&code.join("\n"))
                    .into_iter()
                    .map(|statement| (name.clone(), statement)),
            );
        }
    }
    assert!(all.len() > 25, "statements are found: {}", all.len());
    all
}

#[test]
fn no_statement_uses_words_of_sqlite_alone() {
    for (file, statement) in all_statements() {
        let upper = format!(" {} ", statement.to_uppercase());
        for word in [
            "INSERT OR",
            "REPLACE INTO",
            "LAST_INSERT_ROWID",
            "ROWID",
            "IFNULL(",
            "PRAGMA",
            "GLOB ",
            " REGEXP ",
            "STRFTIME(",
            "DATETIME(",
            "HEX(",
            "GROUP_CONCAT",
            "TOTAL(",
            "INDEXED BY",
            "`",
            "[",
            " == ",
            " LIKE ",
            "TYPEOF(",
            "PRINTF(",
            "COLLATE NOCASE",
        ] {
            assert!(!upper.contains(word), "{file}: {word} in {statement}");
        }
    }
}

#[test]
fn parameters_are_numbered_and_none_is_left_out() {
    for (file, statement) in all_statements() {
        assert!(!statement.contains('?'), "{file}: {statement}");
        let mut numbers: Vec<u32> = statement
            .split('$')
            .skip(1)
            .map(|rest| {
                rest.chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
                    .parse()
                    .unwrap()
            })
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert!(
            numbers
                .iter()
                .zip(1..)
                .all(|(number, place)| *number == place),
            "{file}: {statement}"
        );
        // PostgreSQL takes the type of a parameter from its first use.
        assert!(
            !statement.contains("($1 IS NULL OR") && !statement.contains("($2 IS NULL OR"),
            "{file}: {statement}"
        );
    }
}

#[test]
fn user_is_a_word_of_postgresql_and_stands_in_quotes() {
    for (file, statement) in all_statements() {
        for (at, _) in statement.match_indices("user") {
            let before = statement[..at].chars().next_back().unwrap_or(' ');
            let after = statement[at + 4..].chars().next().unwrap_or(' ');
            let part_of_a_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
            if part_of_a_name(before) || part_of_a_name(after) {
                continue;
            }
            assert!(before == '"' || before == '.', "{file}: {statement}");
        }
    }
}
