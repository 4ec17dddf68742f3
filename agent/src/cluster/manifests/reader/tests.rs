use std::fs;

use tempfile::TempDir;
use weir_core::index::Change;

use super::*;

/// A real folder, and a clock that only the test moves.
struct Looks {
    folder: TempDir,
    reader: Reader,
    now: Instant,
}

impl Looks {
    /// With account `a` in `a.yaml`, read and at rest.
    fn new() -> Looks {
        let folder = tempfile::tempdir().expect("a folder");
        let mut looks = Looks {
            reader: Reader::new(folder.path()),
            folder,
            now: Instant::now(),
        };
        looks.write("a.yaml", "a");
        assert_eq!(looks.after(Duration::ZERO), ["+a"], "the first look takes everything");
        assert_eq!(looks.after(QUIET), [""; 0]);
        assert_eq!(looks.after(QUIET), [""; 0]);
        assert!(!looks.look(QUIET, false).again, "at rest");
        looks
    }

    fn write(&self, name: &str, account: &str) {
        let text = format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}}}\n");
        fs::write(self.folder.path().join(name), text).expect("written");
    }

    fn look(&mut self, later: Duration, open: bool) -> Look {
        self.now += later;
        self.reader.look(self.now, |_| open)
    }

    /// What a look so much later takes.
    fn after(&mut self, later: Duration) -> Vec<String> {
        changes(self.look(later, false))
    }
}

fn changes(look: Look) -> Vec<String> {
    let text = |change| match change {
        Change::Upsert(object) => format!("+{}", object.object_ref().key.name),
        Change::Remove(object) => format!("-{}", object.key.name),
        other => panic!("a folder knows nothing of {other:?}"),
    };
    look.batch
        .into_iter()
        .flat_map(|batch| batch.changes)
        .map(text)
        .collect()
}

const ALMOST: Duration = QUIET.saturating_sub(Duration::from_millis(1));

#[test]
fn a_change_counts_when_two_looks_agree_on_it() {
    let mut looks = Looks::new();
    looks.write("a.yaml", "step");
    assert_eq!(looks.after(Duration::ZERO), [""; 0]);
    assert_eq!(looks.after(ALMOST), [""; 0]);
    looks.write("a.yaml", "final-step");
    assert_eq!(looks.after(ALMOST), [""; 0], "it has changed again");
    assert_eq!(looks.after(QUIET), ["-a", "+final-step"]);
    assert!(!looks.look(QUIET, false).again);
}

#[test]
fn a_file_that_is_out_of_sight_for_one_look_is_not_gone() {
    let mut looks = Looks::new();
    let (file, aside) = (looks.folder.path().join("a.yaml"), looks.folder.path().join("aside"));
    fs::rename(&file, &aside).expect("renamed");
    let look = looks.look(Duration::ZERO, false);
    assert!(look.batch.is_none() && look.again);
    fs::rename(&aside, &file).expect("renamed");
    assert_eq!(looks.after(ALMOST), [""; 0]);
    assert_eq!(looks.after(QUIET), [""; 0]);
    fs::remove_file(&file).expect("removed");
    assert_eq!(looks.after(Duration::ZERO), [""; 0]);
    assert_eq!(looks.after(QUIET), ["-a"]);
}

#[test]
fn changes_at_rest_wait_for_those_that_are_not_but_not_for_ever() {
    let mut looks = Looks::new();
    looks.write("b.yaml", "b");
    looks.write("c.yaml", "c0");
    let mut taken = Vec::new();
    for step in 1..=20 {
        looks.write("c.yaml", &format!("c{}", "x".repeat(step)));
        let got = looks.after(ALMOST);
        if !got.is_empty() {
            taken.push((ALMOST * (u32::try_from(step).expect("small") - 1), got));
        }
    }
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert!(taken[0].0 >= LATEST && taken[0].0 < LATEST * 2, "{taken:?}");
    assert_eq!(taken[0].1, ["+b"], "the one that never rests is not taken");
}

#[test]
fn a_file_that_never_rests_is_read_in_the_end() {
    let mut looks = Looks::new();
    looks.write("a.yaml", "b");
    assert!(looks.look(Duration::ZERO, true).batch.is_none());
    assert!(looks.look(QUIET, true).batch.is_none(), "open for writing");
    let look = looks.look(RESTLESS, true);
    assert_eq!(
        (look.again, changes(look)),
        (false, vec!["-a".to_owned(), "+b".to_owned()])
    );
    assert!(looks.look(QUIET, true).again, "it is read again when it is at rest");
}

#[test]
fn a_folder_that_is_gone_keeps_its_objects() {
    let mut looks = Looks::new();
    let (folder, aside) = (
        looks.folder.path().to_owned(),
        looks.folder.path().with_extension("aside"),
    );
    fs::rename(&folder, &aside).expect("renamed");
    let batch = looks.look(QUIET, false).batch.expect("a problem");
    assert_eq!((batch.changes.len(), batch.problems.len()), (0, 1));
    assert_eq!(looks.after(RESTLESS), [""; 0]);
    fs::rename(&aside, &folder).expect("renamed");
    let batch = looks.look(QUIET, false).batch.expect("no problem any more");
    assert_eq!((batch.changes.len(), batch.problems.len()), (0, 0));
}
