//! What lint found, and how it reads.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use weir_core::compile::compile;
use weir_core::finding::{Finding, Severity};
use weir_core::index::{Change, Index};
use weir_core::model::{Kind, Object, ObjectRef};
use weir_core::plan::Settings;

use crate::cluster::manifests::{FileFinding, FileProblem, Folder, Place, load};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Entry {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// How bad it is.
    pub severity: Severity,
    /// The object, where it can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Path of the field; empty for the whole object or file.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Everything that lint found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// By file, document and line.
    pub entries: Vec<Entry>,
    /// Kinds that are referred to and of which the files hold no object: whether those are there was not checked.
    pub unchecked: BTreeSet<Kind>,
    /// How many entries are errors.
    pub errors: usize,
    /// How many entries are warnings.
    pub warnings: usize,
    /// How many files were read.
    pub files: usize,
    /// How many objects of known kinds they hold.
    pub objects: usize,
}

/// Checks files and folders together, as if they were one folder.
///
/// # Errors
/// A path does not exist or can't be looked at.
pub fn check(paths: &[PathBuf]) -> io::Result<Report> {
    let (folder, batch) = load(paths)?;
    let seen = Seen::new(&folder, !batch.problems.is_empty());
    let mut report = Report {
        files: folder.files(),
        objects: folder.objects().count(),
        ..Report::default()
    };
    report.entries.extend(batch.problems.into_iter().map(of_file));
    report.entries.extend(
        batch
            .findings
            .into_iter()
            .map(|FileFinding { place, finding }| of_object(place, finding)),
    );
    for mut finding in compile(&index(&folder), &settings(), 1).findings {
        if let Some(kind) = finding.missing.filter(|kind| seen.may_be_elsewhere(*kind)) {
            report.unchecked.insert(kind);
            if finding.severity == Severity::Warning {
                continue;
            }
            finding.severity = Severity::Warning;
        }
        let place = folder.place_of(&finding.object).cloned();
        let place = place.unwrap_or(Place {
            file: PathBuf::new(),
            document: 0,
            line: 0,
        });
        report.entries.push(of_object(place, finding));
    }
    report.entries.sort();
    report.errors = report
        .entries
        .iter()
        .filter(|entry| entry.severity == Severity::Error)
        .count();
    report.warnings = report.entries.len() - report.errors;
    Ok(report)
}

/// What kinds of objects the files hold.
struct Seen {
    kinds: BTreeSet<Kind>,
    /// Some file could not be read as a whole: anything may have been in it.
    in_part: bool,
}

impl Seen {
    fn new(folder: &Folder, in_part: bool) -> Seen {
        Seen {
            kinds: folder.objects().map(|object| object.object_ref().kind).collect(),
            in_part,
        }
    }

    fn may_be_elsewhere(&self, kind: Kind) -> bool {
        // Accounts and endpoints are told by more kinds than their own.
        let told_by: &[Kind] = match kind {
            Kind::ServiceAccount => &[Kind::ServiceAccount, Kind::Pod],
            Kind::Pod => &[Kind::Pod, Kind::EndpointSlice],
            _ => &[kind],
        };
        self.in_part || told_by.iter().all(|kind| !self.kinds.contains(kind))
    }
}

/// All objects. A Service without a ClusterIP gets one, of the range for benchmarks (RFC 2544): manifests leave it to
/// the API server, and the compiler asks splits for it.
fn index(folder: &Folder) -> Index {
    let mut index = Index::new();
    let mut free = u32::from(Ipv4Addr::new(198, 18, 0, 1))..u32::from(Ipv4Addr::new(198, 19, 255, 255));
    for mut object in folder.objects().cloned() {
        if let Object::Service(service) = &mut object
            && service.cluster_ips.is_empty()
            && !service.ports.is_empty()
        {
            service
                .cluster_ips
                .extend(free.next().map(|bits| IpAddr::from(Ipv4Addr::from(bits))));
        }
        index.apply(Change::Upsert(object));
    }
    index
}

/// No node: lint asks for what does not depend on one.
fn settings() -> Settings {
    Settings {
        node: String::new(),
        outbound_port: 15001,
        inbound_port: 15006,
        errno: 0,
        node_addresses: Default::default(),
    }
}

fn of_file(FileProblem { place, message }: FileProblem) -> Entry {
    Entry {
        place,
        severity: Severity::Error,
        object: None,
        field: String::new(),
        message,
        hint: None,
    }
}

fn of_object(place: Place, finding: Finding) -> Entry {
    let Finding {
        object,
        severity,
        field,
        message,
        hint,
        ..
    } = finding;
    Entry {
        place,
        severity,
        object: Some(object),
        field,
        message,
        hint,
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: ", self.place)?;
        if let Some(object) = &self.object {
            write!(f, "{object}")?;
            if !self.field.is_empty() {
                write!(f, " {}", self.field)?;
            }
            f.write_str(": ")?;
        }
        writeln!(f, "{}", self.message)?;
        if let Some(hint) = &self.hint {
            writeln!(f, "    hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            entry.fmt(f)?;
        }
        if !self.unchecked.is_empty() {
            let kinds: Vec<_> = self.unchecked.iter().map(|kind| kind.as_str()).collect();
            writeln!(
                f,
                "not checked, for want of objects of these kinds: {}",
                kinds.join(", ")
            )?;
        }
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let (errors, warnings) = (count(self.errors, "error"), count(self.warnings, "warning"));
        writeln!(
            f,
            "{errors}, {warnings} in {}, {}",
            count(self.files, "file"),
            count(self.objects, "object")
        )
    }
}
