//! A socket's bytes ⇄ one call of the engine or the catalog.
//!
//! In path order: `process` starts the cores, `listen` accepts on each, `server` takes the request, `route` says what it
//! asks for, `auth` who asks, `body` turns the wire's bytes into payload, `s3` and the catalog carry it out, `render`
//! answers.

pub mod limits;
pub mod memory;
pub mod process;
pub mod listen;
mod hyper_io;
mod server;
pub mod root_key;
pub mod uri;
pub mod route;
pub mod auth;
pub mod body;
pub mod download;
pub mod s3;
pub mod admin;
pub mod render;
