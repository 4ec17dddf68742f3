//! The folder source against a real directory: what editors, volumes and careless writers do, and how soon it counts.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::timeout;
use weir_agent::cluster::manifests::{Batch, Manifests};
use weir_core::index::Change;

/// What the promise is, on a machine that has time for it.
const IN_FORCE: Duration = Duration::from_millis(250);

/// On one that has not. Shorter than the scan that needs no event, which would hide a lost one.
const SOON: Duration = Duration::from_millis(1500);

fn account(name: &str) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}\n")
}

fn changes(batch: &Batch) -> Vec<String> {
    let text = |change: &Change| match change {
        Change::Upsert(object) => format!("+{}", object.object_ref().key.name),
        Change::Remove(object) => format!("-{}", object.key.name),
        other => panic!("a folder knows nothing of {other:?}"),
    };
    batch.changes.iter().map(text).collect()
}

struct Watched {
    folder: TempDir,
    manifests: Manifests,
}

impl Watched {
    /// A folder with one file, `a.yaml`, that holds account `a`. Its first batch is taken.
    async fn new() -> Watched {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.yaml"), account("a")).expect("written");
        let manifests = Manifests::open(folder.path()).expect("watched");
        let mut watched = Watched { folder, manifests };
        assert_eq!(watched.changes().await, ["+a"]);
        // The watch is set right after the first batch; the scan that follows it would hide a lost event.
        tokio::time::sleep(Duration::from_millis(20)).await;
        watched
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    async fn batch(&mut self) -> Batch {
        timeout(SOON, self.manifests.next())
            .await
            .expect("in force in time")
            .expect("still watching")
    }

    async fn changes(&mut self) -> Vec<String> {
        changes(&self.batch().await)
    }

    async fn assert_nothing_for(&mut self, time: Duration) {
        if let Ok(batch) = timeout(time, self.manifests.next()).await {
            panic!("nothing was to change, but got {batch:?}");
        }
    }
}

#[tokio::test]
async fn changes_are_in_force_in_time() {
    let mut watched = Watched::new().await;
    let mut late = Vec::new();
    for round in 0..20 {
        let (name, begin) = (format!("a{round}"), Instant::now());
        watched.write("b.yml", &account(&name));
        let got = watched.changes().await;
        assert!(got.contains(&format!("+{name}")), "{got:?}");
        late.extend(Some(begin.elapsed()).filter(|time| *time > IN_FORCE));
    }
    assert!(late.len() <= 2, "more than the odd one is late: {late:?}");
    watched.write(
        "c.json",
        r#"{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "c"}}"#,
    );
    assert_eq!(watched.changes().await, ["+c"]);
    fs::remove_file(watched.path("c.json")).expect("removed");
    assert_eq!(watched.changes().await, ["-c"]);
}

#[tokio::test]
async fn a_broken_file_keeps_its_objects_and_says_where_it_is_broken() {
    let mut watched = Watched::new().await;
    watched.write("a.yaml", &format!("{}---\nkind: [\n", account("b")));
    let batch = watched.batch().await;
    assert_eq!(changes(&batch), [""; 0]);
    let place = &batch.problems[0].place;
    assert_eq!(
        (place.file.as_path(), place.document, place.line),
        (watched.path("a.yaml").as_path(), 2, 5)
    );
    watched.write("a.yaml", &account("b"));
    let batch = watched.batch().await;
    assert_eq!(
        (changes(&batch), batch.problems),
        (vec!["-a".to_owned(), "+b".to_owned()], vec![])
    );
}

#[tokio::test]
async fn a_file_that_is_being_written_keeps_its_objects() {
    let mut watched = Watched::new().await;
    let mut file = File::create(watched.path("a.yaml")).expect("truncated");
    for part in ["apiVersion: v1\nkind: ServiceAccount\n", "metadata:\n", "  name: a\n"] {
        file.write_all(part.as_bytes()).expect("written");
        file.flush().expect("flushed");
        watched.assert_nothing_for(Duration::from_millis(150)).await;
    }
    file.write_all(account("b").replacen("apiVersion", "---\napiVersion", 1).as_bytes())
        .expect("written");
    drop(file);
    assert_eq!(watched.changes().await, ["+b"]);
}

#[tokio::test]
async fn a_file_that_stays_open_is_read_in_the_end() {
    let mut watched = Watched::new().await;
    let mut file = File::create(watched.path("b.yaml")).expect("made");
    file.write_all(account("b").as_bytes()).expect("written");
    let batch = timeout(Duration::from_secs(3), watched.manifests.next())
        .await
        .expect("read although it is open");
    assert_eq!(changes(&batch.expect("still watching")), ["+b"]);
}

#[tokio::test]
async fn editors_may_rename() {
    let mut watched = Watched::new().await;
    // As vim does: the old one aside, a new one in its place.
    fs::rename(watched.path("a.yaml"), watched.path("a.yaml~")).expect("renamed");
    watched.write("a.yaml", &account("a").replace("}", ", namespace: shop}"));
    fs::remove_file(watched.path("a.yaml~")).expect("removed");
    assert_eq!(watched.changes().await, ["-a", "+a"], "in one step");
    // As careful programs do: a new one beside it, then over it.
    watched.write(".a.yaml.swp", &account("b"));
    fs::rename(watched.path(".a.yaml.swp"), watched.path("a.yaml")).expect("renamed");
    assert_eq!(watched.changes().await, ["-a", "+b"]);
}

#[tokio::test]
async fn new_folders_count_with_all_that_is_in_them() {
    let mut watched = Watched::new().await;
    fs::create_dir_all(watched.path("x/y")).expect("made");
    watched.write("x/y/b.yaml", &account("b"));
    assert_eq!(watched.changes().await, ["+b"]);
    watched.write("x/c.yaml", &account("c"));
    assert_eq!(watched.changes().await, ["+c"]);
    fs::rename(watched.path("x"), watched.path("z")).expect("renamed");
    watched.write("z/y/b.yaml", &account("d"));
    assert_eq!(watched.changes().await, ["-b", "+d"]);
    fs::remove_dir_all(watched.path("z")).expect("removed");
    assert_eq!(watched.changes().await, ["-c", "-d"], "in one step");
    fs::create_dir(watched.path("z")).expect("made");
    tokio::time::sleep(Duration::from_millis(100)).await;
    watched.write("z/e.yaml", &account("e"));
    assert_eq!(
        watched.changes().await,
        ["+e"],
        "a folder that came back is watched anew"
    );
}

#[tokio::test]
async fn a_volume_that_swaps_its_data_link_changes_in_one_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let version = |name: &str, text: &str| {
        fs::create_dir(root.join(name)).expect("made");
        fs::write(root.join(name).join("a.yaml"), text).expect("written");
    };
    version("..1", &account("a"));
    symlink("..1", root.join("..data")).expect("linked");
    symlink("..data/a.yaml", root.join("a.yaml")).expect("linked");
    let manifests = Manifests::open(root).expect("watched");
    let mut watched = Watched { folder, manifests };
    let first = watched.batch().await;
    assert_eq!(
        (changes(&first), first.problems),
        (vec!["+a".to_owned()], vec![]),
        "hidden folders don't count twice"
    );
    tokio::time::sleep(Duration::from_millis(20)).await;

    let root = watched.folder.path().to_owned();
    fs::create_dir(root.join("..2")).expect("made");
    fs::write(root.join("..2/a.yaml"), account("b")).expect("written");
    symlink("..2", root.join("..tmp")).expect("linked");
    fs::rename(root.join("..tmp"), root.join("..data")).expect("swapped");
    fs::remove_dir_all(root.join("..1")).expect("removed");
    assert_eq!(watched.changes().await, ["-a", "+b"]);
}

#[tokio::test]
async fn the_target_of_a_link_is_watched_where_it_lies() {
    let mut watched = Watched::new().await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let target = elsewhere.path().join("target");
    fs::write(&target, account("b")).expect("written");
    symlink(&target, watched.path("b.yaml")).expect("linked");
    assert_eq!(watched.changes().await, ["+b"]);
    fs::write(&target, account("c")).expect("written");
    assert_eq!(watched.changes().await, ["-b", "+c"]);
    fs::remove_file(&target).expect("removed");
    let batch = watched.batch().await;
    assert_eq!(changes(&batch), [""; 0], "a link that leads nowhere keeps its objects");
    assert_eq!(batch.problems.len(), 1);
}

#[tokio::test]
async fn a_folder_that_links_to_itself_is_read_once() {
    let mut watched = Watched::new().await;
    symlink(watched.folder.path(), watched.path("loop")).expect("linked");
    watched.write("b.yaml", &account("b"));
    let batch = watched.batch().await;
    assert_eq!((changes(&batch), batch.problems), (vec!["+b".to_owned()], vec![]));
}

#[tokio::test]
async fn an_object_in_two_files_is_said_with_both_names() {
    let mut watched = Watched::new().await;
    watched.write("b.yaml", &account("a"));
    let batch = watched.batch().await;
    assert_eq!(changes(&batch), [""; 0]);
    let said = batch.problems[0].to_string();
    assert!(said.contains("b.yaml:1") && said.contains("a.yaml:1"), "{said}");
    fs::remove_file(watched.path("a.yaml")).expect("removed");
    let batch = watched.batch().await;
    assert_eq!(
        (changes(&batch).len(), batch.problems.len()),
        (0, 0),
        "the other copy says the same"
    );
}

#[tokio::test]
async fn a_change_within_one_tick_of_the_clock_is_seen() {
    let mut watched = Watched::new().await;
    for round in 0..20 {
        // The same length, so that only the stamp's time could tell them apart.
        let name = format!("a{}", round % 10);
        watched.write("b.yaml", &account("xx"));
        watched.write("b.yaml", &account(&name));
        let begin = Instant::now();
        while begin.elapsed() < SOON {
            if watched.changes().await.contains(&format!("+{name}")) {
                break;
            }
        }
        assert!(begin.elapsed() < SOON);
    }
}

#[tokio::test]
async fn the_folder_itself_may_go_and_come_back() {
    let outer = tempfile::tempdir().expect("a folder");
    let root = outer.path().join("manifests");
    fs::create_dir(&root).expect("made");
    fs::write(root.join("a.yaml"), account("a")).expect("written");
    let mut manifests = Manifests::open(&root).expect("watched");
    let mut next = async || {
        timeout(Duration::from_secs(4), manifests.next())
            .await
            .expect("seen")
            .expect("still watching")
    };
    assert_eq!(changes(&next().await), ["+a"]);
    fs::rename(&root, outer.path().join("aside")).expect("renamed");
    let batch = next().await;
    assert_eq!(
        (changes(&batch), batch.problems.len()),
        (vec![], 1),
        "a folder that is gone is no decision to remove"
    );
    let other = outer.path().join("other");
    fs::create_dir(&other).expect("made");
    fs::write(other.join("b.yaml"), account("b")).expect("written");
    fs::rename(&other, &root).expect("renamed");
    let batch = next().await;
    assert_eq!(
        (changes(&batch), batch.problems),
        (vec!["-a".to_owned(), "+b".to_owned()], vec![])
    );
}

#[tokio::test]
async fn an_empty_folder_has_a_first_batch_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifests = Manifests::open(folder.path()).expect("watched");
    let mut watched = Watched { folder, manifests };
    assert_eq!(watched.batch().await, Batch::default());
    watched.assert_nothing_for(Duration::from_millis(2500)).await;
}

#[test]
fn what_is_no_folder_is_an_error() {
    assert!(Manifests::open(Path::new("/nonexistent")).is_err());
    assert!(Manifests::open(Path::new("/etc/hostname")).is_err());
}
