//! What a set of files means: which objects are in force, and what is wrong with the files. No I/O.
//!
//! Bias: a file is taken whole or not at all. While any document of it can't be read, the objects that it last gave
//! stay in force. An object that occurs twice counts where it comes first, by path, then by document. The outcome
//! depends on the files alone, except for what broken files keep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use tracing::debug;
use weir_core::convert::{ConvertError, Converted, convert_all};
use weir_core::finding::Finding;
use weir_core::index::Change;
use weir_core::model::{Kind, Object, ObjectRef};

use super::document;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its document, from 1; 0 for the whole file.
    pub document: usize,
    /// The line of the file, from 1; 0 for the whole file.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        Ok(())
    }
}

/// What is wrong with a file, rather than with an object that can be named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct FileProblem {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What, and what it costs.
    pub message: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What is wrong with an object, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct FileFinding {
    /// Where its document begins.
    #[serde(flatten)]
    pub place: Place,
    /// What.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What changed, and all that is wrong now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Removals first, then the others, each in the order of their references.
    pub changes: Vec<Change>,
    /// Everything that is wrong with files, not only what is new.
    pub problems: Vec<FileProblem>,
    /// Everything that is wrong with single objects, rejected ones among them, not only what is new.
    pub findings: Vec<FileFinding>,
    /// A file, a Namespace or a Pod can't be read and has no last good form: who takes part is not fully known.
    pub incomplete: bool,
}

/// The files as they were last read.
#[derive(Debug, Default)]
pub struct Folder {
    files: BTreeMap<PathBuf, File>,
    in_force: BTreeMap<ObjectRef, Object>,
    /// Where they stand.
    places: BTreeMap<ObjectRef, Place>,
}

#[derive(Debug, Default)]
struct File {
    /// Of the last text without a broken document.
    documents: Vec<Document>,
    /// What is wrong with the present text.
    broken: Vec<FileProblem>,
    /// There was a text without a broken document.
    was_good: bool,
}

#[derive(Debug)]
struct Document {
    place: Place,
    outcomes: Vec<Result<Converted, ConvertError>>,
}

impl Folder {
    /// The file has this text now.
    pub fn put(&mut self, path: &Path, text: &str) {
        let place = |document, line| Place {
            file: path.to_owned(),
            document,
            line,
        };
        let (mut documents, mut broken) = (Vec::new(), Vec::new());
        for document in document::read(text) {
            match document {
                Ok(it) => {
                    let place = place(it.number, it.line);
                    let outcomes = convert_all(&it.value);
                    for outcome in &outcomes {
                        match outcome {
                            Ok(Converted::Ignored { api_version, kind }) => {
                                debug!(%place, %api_version, %kind, "ignoring an object of another kind");
                            }
                            // Nobody can say which object this was: the rest of the file may lack it.
                            Err(error) if error.finding().is_none() => {
                                broken.push(problem(place.clone(), it.number, error));
                            }
                            _ => {}
                        }
                    }
                    documents.push(Document { place, outcomes });
                }
                Err(it) => broken.push(problem(place(it.number, it.line), it.number, &it.message)),
            }
        }
        let file = self.files.entry(path.to_owned()).or_default();
        if broken.is_empty() {
            file.documents = documents;
            file.was_good = true;
        }
        file.broken = broken;
    }

    /// The file is there and can't be read at all: what it last gave stays in force.
    pub fn put_unreadable(&mut self, path: &Path, reason: &str) {
        let place = Place {
            file: path.to_owned(),
            document: 0,
            line: 0,
        };
        let message = format!("{reason}; until that is mended, nothing new is taken from the file");
        self.files.entry(path.to_owned()).or_default().broken = vec![FileProblem { place, message }];
    }

    /// The file is gone, and its objects with it.
    pub fn remove(&mut self, path: &Path) {
        self.files.remove(path);
    }

    /// Takes all files together and tells what is different from the last time.
    pub fn settle(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut winners: BTreeMap<ObjectRef, (&Object, &Place)> = BTreeMap::new();
        let mut rejected: BTreeSet<&ObjectRef> = BTreeSet::new();
        for file in self.files.values() {
            batch.incomplete |= !file.was_good;
            batch.problems.extend(file.broken.iter().cloned());
            for document in &file.documents {
                for outcome in &document.outcomes {
                    document.judge(outcome, &mut winners, &mut batch);
                    rejected.extend(outcome.as_ref().err().and_then(|error| error.object.as_deref()));
                }
            }
        }
        // What decides who takes part keeps its last good form when a new one is rejected: taking it away would open
        // what it closed. Any other object that is rejected is gone, which only narrows.
        rejected.retain(|object| matches!(object.kind, Kind::Namespace | Kind::Pod) && !winners.contains_key(object));
        batch.incomplete |= rejected.iter().any(|object| !self.in_force.contains_key(object));
        let gone = self
            .in_force
            .keys()
            .filter(|object| !winners.contains_key(object) && !rejected.contains(object));
        let mut changes: Vec<_> = gone.cloned().map(Change::Remove).collect();
        for (name, (object, _)) in &winners {
            if self.in_force.get(name) != Some(object) {
                changes.push(Change::Upsert((*object).clone()));
            }
        }
        self.places = winners
            .into_iter()
            .map(|(name, (_, place))| (name, place.clone()))
            .collect();
        for change in &changes {
            match change {
                Change::Upsert(object) => _ = self.in_force.insert(object.object_ref(), object.clone()),
                Change::Remove(object) => _ = self.in_force.remove(object),
                Change::Attach { .. } | Change::Detach { .. } => {}
            }
        }
        batch.changes = changes;
        batch.problems.sort();
        batch.findings.sort();
        batch
    }

    /// The objects in force since [`Folder::settle`].
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.in_force.values()
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Where an object in force stands.
    pub fn place_of(&self, object: &ObjectRef) -> Option<&Place> {
        self.places.get(object)
    }
}

/// A document that keeps its whole file from being taken.
fn problem(place: Place, number: usize, reason: &dyn fmt::Display) -> FileProblem {
    let message = format!("document {number}: {reason}; until that is mended, nothing new is taken from the file");
    FileProblem { place, message }
}

impl Document {
    fn judge<'a>(
        &'a self,
        outcome: &'a Result<Converted, ConvertError>,
        winners: &mut BTreeMap<ObjectRef, (&'a Object, &'a Place)>,
        batch: &mut Batch,
    ) {
        let place = || self.place.clone();
        match outcome {
            Ok(Converted::Object { object, findings }) => {
                let name = object.object_ref();
                if let Some((_, first)) = winners.get(&name) {
                    let message = format!("{name} is in {first} too, and that one counts; this one has no effect");
                    batch.problems.push(FileProblem {
                        place: place(),
                        message,
                    });
                    return;
                }
                winners.insert(name, (object, &self.place));
                batch.findings.extend(findings.iter().map(|it| FileFinding {
                    place: place(),
                    finding: it.clone(),
                }));
            }
            Ok(Converted::Ignored { .. }) => {}
            // What has no name has kept its file from being taken.
            Err(error) => batch.findings.extend(error.finding().map(|finding| FileFinding {
                place: place(),
                finding,
            })),
        }
    }
}

#[cfg(test)]
mod tests;
