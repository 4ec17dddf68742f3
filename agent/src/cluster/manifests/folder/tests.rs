use super::*;

fn account(name: &str) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: shop}}\n")
}

fn route(ports: &str) -> String {
    format!(
        "apiVersion: specs.smi-spec.io/v1alpha4\nkind: TCPRoute\nmetadata: {{name: r}}\nspec: {{matches: {{ports: [{ports}]}}}}\n"
    )
}

/// `+` for what is new or different, `-` for what is gone.
fn changes(batch: &Batch) -> Vec<String> {
    let text = |change: &Change| match change {
        Change::Upsert(object) => format!("+{}", object.object_ref()),
        Change::Remove(object) => format!("-{object}"),
        other => panic!("a folder knows nothing of {other:?}"),
    };
    batch.changes.iter().map(text).collect()
}

fn problems(batch: &Batch) -> Vec<String> {
    batch.problems.iter().map(FileProblem::to_string).collect()
}

fn put(folder: &mut Folder, path: &str, text: &str) -> Batch {
    folder.put(Path::new(path), text);
    folder.settle()
}

#[test]
fn a_file_gives_its_objects_and_takes_them_with_it() {
    let mut folder = Folder::default();
    let text = account("a") + "---\n" + &account("b");
    assert_eq!(
        changes(&put(&mut folder, "x.yaml", &text)),
        ["+ServiceAccount shop/a", "+ServiceAccount shop/b"]
    );
    assert_eq!(
        changes(&put(&mut folder, "x.yaml", &account("b"))),
        ["-ServiceAccount shop/a"]
    );
    folder.remove(Path::new("x.yaml"));
    assert_eq!(changes(&folder.settle()), ["-ServiceAccount shop/b"]);
    assert_eq!(folder.settle(), Batch::default());
}

#[test]
fn only_what_is_different_is_a_change() {
    let mut folder = Folder::default();
    put(&mut folder, "x.yaml", &(route("80") + "---\n" + &account("a")));
    assert_eq!(
        changes(&put(&mut folder, "x.yaml", &(account("a") + "---\n" + &route("80")))),
        [""; 0]
    );
    assert_eq!(
        changes(&put(&mut folder, "x.yaml", &(account("a") + "---\n" + &route("81")))),
        ["+TCPRoute default/r"]
    );
}

#[test]
fn a_broken_document_keeps_the_last_good_objects_of_its_file() {
    let mut folder = Folder::default();
    put(&mut folder, "x.yaml", &(account("a") + "---\n" + &route("80")));
    let batch = put(&mut folder, "x.yaml", &(account("c") + "---\n" + &route("80, [")));
    assert_eq!(changes(&batch), [""; 0]);
    let wanted = Place {
        file: "x.yaml".into(),
        document: 2,
        line: 8,
    };
    assert_eq!(batch.problems.len(), 1);
    assert_eq!(batch.problems[0].place, wanted);
    assert!(
        batch.problems[0].message.starts_with("document 2: "),
        "{:?}",
        problems(&batch)
    );
    assert_eq!(
        put(&mut folder, "y.yaml", "").problems,
        batch.problems,
        "it is said until it is mended"
    );

    let batch = put(&mut folder, "x.yaml", &account("c"));
    assert_eq!(
        changes(&batch),
        [
            "-ServiceAccount shop/a",
            "-TCPRoute default/r",
            "+ServiceAccount shop/c"
        ]
    );
    assert_eq!(problems(&batch), [""; 0]);
}

#[test]
fn a_file_that_was_never_good_gives_nothing() {
    let mut folder = Folder::default();
    let batch = put(&mut folder, "x.yaml", &(account("a") + "---\n{"));
    assert_eq!((changes(&batch).len(), batch.problems.len()), (0, 1));
}

#[test]
fn a_file_that_cannot_be_opened_keeps_its_objects() {
    let mut folder = Folder::default();
    put(&mut folder, "x.yaml", &account("a"));
    folder.put_unreadable(Path::new("x.yaml"), "can't be read: permission denied");
    let batch = folder.settle();
    assert_eq!(changes(&batch), [""; 0]);
    assert_eq!(
        problems(&batch),
        ["x.yaml: can't be read: permission denied; until that is mended, nothing new is taken from the file"]
    );
}

#[test]
fn an_object_in_two_files_counts_where_it_comes_first_by_path() {
    let (first, second) = (route("80"), format!("# moved\n{}", route("81")));
    let mut orders = Vec::new();
    for order in [["a.yaml", "b.yaml"], ["b.yaml", "a.yaml"]] {
        let mut folder = Folder::default();
        for path in order {
            folder.put(Path::new(path), if path == "a.yaml" { &first } else { &second });
        }
        orders.push(folder.settle());
    }
    assert_eq!(orders[0], orders[1], "whichever was read first");
    let wanted = "b.yaml:2: TCPRoute default/r is in a.yaml:1 too, and that one counts; this one has no effect";
    assert_eq!(problems(&orders[0]), [wanted]);
}

#[test]
fn the_other_copy_takes_effect_when_the_first_goes() {
    let mut folder = Folder::default();
    put(&mut folder, "a.yaml", &route("80"));
    assert_eq!(changes(&put(&mut folder, "b.yaml", &route("81"))), [""; 0]);
    folder.remove(Path::new("a.yaml"));
    let batch = folder.settle();
    assert_eq!(
        (changes(&batch), problems(&batch).len()),
        (vec!["+TCPRoute default/r".to_owned()], 0)
    );
    let Some(Object::TcpRoute(route)) = folder.objects().next() else {
        panic!("the route is in force")
    };
    assert_eq!(route.ports, [81]);
}

#[test]
fn a_rejected_object_costs_only_itself() {
    let mut folder = Folder::default();
    put(&mut folder, "x.yaml", &(account("a") + "---\n" + &route("80")));
    let batch = put(&mut folder, "x.yaml", &(account("b") + "---\n" + &route("0")));
    assert_eq!(
        changes(&batch),
        [
            "-ServiceAccount shop/a",
            "-TCPRoute default/r",
            "+ServiceAccount shop/b"
        ]
    );
    assert_eq!(batch.findings.len(), 1);
    assert_eq!(batch.findings[0].finding.field, "spec.matches.ports[0]");
    assert_eq!(batch.findings[0].place.to_string(), "x.yaml:5");
}

#[test]
fn kinds_that_are_not_ours_are_passed_over() {
    let batch = put(
        &mut Folder::default(),
        "x.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n",
    );
    assert_eq!(batch, Batch::default());
}

#[test]
fn what_is_no_object_at_all_is_a_problem_of_the_file() {
    let mut folder = Folder::default();
    let whole = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n";
    put(&mut folder, "x.yaml", whole);
    // Half-written: the last document has no kind yet, so nobody can say which object would be missing.
    let batch = put(&mut folder, "x.yaml", "apiVersion: v1\n");
    assert_eq!(
        problems(&batch),
        [
            "x.yaml:1: document 1: manifest kind: is missing (every manifest begins with apiVersion and kind); \
          until that is mended, nothing new is taken from the file"
        ]
    );
    assert_eq!(batch.changes, [], "the last good objects stay");
}

#[test]
fn a_namespace_that_is_rejected_keeps_its_last_good_form_and_a_rule_does_not() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {weir.dev/mode: enforce}}\n";
    let mut folder = Folder::default();
    put(&mut folder, "x.yaml", &(namespace.to_owned() + "---\n" + &route("80")));
    let broken = namespace.replace("v1", "v2") + "---\n" + &route("eighty");
    let batch = put(&mut folder, "x.yaml", &broken);
    assert_eq!(changes(&batch), ["-TCPRoute default/r"]);
    assert_eq!(batch.findings.len(), 2);
    assert!(!batch.incomplete, "there is a last good form");
    // Taken out of the file, it is gone.
    assert_eq!(
        changes(&put(&mut folder, "x.yaml", &account("a"))),
        ["-Namespace shop", "+ServiceAccount shop/a"]
    );
}

#[test]
fn what_was_never_good_is_said() {
    let mut folder = Folder::default();
    assert!(
        put(
            &mut folder,
            "x.yaml",
            "apiVersion: v2\nkind: Pod\nmetadata: {name: p}\n"
        )
        .incomplete
    );
    assert!(!put(&mut folder, "x.yaml", &account("a")).incomplete);
    assert!(put(&mut folder, "y.yaml", "a: [").incomplete);
    assert!(!put(&mut folder, "y.yaml", "").incomplete);
    assert!(
        !put(&mut folder, "y.yaml", "a: [").incomplete,
        "its last good form has no objects"
    );
}
