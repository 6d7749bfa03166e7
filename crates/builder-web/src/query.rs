//! Query strings, read leniently: what is malformed is as good as absent. Which parameters a page
//! looks at is noted for the cache of pages: others make no difference to it.

use std::sync::{Arc, Mutex, PoisonError};

use percent_encoding::percent_decode_str;

/// Hands on what [`noting`] told of a part of a page that another task made.
pub fn note(names: Vec<String>) {
    let _nobody_notes = ASKED.try_with(|asked| {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.extend(names);
    });
}

/// The parameters of a query string.
#[derive(Debug, Default)]
pub struct Query {
    parameters: Vec<(String, String)>,
    asked: Option<Asked>,
}

/// The names of the parameters that were asked for.
type Asked = Arc<Mutex<Vec<String>>>;

tokio::task_local! {
    static ASKED: Asked;
}

/// Runs `page`, and tells which parameters it asked for in the query strings that it read.
pub async fn noting<T>(page: impl Future<Output = T>) -> (T, Vec<String>) {
    let asked = Asked::default();
    let answer = ASKED.scope(asked.clone(), page).await;
    let names = std::mem::take(&mut *asked.lock().unwrap_or_else(PoisonError::into_inner));
    (answer, names)
}

/// Parameters that are looked at, more than any page has.
const PARAMETERS_MAX: usize = 32;

impl Query {
    /// Reads a query string; `+` stands for a blank, as forms send it.
    pub fn parse(query: Option<&str>) -> Query {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let parameters = query
            .unwrap_or_default()
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .take(PARAMETERS_MAX)
            .map(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                (decode(name), decode(value))
            });
        Query {
            parameters: parameters.collect(),
            asked: ASKED.try_with(Arc::clone).ok(),
        }
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        if let Some(asked) = &self.asked {
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            if !asked.iter().any(|known| known == name) {
                asked.push(name.to_owned());
            }
        }
        self.parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The platform that was asked for; an empty one, as a form sends it, is none.
    pub fn platform(&self) -> Option<String> {
        self.get("platform")
            .filter(|platform| !platform.is_empty())
            .map(ToOwned::to_owned)
    }

    /// A text; an empty one, as a form sends it, is none.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    }

    /// Where a list goes on; an empty one is none: the list begins.
    pub fn cursor(&self) -> Option<&str> {
        self.get("cursor").filter(|cursor| !cursor.is_empty())
    }

    /// A number; anything else is as good as absent.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_may_hold_commas_and_equals_signs() {
        let query = Query::parse(Some("platform=a,b%20c+d=e&x&&count=20&bad=%ff%zz"));
        assert_eq!(query.platform().as_deref(), Some("a,b c d=e"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.number("count"), Some(20));
        assert_eq!(query.number("x"), None);
        assert_eq!(query.get("none"), None);
        assert_eq!(query.get("bad"), Some("\u{fffd}%zz"));
    }
}
