//! Any text as what is typed into the search box: nothing panics, and a constraint means the same
//! when it is shown and typed again. A second line is a version, a third a pattern.

use builder_web::search;
use builder_web::search::query::{Constraint, Query, glob};

/// One input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.split('\n');
    let (typed, version, pattern) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let query = Query::parse(typed);
    assert!(!query.names_a_build() || !query.means_nothing());
    assert_eq!(Query::parse(typed.trim()), query);
    let constraints = [query.package, Constraint::parse(typed)];
    for constraint in constraints.into_iter().flatten() {
        let holds = constraint.holds(version);
        assert_eq!(constraint.clone().holds(version), holds);
        let shown = constraint.conditions_text();
        if let Some(again) = Constraint::of(&constraint.name, &shown) {
            assert_eq!(again.holds(version), holds, "{shown}");
        }
    }
    let orders = [
        search::newest_first(typed, version),
        search::newest_first(version, typed),
    ];
    assert_eq!(orders[0], orders[1].reverse());
    assert!(glob("*", typed) && glob(&typed.replace(['*', '?'], "?"), typed));
    assert!(!glob(pattern, typed) || glob(&format!("{pattern}*"), typed));
}
