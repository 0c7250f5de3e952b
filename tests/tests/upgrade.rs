//! A store of format 2 under the release binary: refused by name and left untouched, upgraded when asked, and from then
//! on a store like others.

use std::fs;
use std::path::{Path, PathBuf};

use nilas_tests::golden::{GEOMETRY, from_text, path_of};
use nilas_tests::server::{Server, ServerOptions, fresh_directory, write_file};

/// Writes the committed store of version 2 to a file.
fn older_store(directory: &Path) -> PathBuf {
    let text = fs::read_to_string(path_of(2, "image")).expect("committed");
    let medium = from_text(&text).expect("lines of an image");
    let blocks = GEOMETRY.drive_bytes() / 4096;
    let image: Vec<u8> = (0..blocks).flat_map(|block| medium.block(block)).collect();
    let path = directory.join("older.nilas");
    write_file(&path, &image);
    path
}

fn options(drive: &Path, directory: &Path, arguments: &[&str]) -> ServerOptions {
    let mut options = ServerOptions::fresh().data(&directory.join("data"));
    options.drives = vec![drive.to_owned()];
    options.drive_size = None;
    options.arguments = arguments.iter().map(|argument| (*argument).into()).collect();
    options
}

fn keys(server: &Server) -> Vec<String> {
    let listed = server.client().list_all("red", "").expect("listed");
    listed.into_iter().map(|entry| entry.key).collect()
}

#[test]
fn an_older_store_is_upgraded_when_asked() {
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a directory");
    let drive = older_store(&directory);
    let before = fs::read(&drive).expect("written");

    let Err(refused) = Server::start(options(&drive, &directory, &[])) else {
        panic!("it is of an older format")
    };
    assert!(refused.stderr.contains("has format 2"), "{refused}");
    assert!(refused.stderr.contains("--upgrade"), "{refused}");
    assert!(fs::read(&drive).expect("still there") == before, "what is refused is left untouched");

    let mut server = Server::start(options(&drive, &directory, &["--upgrade"])).expect("upgraded");
    let said = server.stdout().join("\n");
    assert!(said.contains("upgraded the store from format 2 to 3"), "{said}");
    let held = keys(&server);
    assert!(held.contains(&"small/0".to_owned()) && held.contains(&"units".to_owned()), "{held:?}");
    let put = server.client().put("red", "new", b"of this version").expect("put");
    assert_eq!(put.status, 200, "{}", put.text());
    server.sigterm();

    // It is a store of this version now: nobody has to ask again, and asking changes nothing.
    for arguments in [&[][..], &["--upgrade"]] {
        let mut server = Server::start(options(&drive, &directory, arguments)).expect("it starts");
        let said = server.stdout().join("\n");
        assert!(!said.contains("upgraded"), "{said}");
        assert_eq!(keys(&server).len(), held.len() + 1);
        assert_eq!(server.client().get("red", "new").expect("get").body, b"of this version");
        server.sigterm();
    }
    fs::remove_dir_all(&directory).expect("ours");
}
