//! The scripts of the fleet's workflows, each as its job runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::workflows::root;
use crate::world::{Ended, TINY, World};

/// The head of the pull request.
const SHA: &str = "9c091bb21b7c1c1d1991bb908d89e4e9dddfe3e0";

/// Runs a script of the repository with a `gh` that knows one open pull request at [`SHA`], and
/// writes down what it is called with; returns how it ended, and the calls.
fn script(name: &str, variables: &[(&str, &str)]) -> (Ended, String) {
    let folder = tempfile::tempdir().unwrap();
    let gh = folder.path().join("gh");
    let text = format!(
        "#!/bin/sh\necho \"$@\" >>\"$CALLS\"\ncase \"$*\" in *pulls/7*) echo open {SHA};; esac\n"
    );
    fs::write(&gh, text).unwrap();
    fs::set_permissions(&gh, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let (calls, outputs) = (folder.path().join("calls"), folder.path().join("outputs"));
    let output = Command::new(root().join(".github/scripts").join(name))
        .envs([("PATH", path.as_str()), ("GITHUB_REPOSITORY", "team/models")])
        .envs([("CALLS", &calls), ("GITHUB_OUTPUT", &outputs)])
        .env_remove("GITHUB_SERVER_URL")
        .envs(variables.iter().copied())
        .output()
        .expect("the script starts");
    let written = fs::read_to_string(calls).unwrap_or_default();
    (output.into(), written + &fs::read_to_string(outputs).unwrap_or_default())
}

#[test]
fn only_the_head_of_an_open_pull_request_can_be_approved() {
    let (ended, written) = script("approve.sh", &[("NUMBER", "7"), ("SHA", SHA)]);
    ended.expect(0);
    assert!(written.ends_with(&format!("sha={SHA}\n")), "{written}");
    let older = "0".repeat(40);
    for (number, sha) in [("7", &*older), ("8", SHA), ("7", &SHA[..7]), ("7; id", SHA)] {
        let variables = [("NUMBER", number), ("SHA", sha)];
        let (ended, written) = script("approve.sh", &variables);
        ended.expect(1);
        assert!(!written.contains("sha="), "{written}");
    }
}

/// Posts a comment as the workflow would; returns the exit code, and what `gh` was called with.
fn comment(text: &str, more: &[(&str, &str)]) -> (Ended, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("comment.md");
    fs::write(&file, text).unwrap();
    let title = format!("bench pull request 7 at {SHA}");
    let usual = [
        ("TITLE", title.as_str()),
        ("EVENT", "pull_request"),
        ("HEAD_REPOSITORY", "team/models"),
        ("HEAD_SHA", SHA),
    ];
    let report = [("REPORT", file.to_str().unwrap())];
    script("comment.sh", &[&usual[..], &report, more].concat())
}

const COMMENT: &str = "<!-- servegate:servegate -->\n## servegate: 1 regressed\n\n\
    | key | verdict |\n| --- | --- |\n| a&lt;b | **regressed** |\n\n\
    <details><summary>more</summary>\n\n`x@y` 3 < 4\n</details>\n\
    @<wbr>handle closed sim/smoke#<wbr>1 at http:<wbr>//127.0.0.1:1/<wbr>health\n\
    <sub>[run](https://github.com/team/models/actions/runs/1)</sub>\n";

#[test]
fn a_comment_is_posted_once_it_was_checked() {
    let (ended, calls) = comment(COMMENT, &[]);
    ended.expect(0);
    assert!(calls.contains("--method POST repos/team/models/issues/7/comments"), "{calls}");
    for said in [
        "plain text",
        "<!-- servegate:x --> @team look",
        "<!-- servegate:x -->\nhello @team/all",
        "<!-- servegate:x -->\n![p](https://github.com/team/models/p.png)",
        "<!-- servegate:x -->\n<img src=x>",
        "<!-- servegate:x -->\n<<wbr>img src=x>",
        "<!-- servegate:x -->\n<wbr><script>",
        "<!-- servegate:x -->\nFixes #12",
        "<!-- servegate:x -->\nsee https://example.org/team/models/",
        "<!-- servegate:x -->\n[see](//example.org/?https://github.com/team/models/)",
        "<!-- servegate:x -->\nsee www.example.org",
        "<!-- servegate:x -->\nbell \u{7}",
        &format!("<!-- servegate:x -->\n{}", "x".repeat(65_536)),
    ] {
        let (ended, calls) = comment(said, &[]);
        assert!(ended.stdout.starts_with("::error title=servegate::the report is not posted: "));
        ended.expect(1);
        assert_eq!(calls, "", "{said}");
    }
}

#[test]
fn a_comment_on_a_server_that_failed_is_posted_whatever_the_server_said() {
    let world = World::new();
    world.run(&[&["bench", "--server-arg=--fault=no-such-fault"], TINY].concat()).expect(4);
    let journal = world.sessions().pop().unwrap().join("journal.jsonl");
    let hostile = "the server failed, says @team: closes #12, see www.example.org <img> ![p](q) ";
    let text = fs::read_to_string(&journal).unwrap();
    // What a server writes into its log becomes part of the message.
    let text = text.replace("\"message\":\"", &format!("\"message\":\"{hostile}"));
    fs::write(&journal, text).unwrap();
    let file = world.path().join("comment.md");
    let args = ["compare", "--from", "results", "--comment", file.to_str().unwrap()];
    world.run(&args).expect(4);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("says @<wbr>team: closes #<wbr>12, see www<wbr>.example.org"), "{text}");
    assert!(text.contains("http:<wbr>//127.0.0.1"), "{text}");
    let (ended, calls) = comment(&text, &[]);
    ended.expect(0);
    assert!(calls.contains("--method POST"), "{calls}");
}

#[test]
fn a_comment_goes_to_no_other_pull_request() {
    let older = "0".repeat(40);
    let title = format!("bench pull request 7 at {older}");
    for wrong in [
        [("TITLE", "bench pull request 8"), ("EVENT", "pull_request")],
        [("HEAD_REPOSITORY", "fork/models"), ("EVENT", "workflow_dispatch")],
        [("HEAD_SHA", older.as_str()), ("EVENT", "pull_request")],
        [("EVENT", "push"), ("HEAD_SHA", SHA)],
    ] {
        let (ended, calls) = comment(COMMENT, &wrong);
        ended.expect(1);
        assert_eq!(calls, "", "{wrong:?}");
    }
    let stale = [("TITLE", title.as_str()), ("HEAD_SHA", older.as_str())];
    let (ended, calls) = comment(COMMENT, &stale);
    assert!(ended.expect(0).stdout.contains("a later run will report"));
    assert!(!calls.contains("POST"), "{calls}");
}

/// A folder with the archive of a servegate that is the real one, by its path: packed it would
/// take seconds.
fn archives() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("servegate");
    let real = env!("CARGO_BIN_EXE_servegate");
    fs::write(&program, format!("#!/bin/sh\nexec '{real}' \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let pack = "archive=servegate-$(uname -m)-unknown-linux-gnu.tar.gz; \
                tar -czf $archive servegate; rm servegate; sha256sum $archive >SHA256SUMS";
    let packed = Command::new("sh").args(["-ec", pack]).current_dir(folder.path()).status();
    assert!(packed.unwrap().success());
    folder
}

#[test]
fn a_plan_becomes_a_canary_and_batches_that_a_matrix_holds() {
    let archives = archives();
    let plan = archives.path().join("plan");
    for (cells, wanted) in [(1, vec![]), (2, vec![1]), (257, vec![256]), (600, vec![256, 256, 87])]
    {
        let models: Vec<_> = (0..cells).map(|model| format!("m{model}")).collect();
        let text = serde_json::json!({
            "version": 1,
            "frameworks": ["sim"],
            "models": models,
            "profiles": ["smoke"],
            "runners": ["local"],
        });
        fs::write(&plan, text.to_string()).unwrap();
        let places =
            [("PLAN", plan.to_str().unwrap()), ("ARCHIVES", archives.path().to_str().unwrap())];
        let (ended, written) = script("plan.sh", &places);
        ended.expect(0);
        let output = |name: &str| -> serde_json::Value {
            let mut lines = written.lines().filter_map(|line| line.strip_prefix(name));
            serde_json::from_str(lines.next().expect("an output")).expect("JSON")
        };
        let included = |matrix: &serde_json::Value| matrix["include"].as_array().unwrap().clone();
        let batches = output("batches=");
        let batches: Vec<_> = batches.as_array().unwrap().iter().map(included).collect();
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, wanted, "{cells} cells");
        let canary = included(&output("canary="));
        assert_eq!(canary.len(), 1);
        let all = [canary, batches.concat()].concat();
        let named: Vec<_> = all.iter().map(|cell| cell["model"].as_str().unwrap()).collect();
        assert_eq!(named, models, "each cell once, in the order of the plan");
    }
}

#[test]
fn an_archive_with_another_digest_is_not_unpacked() {
    let archives = archives();
    let sums = archives.path().join("SHA256SUMS");
    let changed = fs::read_to_string(&sums).unwrap();
    let (digest, rest) = changed.split_at(64);
    fs::write(&sums, format!("{}{rest}", digest.chars().rev().collect::<String>())).unwrap();
    let place = [("ARCHIVES", archives.path().to_str().unwrap())];
    let (ended, _) = script("unpack.sh", &place);
    ended.expect(1);
    assert!(!archives.path().join("servegate").exists());
}
