//! First start, second start, refusal to start, and stopping, on the release binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nilas_tests::client::Call;
use nilas_tests::rng::payload;
use nilas_tests::server::{Server, ServerOptions, fresh_directory, read_root_env, write_file};
use nilas_tests::sizes::{KIB, MIB};

fn without_key() -> ServerOptions {
    ServerOptions { root_key: None, ..ServerOptions::fresh() }
}

fn start(options: ServerOptions) -> Server {
    Server::start(options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn first_start_makes_one_root_key_and_says_where() {
    let mut server = start(without_key());
    let file = server.data().join("root.env");
    let mode = fs::metadata(&file).expect("root.env was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "root.env is readable to others");
    let (access, secret) = read_root_env(&file).expect("two lines");
    assert!(16 <= access.len() && 32 <= secret.len(), "a guessable key: {access} {}", secret.len());
    let printed = server.stdout().join("\n");
    assert!(printed.contains(&access) && printed.contains("root.env"), "not said: {printed}");
    // No terminal: what a service prints is kept in a log.
    assert!(!printed.contains(&secret), "the secret is printed: {printed}");
    let address = server.address();
    for line in ["S3 http://ADDRESS", "catalog http://ADDRESS/_iceberg"] {
        assert!(
            server.stdout().contains(&line.replace("ADDRESS", &address.to_string())),
            "{line}: {printed}"
        );
    }
    for (name, page) in [("metrics", "/metrics"), ("health", "/readyz")] {
        assert!(server.stdout().contains(&format!("{name} http://{address}{page}")), "{name}: {printed}");
        assert_eq!(server.client().send(&Call::get(page).unsigned()).expect("a page").status, 200, "{page}");
    }
    assert_eq!(server.client().create_bucket("first").expect("create").status, 200);

    assert!(server.sigterm().is_some_and(|exit| exit.code() == Some(0)), "{}", server.stderr());
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let printed = server.stdout().join("\n");
    assert!(!printed.contains(&secret), "the secret is printed: {printed}");
    assert!(!server.stderr().contains(&secret), "the secret is in the log");
    assert_eq!(read_root_env(&file), Some((access, secret)), "the key changed");
    assert_eq!(server.client().send(&Call::bucket("HEAD", "first")).expect("head").status, 200);
}

#[test]
fn the_environment_gives_the_root_key() {
    let server = Server::fresh();
    assert_eq!(server.client().send(&Call::get("/")).expect("list").status, 200);
    let (_, secret) = server.root_key();
    assert!(!server.stdout().join("\n").contains(secret), "a secret from the environment is printed");
    assert!(!server.stderr().contains(secret), "a secret from the environment is logged");
}

/// The start fails with exit code 1 and one line that says `reason`.
#[track_caller]
fn expect_refused(options: ServerOptions, what: &str, reason: &str) {
    let error = match Server::start(options) {
        Ok(_) => panic!("{what}: the server started"),
        Err(error) => error,
    };
    assert_eq!(error.exit.and_then(|exit| exit.code()), Some(1), "{what}: {error}");
    let last = error.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("nilas: ") && last.contains(reason), "{what}: {reason:?} is not said: {error}");
    let said = error.stderr.lines().filter(|line| !line.contains("RLIMIT_MEMLOCK")).count();
    assert_eq!((said, error.stdout.len()), (1, 0), "{what}: more than one line: {error}");
}

fn entries(directory: &Path) -> Vec<String> {
    let found = fs::read_dir(directory).into_iter().flatten().flatten();
    found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let mut server = Server::fresh();
    // Its own line only: both servers would log to the same file.
    let second = fresh_directory();
    fs::create_dir_all(&second).expect("a fresh directory");
    let drive = server.data().join("drive0.nilas");
    let options = ServerOptions { drives: vec![drive], ..ServerOptions::fresh().data(&second) };
    expect_refused(options, "the same drive", "in use");
    assert!(
        Server::start(ServerOptions::fresh().data(server.data())).is_err(),
        "two servers share a directory"
    );
    assert_eq!(server.client().create_bucket("alive").expect("create").status, 200);
    server.kill9();
    server.restart().unwrap_or_else(|error| panic!("a killed server leaves a lock behind: {error}"));
    assert_eq!(server.client().send(&Call::bucket("HEAD", "alive")).expect("head").status, 200);
}

#[test]
fn an_address_in_use_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let data = fresh_directory();
    let options = ServerOptions { address: address.clone(), ..without_key() }.data(&data);
    expect_refused(options, "an address in use", &address);
    // A key made by a start that failed was never shown; a drive was asked for by nobody.
    assert_eq!(entries(&data), Vec::<String>::new(), "a start that could not serve left something");

    // Another store on the address must not get a share of its requests either.
    let first = Server::fresh();
    let options = ServerOptions { address: first.address().to_string(), ..ServerOptions::fresh() };
    expect_refused(options, "the address of a server", "another process listens there");
    let absent = ServerOptions { address: "192.0.2.1:9000".to_owned(), ..ServerOptions::fresh() };
    expect_refused(absent, "an address of another machine", "192.0.2.1:9000");
}

#[test]
fn half_a_key_and_bad_keys_are_refused() {
    for (access, secret, reason) in [
        (Some("root"), None, "set both, or neither"),
        (None, Some("long enough"), "set both, or neither"),
        (Some("root"), Some(""), "set both, or neither"),
        (Some("root"), Some("short"), "NILAS_SECRET_KEY has 5 characters"),
        (Some("r"), Some("longenough"), "NILAS_ACCESS_KEY has 1 characters"),
        (Some("a/b"), Some("longenough"), "NILAS_ACCESS_KEY must be"),
        (Some("root"), Some("long enough"), "NILAS_SECRET_KEY must be"),
    ] {
        let data = fresh_directory();
        let given = [("NILAS_ACCESS_KEY", access), ("NILAS_SECRET_KEY", secret)];
        let environment =
            given.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())));
        let options = ServerOptions { environment: environment.collect(), ..without_key() }.data(&data);
        expect_refused(options, &format!("{given:?}"), reason);
        assert_eq!(entries(&data), Vec::<String>::new(), "{given:?}: something was made");
    }
}

#[test]
fn a_root_key_file_that_cannot_be_trusted_is_refused() {
    let mut server = start(without_key());
    assert_eq!(server.client().create_bucket("kept").expect("create").status, 200);
    let data = server.data().to_owned();
    let drives = vec![data.join("drive0.nilas")];
    assert!(server.sigterm().is_some());
    let file = data.join("root.env");
    let good = fs::read(&file).expect("root.env");
    // Other directories, so that each has a log of its own.
    let check = |what: &str, reason: &str, spoil: &dyn Fn(&Path)| {
        let directory = fresh_directory();
        fs::create_dir_all(&directory).expect("a fresh directory");
        let spoiled = directory.join("root.env");
        spoil(&spoiled);
        let before = fs::read(&spoiled).ok();
        let options = ServerOptions { drives: drives.clone(), ..without_key() }.data(&directory);
        expect_refused(options, what, reason);
        assert!(fs::read(&spoiled).ok() == before, "{what}: root.env was changed");
    };
    let write = |path: &Path, bytes: &[u8], mode: u32| {
        write_file(path, bytes);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its owner may");
    };
    check("readable to others", "chmod 600", &|path| write(path, &good, 0o644));
    check("writable to a group", "chmod 600", &|path| write(path, &good, 0o660));
    check("empty", "must have the lines", &|path| write(path, b"", 0o600));
    check("cut off", "must have the lines", &|path| write(path, &good[..good.len() / 2], 0o600));
    check("not text", "root.env", &|path| write(path, &[0xff, 0xfe, 0, 0x80], 0o600));
    check("a directory", "root.env", &|path| fs::create_dir(path).expect("a fresh name"));
    server.restart().unwrap_or_else(|error| panic!("the untouched key: {error}"));
    assert_eq!(server.client().send(&Call::bucket("HEAD", "kept")).expect("head").status, 200);
}

#[test]
fn a_drive_that_holds_something_else_is_refused() {
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let foreign = directory.join("foreign.img");
    for (what, spots) in [
        ("text", &[(0, &b"dear diary, "[..])][..]),
        ("a boot sector", &[(510, &[0x55, 0xAA])]),
        ("ext4", &[(1080, &[0x53, 0xEF])]),
        ("zeros, then text", &[(8 * KIB, b"do not touch")]),
        ("a copy of a partition table at the end", &[(64 * MIB - 512, b"EFI PART")]),
    ] {
        let mut bytes = vec![0u8; 64 * MIB];
        for (at, content) in spots {
            bytes[*at..*at + content.len()].copy_from_slice(content);
        }
        write_file(&foreign, &bytes);
        let options = ServerOptions { drives: vec![foreign.clone()], ..ServerOptions::fresh() };
        expect_refused(options, what, "foreign.img");
        assert!(fs::read(&foreign).expect("still there") == bytes, "{what}: the foreign drive was changed");
    }
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn a_drive_that_was_cut_short_is_refused() {
    let mut server = start(ServerOptions::fresh().drive_size("256MiB"));
    let body = payload("k", 1, 3 * MIB);
    let mut client = server.client();
    assert_eq!(client.create_bucket("cut").expect("create").status, 200);
    assert_eq!(client.put("cut", "k", &body).expect("put").status, 200);
    assert!(server.sigterm().is_some());
    let drive = server.data().join("drive0.nilas");
    let whole = fs::metadata(&drive).expect("the drive").len();
    for len in [whole - 4096, 200 * MIB as u64] {
        let file = fs::OpenOptions::new().write(true).open(&drive).expect("the drive");
        file.set_len(len).expect("a smaller file");
        drop(file);
        let directory = fresh_directory();
        let options =
            ServerOptions { drives: vec![drive.clone()], ..ServerOptions::fresh() }.data(&directory);
        expect_refused(options, &len.to_string(), &format!("{whole} are needed"));
        assert_eq!(fs::metadata(&drive).expect("the drive").len(), len, "the drive was changed");
    }
    // What was cut held nothing yet: with its length back, the store is whole.
    let file = fs::OpenOptions::new().write(true).open(&drive).expect("the drive");
    file.set_len(whole).expect("a larger file");
    drop(file);
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let got = server.client().get("cut", "k").expect("get");
    assert!(got.status == 200 && got.body == body, "{}", got.head);

    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    for len in [0, 100, MIB] {
        let small = directory.join("small.img");
        write_file(&small, &vec![0; len]);
        let options = ServerOptions { drives: vec![small.clone()], ..ServerOptions::fresh() };
        expect_refused(options, &format!("{len} bytes"), "small.img");
        assert_eq!(fs::metadata(&small).expect("still there").len(), len as u64);
    }
    // A drive that was made for a start that failed does not stand in the way of the next one.
    let options = ServerOptions::fresh().drive_size("1MiB").data(&directory.join("data"));
    expect_refused(options, "a size too small", "are needed");
    let options = ServerOptions::fresh().drive_size("1000000TiB").data(&directory.join("data2"));
    expect_refused(options, "a size no file has", "drive0.nilas");
    assert_eq!(entries(&directory.join("data2")), Vec::<String>::new(), "a drive without its size was left");
    start(ServerOptions::fresh().data(&directory.join("data")));
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn drives_stand_in_their_order() {
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let [a, b, c] = ["a.img", "b.img", "c.img"].map(|name| directory.join(name));
    for path in [&a, &b] {
        let file = fs::File::create_new(path).expect("a fresh name");
        file.set_len(256 * MIB as u64).expect("a sparse file");
    }
    let with = |drives: &[&PathBuf]| ServerOptions {
        drives: drives.iter().map(|drive| (*drive).clone()).collect(),
        ..ServerOptions::fresh()
    };
    let mut server = start(with(&[&a, &b]));
    assert_eq!(server.client().create_bucket("pair").expect("create").status, 200);
    assert!(server.sigterm().is_some());
    expect_refused(with(&[&b, &a]), "in the wrong order", "in their order");
    expect_refused(with(&[&a]), "one is missing", "number 1, counted from 0, is missing");
    expect_refused(with(&[&a, &c]), "another in its place", "c.img is blank");
    assert!(!c.exists(), "a drive file was left where a drive is missing");
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.client().send(&Call::bucket("HEAD", "pair")).expect("head").status, 200);
    drop(server);
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn drives_that_are_not_the_stores_are_named() {
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let absent = PathBuf::from("/dev/nilas-no-such-device");
    let options = ServerOptions { drives: vec![absent.clone()], ..ServerOptions::fresh() };
    expect_refused(options, "a device that is not there", "/dev/nilas-no-such-device is missing");
    assert!(!absent.exists(), "a file was made among the devices");

    let [a, b, other] = ["a.img", "b.img", "other.img"].map(|name| directory.join(name));
    for path in [&a, &b, &other] {
        let file = fs::File::create_new(path).expect("a fresh name");
        file.set_len(256 * MIB as u64).expect("a sparse file");
    }
    let with = |drives: &[&PathBuf]| ServerOptions {
        drives: drives.iter().map(|drive| (*drive).clone()).collect(),
        ..ServerOptions::fresh()
    };
    drop(start(with(&[&a, &b])));
    drop(start(with(&[&other])));
    expect_refused(with(&[&a, &other]), "a drive of another store", "other.img: store id is");
    expect_refused(with(&[&b, &a]), "swapped drives", "b.img: drive number is 1, expected 0");
    expect_refused(
        with(&[&b]),
        "the first is missing",
        "b.img belongs to a store of 2 drives, 1 given: number 0, counted from 0, is missing",
    );
    let file = fs::OpenOptions::new().write(true).open(&b).expect("a drive");
    file.set_len(200 * MIB as u64).expect("a smaller file");
    expect_refused(
        with(&[&a, &b]),
        "a shrunk drive",
        &format!("b.img has {} bytes, {} are needed", 200 * MIB, 256 * MIB),
    );
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn data_in_memory_is_refused() {
    let shared = Path::new("/dev/shm");
    assert!(shared.is_dir(), "/dev/shm is missing: mount a tmpfs there");
    // A file in place of a directory of this process: nobody else has the name.
    let data = shared.join(format!("nilas-test-{}", std::process::id()));
    let log = data.with_extension("log");
    expect_refused(without_key().data(&data), "tmpfs", "tmpfs");
    assert_eq!(entries(&data), Vec::<String>::new(), "something was made in memory");
    let drive = data.join("made-by-hand.img");
    fs::create_dir_all(&data)
        .and_then(|()| fs::File::create(&drive)?.set_len(256 << 20))
        .expect("a sparse file");
    expect_refused(ServerOptions { drives: vec![drive], ..without_key() }, "a drive file on tmpfs", "tmpfs");
    fs::remove_dir_all(&data).and_then(|()| fs::remove_file(&log)).expect("they were just made");
}

#[test]
fn a_data_directory_that_is_none_is_refused() {
    let file = fresh_directory();
    write_file(&file, b"a file");
    expect_refused(without_key().data(&file), "a file", "not a directory");
    assert_eq!(fs::read(&file).expect("still there"), b"a file");
    fs::remove_file(file).expect("it was just made");
}

#[test]
fn unknown_arguments_are_refused() {
    let options = ServerOptions { arguments: vec!["--no-such-option".into()], ..ServerOptions::fresh() };
    let error = Server::start(options).err().unwrap_or_else(|| panic!("an unknown option was taken"));
    assert!(
        error.exit.is_some_and(|exit| !exit.success()) && error.stderr.contains("no-such-option"),
        "{error}"
    );
}

#[test]
fn an_orderly_stop_finishes_what_runs_and_keeps_everything() {
    let mut server = Server::fresh();
    let mut client = server.client();
    assert_eq!(client.create_bucket("stop").expect("create").status, 200);
    for len in [0, 1000, 300 * KIB, 6 * MIB] {
        let key = len.to_string();
        assert_eq!(client.put("stop", &key, &payload(&key, 1, len)).expect("put").status, 200);
    }
    // An idle keep-alive connection (the client's own) must not hold the stop up.
    let from = std::time::Instant::now();
    let exit = server.sigterm().unwrap_or_else(|| panic!("no stop: {}", server.stderr()));
    assert_eq!(exit.code(), Some(0), "{}", server.stderr());
    assert!(from.elapsed().as_secs() < 15, "stop took {:?}", from.elapsed());
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    for len in [0, 1000, 300 * KIB, 6 * MIB] {
        let key = len.to_string();
        let got = server.client().get("stop", &key).expect("get");
        assert!(got.status == 200 && got.body == payload(&key, 1, len), "{key}: {}", got.status);
    }
}

#[test]
fn an_orderly_stop_lets_uploads_end() {
    let mut server = Server::fresh();
    // One bucket per shard, more or less: the connection's core owns some of them, another core the others.
    let buckets: Vec<String> = (0..8).map(|at| format!("stop{at}")).collect();
    let mut client = server.client();
    let body = payload("k", 1, 3 * MIB);
    let mut open = Vec::new();
    for bucket in &buckets {
        assert_eq!(client.create_bucket(bucket).expect("create").status, 200);
        let bytes = client.encode(&Call::object("PUT", bucket, "k").body(&body)).bytes();
        let mut raw = client.raw().expect("connect");
        raw.write(&bytes[..MIB]).expect("write");
        open.push((raw, bytes));
    }
    std::thread::sleep(Duration::from_millis(300));
    let exit = std::thread::scope(|scope| {
        let stop = scope.spawn(|| server.sigterm());
        std::thread::sleep(Duration::from_millis(500));
        for (raw, bytes) in &mut open {
            raw.write(&bytes[MIB..]).expect("a stop does not cut uploads");
            let response = raw.read("PUT").expect("an answer");
            assert_eq!(response.status, 200, "{}", response.text());
        }
        stop.join().expect("no panic")
    });
    assert_eq!(exit.and_then(|exit| exit.code()), Some(0), "{}", server.stderr());
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    for bucket in &buckets {
        let got = server.client().get(bucket, "k").expect("get");
        assert!(got.status == 200 && got.body == body, "{bucket}: {}", got.head);
    }
}

#[test]
fn restarts_keep_the_data_any_number_of_times() {
    let mut server = Server::fresh();
    assert_eq!(server.client().create_bucket("again").expect("create").status, 200);
    for round in 0..4 {
        let key = format!("k{round}");
        assert_eq!(server.client().put("again", &key, key.as_bytes()).expect("put").status, 200);
        if round % 2 == 0 {
            server.kill9();
        } else {
            assert!(server.sigterm().is_some());
        }
        server.restart().unwrap_or_else(|error| panic!("{error}"));
        let listed = server.client().list_all("again", "").expect("list");
        assert_eq!(listed.len(), round + 1);
    }
}

#[test]
fn a_data_directory_remembers_its_drives() {
    let directory = fresh_directory();
    let data = directory.join("data");
    fs::create_dir_all(&data).expect("a fresh directory");
    let [a, b] = ["a.img", "b.img"].map(|name| directory.join(name));
    let on = |drives: &[&PathBuf]| {
        let drives = drives.iter().map(|drive| (*drive).clone()).collect();
        ServerOptions { drives, ..ServerOptions::fresh().data(&data).drive_size("256MiB") }
    };
    // A directory of its own: the server's log goes by it.
    let twice = ServerOptions { drives: vec![a.clone(), a.clone()], ..ServerOptions::fresh() };
    expect_refused(twice.drive_size("256MiB"), "one drive twice", "named twice");
    assert!(!a.exists(), "a refused start left its drive behind");
    let mut server = start(on(&[&a]));
    assert_eq!(server.client().create_bucket("kept").expect("create").status, 200);
    assert!(server.sigterm().is_some());
    // Forgotten: the same store all the same.
    let mut server = start(on(&[]));
    assert_eq!(server.client().send(&Call::bucket("HEAD", "kept")).expect("head").status, 200);
    assert!(server.sigterm().is_some());
    assert!(!data.join("drive0.nilas").exists(), "a new store was made beside the old one");
    // Mistyped: no new, empty store.
    expect_refused(on(&[&b]), "another drive", "belongs to a store on other drives");
    assert!(!b.exists(), "a refused start made a drive");
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn a_killed_server_starts_again_at_once_on_its_port() {
    let mut server = Server::fresh();
    let address = server.address();
    let mut client = server.client();
    assert_eq!(client.create_bucket("kept").expect("create").status, 200);
    server.kill9();
    let data = server.data().to_owned();
    for _ in 0..5 {
        let mut again =
            start(ServerOptions { address: address.to_string(), ..ServerOptions::fresh().data(&data) });
        assert_eq!(again.client().send(&Call::bucket("HEAD", "kept")).expect("head").status, 200);
        again.kill9();
    }
}

/// Places of the log blocks of a shard in a drive, in order. A log block begins with its magic and its shard.
fn log_blocks(drive: &[u8], shard: u16) -> Vec<usize> {
    let [low, high] = shard.to_le_bytes();
    let begins = |at: &usize| drive[*at..].starts_with(&[b'N', b'B', b'L', b'K', low, high, 0, 0]);
    (0..drive.len()).step_by(4096).filter(begins).collect()
}

#[test]
fn a_damaged_directory_leaves_a_store_that_can_be_read() {
    let mut server = start(ServerOptions::fresh().drive_size("256MiB"));
    let mut client = server.client();
    assert_eq!(client.create_bucket("before").expect("create").status, 200);
    assert_eq!(client.put("before", "kept", b"still here").expect("put").status, 200);
    assert_eq!(client.create_bucket("behind").expect("create").status, 200);
    assert_eq!(client.create_bucket("later").expect("create").status, 200);
    server.kill9();
    let path = server.data().join("drive0.nilas");
    let mut drive = fs::read(&path).expect("the drive");
    let blocks = log_blocks(&drive, 0);
    assert!(4 <= blocks.len(), "a bucket, an object and two buckets: {blocks:?}");
    // The block that made the second bucket.
    drive[blocks[2] + 100] ^= 1;
    fs::write(&path, &drive).expect("the drive");

    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let mut client = server.client();
    assert_eq!(client.get("before", "kept").expect("get").body, b"still here");
    let unknown = [("before", "absent"), ("behind", "any"), ("never", "any")];
    for (bucket, key) in unknown {
        let answer = client.get(bucket, key).expect("get");
        assert_eq!(answer.status, 503, "{bucket}/{key} is called absent");
    }
    let listing = Call::bucket("GET", "before").query("list-type", "2");
    for call in [Call::get("/"), listing] {
        assert_eq!(client.send(&call).expect("list").status, 503, "{call:?}");
    }
    assert_eq!(client.put("before", "kept", b"new").expect("put").status, 503);
    assert_eq!(client.create_bucket("new").expect("create").status, 503);
    assert_eq!(client.delete("before", "kept").expect("delete").status, 503);
    assert_eq!(client.get("before", "kept").expect("get").body, b"still here");
    assert_eq!(server.metric("nilas_shard_read_only", "shard=\"0\""), 1);
    assert!(server.sigterm().is_some_and(|exit| exit.code() == Some(0)), "{}", server.stderr());
    let said = server.stderr();
    let reason = said.lines().find(|line| line.contains("shard 0 takes no writes")).unwrap_or_default();
    assert!(reason.contains("drive0.nilas") && reason.contains("log block before a later one"), "{said}");
}
