//! Markdown as HTML that can do no harm: from an upload, or the operator's own.

use std::fmt;
use std::sync::Arc;

use askama::filters::Safe;
use comrak::arena_tree::NodeEdge;
use comrak::nodes::NodeValue;

/// HTML that was made from Markdown and cleaned. Templates print it as it is, and nothing else:
/// it cannot be made in another way.
#[derive(Debug, Clone)]
pub struct Html(Arc<str>);

/// Who wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    /// Who uploads: nothing in the text is ours, and its links are no recommendation.
    Uploader,
    /// The operator: the text may link within the site.
    Operator,
}

impl Author {
    /// What its first heading becomes: the page has its own above it, and before a README, too.
    fn top_heading_level(self) -> u8 {
        match self {
            Author::Uploader => 3,
            Author::Operator => 2,
        }
    }
}

impl Html {
    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// For a template, which prints it as it is.
    pub fn as_it_is(&self) -> Safe<&str> {
        Safe(&self.0)
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Blocks and spans inside of each other, at most: READMEs have ten or so. The time to clean HTML
/// grows with the square of the depth, and someone may send a README that is nothing but depth.
const NESTING_MAX: usize = 100;

/// CommonMark with tables, task lists and the like. HTML in it is left out, and so are pictures:
/// they would be loaded from other hosts. What is nested too deeply is shown as the text it is.
pub fn to_html(markdown: &str) -> Html {
    html(markdown, Author::Uploader)
}

/// The same of what the operator wrote: headings are those of the page, links may lead to other pages
/// of this site, and are links like any other.
pub fn introduction(markdown: &str) -> Html {
    html(markdown, Author::Operator)
}

fn html(markdown: &str, author: Author) -> Html {
    let mut options = comrak::Options::default();
    options.extension.table = true;
    options.extension.strikethrough = true;
    options.extension.tasklist = true;
    options.extension.autolink = true;
    options.extension.footnotes = true;
    let arena = comrak::Arena::new();
    let root = comrak::parse_document(&arena, markdown, &options);
    let mut depth = 0_usize;
    for edge in root.traverse() {
        match edge {
            NodeEdge::Start(node) => {
                depth += 1;
                if let NodeValue::Heading(heading) = &mut node.data.borrow_mut().value {
                    heading.level = (heading.level + author.top_heading_level() - 1).min(6);
                }
            }
            NodeEdge::End(_) => depth -= 1,
        }
        if depth > NESTING_MAX {
            return as_text(markdown);
        }
    }
    let mut html = String::new();
    if comrak::format_html(root, &options, &mut html).is_err() {
        // OK because writing to a string does not fail.
        html.clear();
    }
    // Nothing harmful should be in it; this one does not know how it was made, and makes sure.
    let (relative, rel) = match author {
        Author::Uploader => (
            ammonia::UrlRelative::Deny,
            Some("nofollow noopener noreferrer"),
        ),
        Author::Operator => (ammonia::UrlRelative::PassThrough, None),
    };
    let clean = ammonia::Builder::default()
        .add_tags(["input", "section"])
        .add_tag_attributes("input", ["checked"])
        // Task lists have boxes; nothing is typed into a README.
        .set_tag_attribute_value("input", "type", "checkbox")
        .set_tag_attribute_value("input", "disabled", "")
        // What is read aloud: "Done, checked".
        .set_tag_attribute_value("input", "aria-label", "Done")
        // What is wider than the window is scrolled by itself, from the keyboard, too.
        .set_tag_attribute_value("table", "tabindex", "0")
        .set_tag_attribute_value("pre", "tabindex", "0")
        .add_tag_attributes("th", ["align"])
        .add_tag_attributes("td", ["align"])
        .add_tag_attributes("code", ["class"])
        .url_relative(relative)
        .rm_tags(["img"])
        .link_rel(rel)
        .clean(&html)
        .to_string();
    Html(clean.into())
}

fn as_text(text: &str) -> Html {
    Html(format!("<pre>{}</pre>", ammonia::clean_text(text)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_code_and_task_lists_are_kept_and_headings_go_below_the_pages_own() {
        let html = to_html(
            "# A\n\n| x | y |\n|---|:-:|\n| 1 | 2 |\n\n```sh\nls\n```\n\n- [x] done\n\n##### E",
        )
        .to_string();
        for part in [
            "<h3>A</h3>",
            "<td align=\"center\">2</td>",
            "<code class=\"language-sh\">ls",
            "checked",
            "aria-label=\"Done\"",
            "<h6>E</h6>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }

    #[test]
    fn an_introduction_links_within_the_site_and_has_headings_of_the_page() {
        let text =
            "# Ours\n\n[failed](/failed-builds) [states](#states) [web](https://example.org)";
        let html = introduction(text).to_string();
        for part in [
            "<h2>Ours</h2>",
            "<a href=\"/failed-builds\">failed</a>",
            "<a href=\"#states\">states</a>",
            "<a href=\"https://example.org\">web</a>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        let html = introduction("[x](javascript:alert(1)) <script>alert(1)</script>").to_string();
        assert!(
            !html.contains("javascript:") && !html.contains("<script"),
            "{html}"
        );
        let of_upload = to_html(text).to_string();
        assert!(!of_upload.contains("href=\"/failed"), "{of_upload}");
        assert!(of_upload.contains("nofollow"), "{of_upload}");
    }

    #[test]
    fn nothing_in_a_readme_runs_or_loads() {
        for attack in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](https://elsewhere.example/pixel.png)",
            "[x](javascript:alert(1))",
            "[x](data:text/html;base64,xxxx)",
            "<iframe src='https://elsewhere.example'></iframe>",
            "<a href=\"java\nscript:alert(1)\">x</a>",
            "<svg onload=alert(1)>",
            "<form action='https://elsewhere.example'><input type=text></form>",
            "<style>body{background:url(https://elsewhere.example)}</style>",
            "<p style='background:url(https://elsewhere.example)'>x</p>",
            "<h1 onclick=alert(1)>x</h1>",
        ] {
            let html = to_html(attack).to_string().to_lowercase();
            for bad in [
                "alert",
                "elsewhere.example/pixel",
                "javascript",
                "<script",
                "<iframe",
                "<form",
                "<style",
                "style=",
                "<svg",
                "onclick",
                "data:",
                "type=\"text\"",
                "<img",
            ] {
                assert!(!html.contains(bad), "{bad} in {html}");
            }
        }
    }

    #[test]
    fn a_readme_that_is_nothing_but_depth_is_shown_as_text() {
        for deep in [
            "> ", "- ", "1. ", "*", "_", "**a ", "[", "![", "<div>", "<b>", "`", "~~", "> - ",
        ] {
            let markdown = deep.repeat(1024 * 1024 / deep.len());
            let html = to_html(&markdown).to_string();
            assert!(html.len() < 8 * markdown.len(), "{deep}");
        }
        let html = to_html(&"> ".repeat(1000)).to_string();
        assert!(html.starts_with("<pre>&gt;"), "{}", &html[..20]);
        assert!(
            to_html(&"> ".repeat(20))
                .to_string()
                .contains("<blockquote>")
        );
    }
}
