//! Query strings, read leniently: what is malformed is as good as absent.

use percent_encoding::percent_decode_str;

/// The parameters of a query string.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

/// Parameters that are looked at; no page has more than three.
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
        Query(parameters.collect())
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
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
