//! The files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Case;

/// One file: the cases of one group of rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File<C = Case> {
    /// Where these rules are written.
    pub rfc: String,
    /// The cases.
    pub cases: Vec<C>,
}

/// What every kind of case has.
pub(crate) trait Known {
    /// Its name, and where it is written.
    fn known(&mut self) -> (&str, &mut String);
}

impl Known for Case {
    fn known(&mut self) -> (&str, &mut String) {
        (&self.name, &mut self.rfc)
    }
}

/// The folder of the files.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("http1")
}

/// All files with their names, in order.
///
/// # Panics
/// A file can't be read, is not as [`Case`] says, or has a name that another case has.
pub fn files() -> Vec<(String, File)> {
    read(&dir())
}

/// All files of a folder with their names, in order.
pub(crate) fn read<C: Known + DeserializeOwned>(dir: &Path) -> Vec<(String, File<C>)> {
    let entries = fs::read_dir(dir).expect("the corpus is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let mut names = BTreeSet::new();
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("readable");
        let mut file: File<C> =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in &mut file.cases {
            let (case, rfc) = case.known();
            assert!(names.insert(case.to_owned()), "{name}: two cases are called {case}");
            if rfc.is_empty() {
                rfc.clone_from(&file.rfc);
            }
        }
        files.push((name, file));
    }
    files
}

/// All cases.
///
/// # Panics
/// As [`files`].
pub fn all() -> Vec<Case> {
    files().into_iter().flat_map(|(_, file)| file.cases).collect()
}
