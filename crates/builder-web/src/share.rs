//! What is shown of a page where somebody shares it (Open Graph), and where it is on the web.

use std::any::Any;

use askama::Values;

use crate::site::Site;

/// What a page says of itself to those who share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its path and query, as links to it have them.
    pub url: String,
    /// What it is about, without the site's name.
    pub title: String,
    /// What there is to know, in a sentence; none: what the site is.
    pub description: Option<String>,
}

/// The picture that is shown beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Where it is: a path of this server.
    pub url: String,
    /// Its content type, one that those who show previews take: no SVG.
    pub content_type: &'static str,
    /// What it shows.
    pub alt: String,
    /// Width and height, where they are known.
    pub size: Option<(u32, u32)>,
}

/// What stands around a page that can be shared: see `layout.html`, which finds it by its name.
#[derive(Debug)]
pub struct Shared {
    /// Scheme and host of this site.
    pub origin: String,
    /// What the page says.
    pub page: Share,
    /// What the site is, where the page says nothing.
    pub site: String,
    /// The picture.
    pub picture: Picture,
}

/// By what name [`Shared`] is found.
const NAME: &str = "shared";

impl Values for Shared {
    fn get_value<'a>(&'a self, key: &str) -> Option<&'a dyn Any> {
        (key == NAME).then_some(self as &dyn Any)
    }
}

impl Shared {
    /// The description of the page, or of the site.
    pub fn description(&self) -> &str {
        self.page.description.as_deref().unwrap_or(&self.site)
    }
}

/// What every site is.
pub fn of_site(site: &Site) -> String {
    format!(
        "{}: programs built from source, each kept with everything that went into it, so that anybody can build one \
         again and compare.",
        site.name
    )
}
