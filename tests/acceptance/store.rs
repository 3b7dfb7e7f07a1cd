//! Baselines in a store: many writers, writers that are killed, stores that refuse. What is said of
//! a bucket is seen on a server that speaks S3 with signatures, rights and conditional writes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::world::{Ended, TINY, World, ended, part, signal};

const WRITERS: usize = 8;

/// Entries that all writers add together.
const ENTRIES: usize = 1000;

/// The failpoint: dead after this many listings, reads and writes.
const CRASH_AFTER: &str = "SERVEGATE_CRASH_AFTER_STORE_STEP";

/// A server of the part `s3`; it ends with its standard input.
struct Server {
    child: Child,
    told: Value,
}

impl Server {
    /// Starts one; none where the part is missing, which is said.
    fn start(test: &str) -> Option<Self> {
        let part = part(&format!("store::{test}"), "s3")?;
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/parts/s3_server.py");
        let mut child = Command::new(part.join("bin/python"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let line = stdout.lines().next().expect("the server says where it listens").unwrap();
        Some(Self { child, told: serde_json::from_str(&line).expect("JSON") })
    }

    fn port(&self) -> u16 {
        u16::try_from(self.told["port"].as_u64().unwrap()).unwrap()
    }

    fn place(&self) -> Place {
        let bucket = self.told["bucket"].as_str().unwrap();
        self.as_user("writer", self.port()).at(&format!("s3://{bucket}/team"))
    }

    /// The store as a user sees it through a port.
    fn as_user(&self, user: &str, port: u16) -> Place {
        let told = |what: &str| self.told["users"][user][what].as_str().unwrap().to_owned();
        let bucket = self.told["bucket"].as_str().unwrap();
        Place {
            url: format!("s3://{bucket}/team"),
            variables: vec![
                ("AWS_ACCESS_KEY_ID".to_owned(), told("id")),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), told("secret")),
                ("AWS_ENDPOINT_URL".to_owned(), format!("http://127.0.0.1:{port}")),
                ("AWS_ALLOW_HTTP".to_owned(), "true".to_owned()),
            ],
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        signal(&self.child, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A store, and the environment that opens it.
#[derive(Clone)]
struct Place {
    url: String,
    variables: Vec<(String, String)>,
}

impl Place {
    /// A folder of a world, made.
    fn folder(world: &World) -> Self {
        let folder = world.path().join("store");
        fs::create_dir_all(&folder).unwrap();
        Self { url: format!("file://{}", folder.display()), variables: Vec::new() }
    }

    fn at(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, world: &World, args: &[&str]) -> Command {
        let mut command = world.command(args);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        // Proxies are not asked for what is on this machine.
        command.env("NO_PROXY", "127.0.0.1");
        command.env("SERVEGATE_STORE", &self.url).envs(self.variables.iter().cloned());
        command
    }

    fn run(&self, world: &World, args: &[&str]) -> Ended {
        ended(world.start(self.command(world, args)))
    }

    /// What `baseline list` says, which must be able to read everything.
    #[track_caller]
    fn list(&self, world: &World) -> String {
        let listed = self.run(world, &["baseline", "list"]).expect(0);
        assert!(!listed.stdout.contains("UNUSABLE"), "{}", listed.transcript());
        listed.stdout
    }
}

/// A world with a session of one key.
fn measured() -> World {
    let world = World::new();
    world.run(&[&["bench"], TINY].concat()).expect(0);
    world
}

fn key(world: &World, place: &Place) -> String {
    place.list(world).split('\t').next().unwrap().to_owned()
}

/// Has eight writers accept at once, each in a process a time, until there are so many entries.
fn write_at_once(place: &Place, entries: usize) {
    let worlds: Vec<World> = (0..2).map(|_| measured()).collect();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let world = &worlds[writer % worlds.len()];
            scope.spawn(move || {
                for entry in (writer..entries).step_by(WRITERS) {
                    let reason = format!("writer {writer} entry {entry}");
                    let accept = ["baseline", "accept", "--reason", &reason];
                    place.run(world, &accept).expect(0);
                }
            });
        }
    });
    let world = &worlds[0];
    let listed = place.list(world);
    assert!(listed.contains(&format!("\t{entries} accepted sessions")), "{listed}");
    let shown = place.run(world, &["baseline", "show", &key(world, place)]).expect(0).stdout;
    let told = shown.lines().filter(|line| line.contains("writer ")).count();
    assert_eq!(told, entries.min(500), "{shown}");
    // Both sessions stand in it, each once, however often it was accepted.
    let history = place.run(world, &["baseline", "history", &key(world, place)]).expect(0);
    assert!(history.stdout.contains(": 2 sessions"), "{}", history.transcript());
}

#[test]
fn eight_writers_at_once_lose_nothing_in_a_bucket() {
    let Some(server) = Server::start("eight_writers_at_once_lose_nothing_in_a_bucket") else {
        return;
    };
    write_at_once(&server.place(), ENTRIES);
}

#[test]
fn eight_writers_at_once_lose_nothing_in_a_folder() {
    let world = World::new();
    write_at_once(&Place::folder(&world), ENTRIES / 10);
}

/// Kills a writer after each of its steps, and has another one do the rest.
fn kill_after_every_step(place: &Place) {
    let world = World::new();
    let profiles = ["--profile", "smoke", "--profile", "random-256-256"];
    let two_keys = [&["bench", "--dataset-name", "random-ids"], &profiles[..]].concat();
    world.run(&[&two_keys, TINY].concat()).expect(0);
    for step in 1.. {
        let mut command = place.command(&world, &["baseline", "accept", "--reason", "r"]);
        let writer = ended(world.start({
            command.env(CRASH_AFTER, step.to_string());
            command
        }));
        let keys = place.list(&world).lines().count();
        if writer.code.is_some() {
            writer.expect(0);
            assert_eq!((step, keys), (3, 2), "a write for each of two keys");
            break;
        }
        assert_eq!(keys, step.min(2));
    }
    let listed = place.list(&world);
    // The first key by its three attempts, the second by two: each whole.
    assert!(listed.contains("\t3 accepted") && listed.contains("\t2 accepted"), "{listed}");
    for key in listed.lines().map(|line| line.split('\t').next().unwrap()) {
        let history = place.run(&world, &["baseline", "history", key]).expect(0);
        assert!(history.stdout.contains(": 1 session\n"), "{}", history.transcript());
    }
}

#[test]
fn a_writer_killed_after_any_step_leaves_no_half_entry_in_a_folder() {
    let world = World::new();
    kill_after_every_step(&Place::folder(&world));
}

#[test]
fn a_writer_killed_after_any_step_leaves_no_half_entry_in_a_bucket() {
    let test = "a_writer_killed_after_any_step_leaves_no_half_entry_in_a_bucket";
    let Some(server) = Server::start(test) else { return };
    kill_after_every_step(&server.place());
}

#[test]
fn a_writer_killed_in_the_middle_of_a_write_leaves_nothing_in_a_folder() {
    let world = measured();
    let place = Place::folder(&world);
    // The kernel kills whoever writes more than this many blocks to a file.
    for blocks in [1, 2, 4] {
        let accept = place.command(&world, &["baseline", "accept"]);
        let mut shell = Command::new("bash");
        let limited = format!("ulimit -c 0 -f {blocks}; exec \"$0\" \"$@\"");
        shell.args(["-c", &limited]).arg(accept.get_program()).args(accept.get_args());
        shell.current_dir(world.path());
        for (name, value) in accept.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let killed = ended(world.start(shell));
        assert_eq!(killed.code, None, "{blocks}: {}", killed.transcript());
        let listed = place.list(&world);
        assert_eq!(listed, "", "{blocks}");
    }
    place.run(&world, &["baseline", "accept"]).expect(0);
    assert!(place.list(&world).contains("\t1 accepted"));
}

/// Passes bytes on to `port` until so many have come from one client; then it kills, closes, and
/// is done.
fn pass_on(listener: &TcpListener, port: u16, most: usize, kill: impl FnOnce()) {
    let (mut client, _) = listener.accept().unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut left = most;
    let mut buffer = [0; 512];
    while 0 < left {
        let want = buffer.len().min(left);
        let got = client.read(&mut buffer[..want]).unwrap();
        assert_ne!(got, 0, "the write is longer than {most} bytes");
        server.write_all(&buffer[..got]).unwrap();
        left -= got;
    }
    kill();
}

#[test]
fn a_writer_killed_in_the_middle_of_a_write_leaves_nothing_in_a_bucket() {
    let test = "a_writer_killed_in_the_middle_of_a_write_leaves_nothing_in_a_bucket";
    let Some(server) = Server::start(test) else { return };
    let world = measured();
    // In the head of the request, at the start of its body, and well within it.
    for bytes in [100, 1500, 4000] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let through = server.as_user("writer", listener.local_addr().unwrap().port());
        let accept = ["baseline", "accept", "--reason", "r"];
        let writer = world.start(through.command(&world, &accept));
        pass_on(&listener, server.port(), bytes, || signal(&writer, Signal::SIGKILL));
        assert_eq!(ended(writer).code, None);
        assert_eq!(server.place().list(&world), "", "{bytes}");
    }
    server.place().run(&world, &["baseline", "accept"]).expect(0);
    assert!(server.place().list(&world).contains("\t1 accepted"));
}

/// A transcript without what differs from run to run.
fn lasting(ended: &Ended, world: &World) -> String {
    let text = ended.transcript().replace(&world.path().display().to_string(), "WORLD");
    let session = world.sessions().pop().unwrap();
    let session = session.file_name().unwrap().to_string_lossy();
    // What was measured stands in a table, which has two lines before it.
    let is_table = |line: &str| line.starts_with(' ') && !line.trim_start().starts_with("cause");
    let lines = text.lines().filter(|line| !is_table(line) && !line.starts_with('─'));
    lines.map(|line| line.replace(&*session, "SESSION") + "\n").collect()
}

/// A snapshot without the digests of keys, which tell machines apart.
fn snapshot(name: &str, said: &str) {
    insta::with_settings!({ filters => vec![
        (r"(native[@-])[0-9a-f]{12}", "${1}KEY"),
        (r"[0-9T]{15}\.[0-9]{3}Z-SESSION-[0-9a-f]{16}", "TIME-SESSION-DIGEST"),
        (r" +\n", "\n"),
    ] }, { insta::assert_snapshot!(name, said) });
}

/// Every command that uses a store, on one that refuses: what each says and how it ends.
fn refused(world: &World, place: &Place) -> String {
    let bench = [&["bench", "--gate"], TINY].concat();
    let ab = [&["ab"], TINY].concat();
    let commands: [(&[&str], i32); 7] = [
        (&["gate"], 4),
        (&["gate", "--require-baseline", "--strict"], 4),
        (&bench, 4),
        (&ab, 4),
        (&["baseline", "list"], 4),
        (&["baseline", "show", "a/b/c/native@0"], 4),
        (&["baseline", "accept"], 4),
    ];
    let before = world.sessions().len();
    let mut said = String::new();
    for (args, code) in commands {
        let ended = place.run(world, args).expect(code);
        said += &format!("$ servegate {}\n{}\n", args.join(" "), lasting(&ended, world));
    }
    assert_eq!(world.sessions().len(), before, "nothing was measured that cannot be judged");
    for (name, value) in &place.variables {
        let secret = name.contains("SECRET") || name.contains("TOKEN");
        assert!(!secret || !said.contains(value), "{said}");
    }
    said
}

#[test]
fn a_bucket_that_refuses_is_a_clear_error_and_never_a_missing_baseline() {
    let test = "a_bucket_that_refuses_is_a_clear_error_and_never_a_missing_baseline";
    let Some(server) = Server::start(test) else { return };
    let world = measured();
    let nobody = server.as_user("nobody", server.port());
    snapshot("no_rights", &refused(&world, &nobody));

    let mut said = String::new();
    let mut one = |what: &str, place: &Place, args: &[&str]| {
        let ended = place.run(&world, args).expect(4);
        let transcript = lasting(&ended, &world).replace(&server.port().to_string(), "PORT");
        said += &format!("# {what}\n$ servegate {}\n{transcript}\n", args.join(" "));
    };
    let writer = server.place();
    one(
        "a wrong secret",
        &writer.clone().with("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
        &["gate"],
    );
    one("no such bucket", &writer.at("s3://elsewhere/team"), &["gate"]);
    let reader = server.as_user("reader", server.port());
    assert_eq!(reader.list(&world), "");
    one("may read only", &reader, &["baseline", "accept"]);
    snapshot("other_refusals", &said);
    assert!(!said.contains("hunter2"));
}

#[test]
fn a_store_that_cannot_be_reached_is_a_clear_error_too() {
    let world = measured();
    let place = Place { url: "s3://bucket".to_owned(), variables: Vec::new() }
        .with("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .with("AWS_ALLOW_HTTP", "true")
        .with("AWS_ACCESS_KEY_ID", "AKIAHUNTER2")
        .with("AWS_SECRET_ACCESS_KEY", "hunter2hunter2");
    let unreachable = place.run(&world, &["baseline", "list"]).expect(4);
    assert!(!unreachable.transcript().contains("unter2"), "{}", unreachable.transcript());
    // A machine without credentials asks its cloud for some.
    let none = Place { url: "s3://bucket".to_owned(), variables: Vec::new() }
        .with("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1/latest/meta-data");
    let none = none.run(&world, &["baseline", "list"]).expect(4);
    // A network file system that is not mounted.
    let folder = format!("file://{}/not/mounted", world.path().display());
    let folder = Place { url: folder, variables: Vec::new() }.run(&world, &["gate"]).expect(4);
    let said = [unreachable, none, folder].map(|ended| lasting(&ended, &world)).join("\n");
    snapshot("unreachable", &said);
}

#[test]
fn what_is_no_store_is_refused_before_anything_is_touched_and_not_repeated() {
    let world = World::new();
    let mut said = String::new();
    for url in ["baselines", "https://host/x", "s3://key:hunter2@bucket", "az://c?sig=hunter2"] {
        let commands: [&[&str]; 3] = [&["bench", "--gate"], &["gate"], &["baseline", "list"]];
        for args in commands {
            let ended = world.run(&[args, &["--store", url]].concat());
            if args[0] != "gate" {
                said += &ended.transcript();
            }
            // A gate without a session says that first.
            ended.expect(64);
        }
    }
    assert!(!said.contains("hunter2"), "{said}");
    assert!(world.is_untouched());
    insta::assert_snapshot!(said);
}

#[test]
fn a_pull_request_reads_and_does_not_write() {
    let world = measured();
    let place = Place::folder(&world);
    let refused = |place: &Place, args: &[&str]| {
        let ended = place.run(&world, &[&["baseline", "accept"], args].concat()).expect(64);
        assert_eq!(place.list(&world), "");
        ended.stderr.replace(&world.path().display().to_string(), "WORLD")
    };
    let mut said = refused(&place, &["--store-read-only"]);
    for event in ["pull_request", "pull_request_target"] {
        said += &refused(&place.clone().with("GITHUB_EVENT_NAME", event), &[]);
    }
    insta::assert_snapshot!(said);
    place.clone().with("GITHUB_EVENT_NAME", "push").run(&world, &["baseline", "accept"]).expect(0);
    let judged = place.with("GITHUB_EVENT_NAME", "pull_request").run(&world, &["gate"]).expect(0);
    assert!(judged.stdout.contains("INCONCLUSIVE"), "{}", judged.transcript());
}

#[test]
fn a_store_judges_as_the_folder_in_the_repository_does() {
    let world = measured();
    let place = Place::folder(&world);
    let missing = place.run(&world, &["gate", "--require-baseline"]).expect(3);
    assert!(missing.stdout.contains("no stored run"), "{}", missing.transcript());
    world.run(&["baseline", "accept"]).expect(0);
    place.run(&world, &["baseline", "accept"]).expect(0);
    for _ in 0..2 {
        world.run(&[&["bench", "--runs", "3"], TINY].concat()).expect(0);
        world.run(&["baseline", "accept", "--reason", "r"]).expect(0);
        place.run(&world, &["baseline", "accept", "--reason", "r"]).expect(0);
    }
    for args in [&["gate", "--json"][..], &["gate", "--json", "--allow-stored"]] {
        let (folder, store) = (world.run(args), place.run(&world, args));
        assert_eq!(folder.code, store.code);
        assert_eq!(folder.stdout, store.stdout);
    }
    let key = key(&world, &place);
    let show = ["baseline", "show", &key];
    let values = |ended: Ended| {
        let shown = ended.expect(0).stdout;
        let lines = shown.lines().filter(|line| !line.starts_with("accepted"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(values(world.run(&show)), values(place.run(&world, &show)));
    let history = ["baseline", "history", &key];
    assert_eq!(world.run(&history).expect(0).stdout, place.run(&world, &history).expect(0).stdout);
    let gated = [&["bench", "--gate", "--runs", "3"], TINY].concat();
    let gated = place.run(&world, &gated);
    assert!(gated.stdout.contains("stored sessions"), "{}", gated.transcript());
    assert!(world.journal()[0]["request"]["options"]["store"] == place.url.as_str());
    let plan = place.run(&world, &[&["plan"], TINY].concat()).expect(0);
    assert!(plan.stdout.contains(&key), "{}", plan.transcript());
}

/// Copies the files of a world with three accepted sessions into a store, and back again.
fn copy_into(place: &Place) {
    let world = measured();
    world.run(&["baseline", "accept"]).expect(0);
    for _ in 0..2 {
        world.run(&[&["bench", "--runs", "3"], TINY].concat()).expect(0);
        world.run(&["baseline", "accept", "--reason", "r"]).expect(0);
    }
    // One of them is there already, as it was accepted there.
    place.run(&world, &["baseline", "accept", "--reason", "r"]).expect(0);
    let files = || tree(&world.path().join("results/baselines"));
    let before = files();
    let to = ["baseline", "copy", "--to", &place.url];
    let elsewhere = place.clone().at("file:///nowhere");
    let copied = elsewhere.run(&world, &to).expect(0).stdout;
    assert!(copied.contains("2 sessions copied, 1 already there: "), "{copied}");
    assert_eq!(copied.matches(": copied\n").count(), 2, "{copied}");
    let key = key(&world, place);
    assert!(place.list(&world).contains("3 accepted sessions"), "{}", place.list(&world));
    let again = place.run(&world, &["baseline", "copy"]).expect(0).stdout;
    assert!(again.contains("0 sessions copied, 3 already there: "), "{again}");
    for args in [&["gate", "--json"][..], &["baseline", "history", &key]] {
        assert_eq!(world.run(args).stdout, place.run(&world, args).stdout, "{args:?}");
    }
    assert_eq!(files(), before, "the files are left as they are");
}

/// Names and contents below a folder.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn baselines_kept_as_files_are_copied_into_a_folder() {
    let elsewhere = World::new();
    copy_into(&Place::folder(&elsewhere));
}

#[test]
fn baselines_kept_as_files_are_copied_into_a_bucket() {
    let test = "baselines_kept_as_files_are_copied_into_a_bucket";
    let Some(server) = Server::start(test) else { return };
    copy_into(&server.place());
}

#[test]
fn a_copy_that_may_not_or_cannot_be_made_copies_nothing() {
    let world = measured();
    let place = Place::folder(&world);
    let mut said = String::new();
    let mut refused = |place: &Place, args: &[&str], code| {
        let ended = place.run(&world, &[&["baseline", "copy"], args].concat()).expect(code);
        assert_eq!(place.list(&world), "", "nothing was copied");
        said += &ended.stderr.replace(&world.path().display().to_string(), "WORLD");
    };
    refused(&place, &[], 64);
    world.run(&["baseline", "accept"]).expect(0);
    refused(&place.clone().with("GITHUB_EVENT_NAME", "pull_request"), &[], 64);
    refused(&place, &["--store-read-only"], 64);
    fs::write(world.path().join("results/baselines/zz.json"), "{").unwrap();
    refused(&place, &[], 4);
    said += &world.run(&["baseline", "copy"]).expect(64).stderr;
    insta::assert_snapshot!(said);
}

#[test]
fn a_store_that_a_comparison_would_not_read_is_refused() {
    let world = measured();
    let refused = world.run(&["compare", "--store", "file:///nowhere"]).expect(64);
    insta::assert_snapshot!(refused.stderr);
    let place = Place::folder(&world).at("file:///nowhere");
    place.run(&world, &["compare"]).expect(0);
}

#[test]
fn runs_that_a_fleet_brings_are_judged_by_the_store() {
    let world = measured();
    let place = Place::folder(&world);
    let fan_in = ["compare", "--from", "results", "--require-baseline"];
    let missing = place.run(&world, &fan_in).expect(3);
    assert!(missing.stdout.contains("no stored run"), "{}", missing.transcript());
    place.run(&world, &["baseline", "accept"]).expect(0);
    let judged = place.run(&world, &fan_in).expect(0);
    assert!(!judged.stdout.contains("no stored run"), "{}", judged.transcript());
    let unreachable = Place { url: "s3://bucket".to_owned(), variables: Vec::new() }
        .with("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .with("AWS_ALLOW_HTTP", "true")
        .with("AWS_ACCESS_KEY_ID", "id")
        .with("AWS_SECRET_ACCESS_KEY", "hunter2hunter2");
    let broken = unreachable.run(&world, &fan_in).expect(4);
    assert!(broken.stdout.contains("the store `s3://bucket`"), "{}", broken.transcript());
}

#[test]
fn an_object_that_was_changed_or_comes_from_the_future_is_not_judged_by() {
    let world = measured();
    let place = Place::folder(&world);
    place.run(&world, &["baseline", "accept"]).expect(0);
    let folder = fs::read_dir(world.path().join("store/baselines")).unwrap().next().unwrap();
    let file = fs::read_dir(folder.unwrap().path()).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&file).unwrap();
    let gate = |wanted: i32| {
        let judged = place.run(&world, &["gate"]).expect(wanted);
        judged.stdout
    };

    fs::write(&file, &text[..text.len() / 2]).unwrap();
    assert!(gate(4).contains("digest"), "{}", gate(4));
    let plan = place.run(&world, &[&["plan"], TINY].concat()).expect(0);
    assert!(plan.stdout.contains("cannot look ahead by it"), "{}", plan.transcript());

    // One that a later version wrote bears its own digest.
    let later = text.replacen("\"schema\": 1", "\"schema\": 9", 1);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    fs::remove_file(&file).unwrap();
    let (start, _) = name.rsplit_once('-').unwrap();
    fs::write(file.with_file_name(format!("{start}-{}.json", digest(&later))), later).unwrap();
    assert!(gate(3).contains("format 9"), "{}", gate(3));

    // What else lies about in the folder is none of ours.
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file.with_file_name("notes.txt"), "not ours").unwrap();
    fs::write(file.with_file_name(format!("{name}#1")), "half").unwrap();
    assert_eq!(place.list(&world), "");
    place.run(&world, &["gate"]).expect(0);
}

/// The first digits of SHA-256, by the system's own tool.
fn digest(text: &str) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha256sum");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..16].to_owned()
}
