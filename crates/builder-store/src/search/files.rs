//! Where files are: paths of artifacts, found by the beginning of any of their words.

use builder_exec::Timestamp;

use super::follow::added;
use crate::builds::{Build, select_build};
use crate::db::{days, picoseconds};
use crate::{Result, Tx};

/// Beginnings of words by which a path is found: the first, and the last ones, where the file's
/// name is.
const WORDS_MAX: usize = 12;
/// Bytes of a path from the beginning of a word on; what a query says beyond is compared with the
/// path itself.
const WORD_BYTES_MAX: usize = 40;
/// Rows of the index that one call looks at; a query that few of them answer gets a short page.
const SCANNED_MAX: usize = 4_000;
const SCANNED_AT_ONCE: i64 = 200;

/// The newest build of a job that has a file at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newest {
    pub(super) start: Timestamp,
    pub(super) build: i64,
}

/// A file of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is inside the build.
    pub path: String,
    /// The newest build of its job that has it.
    pub build: Build,
}

/// Where a page of files ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlace {
    /// What the last one was found by.
    pub word: String,
    /// The row of its path.
    pub file: i64,
    /// The row of its job.
    pub job: i64,
}

/// A page of files.
#[derive(Debug)]
pub struct FilesPage {
    /// What was found.
    pub files: Vec<Found>,
    /// Where to go on; none when that was all.
    pub next: Option<FilePlace>,
}

/// Notes that a build of a job has a file at this path.
pub(super) fn add(tx: &mut Tx<'_>, path: &str, job: i64, newest: Newest) -> Result<()> {
    let known = tx.query_opt(
        "SELECT id FROM own.file WHERE path = $1",
        &[path.into()],
        |row| row.int(0),
    )?;
    let file = match known {
        Some(file) => file,
        None => {
            let file = added(
                tx,
                "INSERT INTO own.file (path) VALUES ($1) RETURNING id",
                &[path.into()],
            )?;
            for word in words(path) {
                tx.execute(
                    "INSERT INTO own.file_word (word, file) VALUES ($1, $2)
                     ON CONFLICT (word, file) DO NOTHING",
                    &[word.as_str().into(), file.into()],
                )?;
            }
            file
        }
    };
    tx.execute(
        "INSERT INTO own.file_job (file, job, build, start_d, start_ps)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (file, job) DO UPDATE
         SET build = excluded.build, start_d = excluded.start_d, start_ps = excluded.start_ps
         WHERE (file_job.start_d, file_job.start_ps, file_job.build)
           < (excluded.start_d, excluded.start_ps, excluded.build)",
        &[
            file.into(),
            job.into(),
            newest.build.into(),
            days(&newest.start),
            picoseconds(&newest.start),
        ],
    )?;
    Ok(())
}

/// What a path is found by, in order and each once.
pub(super) fn words(path: &str) -> Vec<String> {
    let lower = path.to_lowercase();
    let mut beginnings = Vec::new();
    let mut inside = false;
    for (at, char) in lower.char_indices() {
        let of_a_word = char.is_alphanumeric();
        if of_a_word && !inside {
            beginnings.push(at);
        }
        inside = of_a_word;
    }
    if beginnings.first() != Some(&0) {
        beginnings.insert(0, 0);
    }
    let skipped = beginnings.len().saturating_sub(WORDS_MAX);
    let mut words: Vec<String> = beginnings
        .iter()
        .enumerate()
        .filter(|(number, _)| *number == 0 || *number > skipped)
        .filter_map(|(_, at)| lower.get(*at..))
        .map(|word| cut(word).to_owned())
        .collect();
    words.sort();
    words.dedup();
    words
}

fn cut(word: &str) -> &str {
    let mut end = word.len().min(WORD_BYTES_MAX);
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    &word[..end]
}

/// Files whose path has a word that begins with `beginning`, in lower case, and which `is_meant`
/// (it is given the path in lower case), after `after`: up to `count`.
pub fn files(
    tx: &mut Tx<'_>,
    beginning: &str,
    is_meant: &dyn Fn(&str) -> bool,
    after: Option<&FilePlace>,
    count: usize,
) -> Result<FilesPage> {
    let beginning = cut(beginning);
    let end = format!("{beginning}\u{10ffff}");
    let mut page = FilesPage {
        files: Vec::new(),
        next: None,
    };
    let mut scanned = 0;
    let (mut word, mut file) = match after {
        // The rest of the jobs of that file come first.
        Some(place) => (place.word.clone(), place.file.saturating_sub(1)),
        None => (beginning.to_owned(), 0),
    };
    loop {
        let rows = tx.query(
            "SELECT w.word, w.file, f.path FROM own.file_word w JOIN own.file f ON f.id = w.file
             WHERE (w.word, w.file) > ($1, $2) AND w.word < $3
             ORDER BY w.word, w.file LIMIT $4",
            &[
                word.as_str().into(),
                file.into(),
                end.as_str().into(),
                SCANNED_AT_ONCE.into(),
            ],
            |row| Ok((row.text(0)?, row.int(1)?, row.text(2)?)),
        )?;
        let last = rows.len() < usize::try_from(SCANNED_AT_ONCE).unwrap_or(0);
        for (row_word, row_file, path) in rows {
            scanned += 1;
            let begun = after.filter(|place| place.file == row_file && place.word == row_word);
            let mut after_job = begun.map_or(-1, |place| place.job);
            (word, file) = (row_word, row_file);
            // A file with several words that begin so is found by the first of them.
            let first = words(&path)
                .into_iter()
                .find(|word| word.starts_with(beginning));
            if first.as_ref() != Some(&word) || !is_meant(&path.to_lowercase()) {
                continue;
            }
            loop {
                let jobs = jobs_with(tx, file, &path, after_job)?;
                let Some((last, _)) = jobs.last() else { break };
                after_job = *last;
                for (job, build) in jobs {
                    if page.files.len() == count {
                        return Ok(page);
                    }
                    page.next = Some(FilePlace {
                        word: word.clone(),
                        file,
                        job,
                    });
                    page.files.extend(build.map(|build| Found {
                        path: path.clone(),
                        build,
                    }));
                }
            }
        }
        if last {
            page.next = None;
            return Ok(page);
        }
        if scanned >= SCANNED_MAX {
            page.next = Some(FilePlace {
                word,
                file,
                job: i64::MAX,
            });
            return Ok(page);
        }
    }
}

/// The jobs with a file at this path, each with its newest build that has it.
fn jobs_with(
    tx: &mut Tx<'_>,
    file: i64,
    path: &str,
    after: i64,
) -> Result<Vec<(i64, Option<Build>)>> {
    let jobs = tx.query(
        "SELECT fj.job, fj.build FROM own.file_job fj
         WHERE fj.file = $1 AND fj.job > $2 ORDER BY fj.job LIMIT $3",
        &[file.into(), after.into(), SCANNED_AT_ONCE.into()],
        |row| Ok((row.int(0)?, row.int(1)?)),
    )?;
    let mut all = Vec::with_capacity(jobs.len());
    for (job, build) in jobs {
        let build = match build_with(tx, build, job, path)? {
            Some(build) => Some(build),
            // It was removed, or another one has its number.
            None => newest_with(tx, job, path)?,
        };
        all.push((job, build));
    }
    Ok(all)
}

/// The build of this row, if it is of this job and has a file at this path.
fn build_with(tx: &mut Tx<'_>, build: i64, job: i64, path: &str) -> Result<Option<Build>> {
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             JOIN build_artifact a ON a.build = b.id AND a.filepath = $3
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.id = $1 AND b.job = $2"
        ),
        &[build.into(), job.into(), path.into()],
        Build::from_row,
    )
}

/// The newest build of a job that has a file at this path.
pub(super) fn newest_with(tx: &mut Tx<'_>, job: i64, path: &str) -> Result<Option<Build>> {
    tx.query_opt(
        select_build!(
            "FROM build b JOIN job j ON j.id = b.job
             JOIN build_artifact a ON a.build = b.id AND a.filepath = $2
             LEFT JOIN build_artifact m ON m.id = b.main_binary
             WHERE b.job = $1
             ORDER BY b.start_d DESC, b.start_ps DESC, b.id DESC LIMIT 1"
        ),
        &[job.into(), path.into()],
        Build::from_row,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_by_its_whole_and_by_the_beginning_of_each_word() {
        assert_eq!(
            words("bin/Hello-Key.hvt"),
            ["bin/hello-key.hvt", "hello-key.hvt", "hvt", "key.hvt"]
        );
        assert_eq!(words("_x"), ["_x", "x"]);
        assert_eq!(words("a/a/a"), ["a", "a/a", "a/a/a"]);
        let long = words(&"é".repeat(100));
        assert_eq!(long, ["é".repeat(20)]);
        let many = words(&"x/".repeat(50));
        assert!(many.len() <= WORDS_MAX, "{many:?}");
        assert!(
            words("dir/of/many/more/words/than/are/kept/a/b/c/d/e/f/g/name.txt")
                .contains(&"name.txt".to_owned())
        );
    }
}
