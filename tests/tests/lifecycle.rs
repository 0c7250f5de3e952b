//! First start, second start, refusal to start, and stopping, on the release binary.

use std::fs;
use std::os::unix::fs::PermissionsExt;

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
fn first_start_makes_one_root_key_and_shows_it_once() {
    let mut server = start(without_key());
    let file = server.data().join("root.env");
    let mode = fs::metadata(&file).expect("root.env was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "root.env is readable to others");
    let (access, secret) = read_root_env(&file).expect("two lines");
    assert!(16 <= access.len() && 32 <= secret.len(), "a guessable key: {access} {}", secret.len());
    let printed = server.stdout().join("\n");
    assert!(printed.contains(&access) && printed.contains(&secret), "not printed: {printed}");
    let catalog = format!("catalog http://{}/_iceberg", server.address());
    assert!(server.stdout().contains(&catalog), "{printed}");
    assert!(server.stdout().contains(&format!("S3 http://{}", server.address())), "{printed}");
    assert_eq!(server.client().create_bucket("first").expect("create").status, 200);

    assert!(server.sigterm().is_some_and(|exit| exit.code() == Some(0)), "{}", server.stderr());
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let printed = server.stdout().join("\n");
    assert!(!printed.contains(&secret), "the secret is printed again: {printed}");
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

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let mut server = Server::fresh();
    let error = match Server::start(ServerOptions::fresh().data(server.data())) {
        Ok(_) => panic!("two servers share one data directory"),
        Err(error) => error,
    };
    assert!(error.exit.is_some_and(|exit| !exit.success()), "{error}");
    let said = error.stderr.to_lowercase();
    assert!(said.contains("in use") || said.contains("lock"), "no clear reason: {error}");
    assert_eq!(server.client().create_bucket("alive").expect("create").status, 200);
    server.kill9();
    server.restart().unwrap_or_else(|error| panic!("a killed server leaves a lock behind: {error}"));
}

#[test]
fn an_address_in_use_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let options = ServerOptions { address: address.clone(), ..ServerOptions::fresh() };
    let error = match Server::start(options) {
        Ok(_) => panic!("two listeners share one address"),
        Err(error) => error,
    };
    assert!(error.exit.is_some_and(|exit| !exit.success()), "{error}");
    assert!(error.stderr.contains(&address), "the address is not named: {error}");

    // Another store on the address must not get a share of its requests either.
    let first = Server::fresh();
    let options = ServerOptions { address: first.address().to_string(), ..ServerOptions::fresh() };
    assert!(Server::start(options).is_err(), "two stores answer on one address");
}

#[test]
fn a_drive_that_holds_something_else_is_refused() {
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let foreign = directory.join("foreign.img");
    for (what, head) in
        [("text", &b"dear diary, "[..]), ("zeros, then text", &[0; 4096]), ("ext4", &[0x53, 0xEF])]
    {
        let mut bytes = vec![0u8; 64 * MIB];
        bytes[..head.len()].copy_from_slice(head);
        bytes[1080..1082].copy_from_slice(&[0x53, 0xEF]);
        bytes[8 * KIB..8 * KIB + 12].copy_from_slice(b"do not touch");
        write_file(&foreign, &bytes);
        let options = ServerOptions { drives: vec![foreign.clone()], ..ServerOptions::fresh() };
        let error = match Server::start(options) {
            Ok(_) => panic!("{what}: a foreign drive was formatted"),
            Err(error) => error,
        };
        assert!(error.exit.is_some_and(|exit| !exit.success()), "{what}: {error}");
        assert!(error.stderr.contains("foreign.img"), "{what}: the drive is not named: {error}");
        assert!(fs::read(&foreign).expect("still there") == bytes, "{what}: the foreign drive was changed");
    }
    fs::remove_dir_all(&directory).expect("it was just made");
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
