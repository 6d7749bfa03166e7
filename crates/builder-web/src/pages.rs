//! The pages, one a file: its handler, what it loads and what it shows.

pub mod assets;
pub mod audit;
pub mod badge;
pub mod build;
pub mod build_file;
pub mod build_packages;
pub mod build_viz;
pub mod builds;
pub mod compare;
pub mod compare_file;
pub mod console;
pub mod failed_builds;
pub mod feeds;
pub mod hash;
pub mod health;
pub mod job;
pub mod metrics;
pub mod open_search;
pub mod package;
pub mod robots;
pub mod search;
pub mod status;

use crate::respond::Layout;
use crate::share::Picture;
use crate::site::Site;

/// The site's mark, for browsers: no request is made for it.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' \
     fill='none' stroke='%23277a4b' stroke-width='4'%3E%3Crect x='2' y='2' width='19' height='19' rx='4'/%3E\
     %3Crect x='11' y='11' width='19' height='19' rx='4' fill='%23277a4b66'/%3E%3C/svg%3E";

/// What is around the pages of this site.
pub fn layout(site: &Site) -> Layout {
    // Who shows previews takes no SVG.
    let raster = site.logo.as_ref();
    let raster = raster.filter(|logo| logo.content_type != "image/svg+xml");
    let logo = site.logo.as_ref();
    let logo = logo.map(|logo| assets::logo_url(&logo.bytes));
    Layout {
        style: assets::style_url(),
        script: assets::script_url(),
        script_digest: assets::script_digest(),
        icon: logo.clone().unwrap_or_else(|| ICON.to_owned()),
        picture: match raster {
            Some(logo) => Picture {
                url: assets::logo_url(&logo.bytes),
                content_type: logo.content_type,
                alt: format!("The logo of {}", site.name),
                size: None,
            },
            None => assets::picture(),
        },
        logo,
        // A logo is large, and pages need only its URL.
        site: Site {
            logo: None,
            ..site.clone()
        },
        version: crate::VERSION,
    }
}
