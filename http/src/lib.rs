//! A socket's bytes ⇄ one call of the engine or the catalog.
//!
//! In path order: `process` starts the cores, `listen` accepts on each, `gateway` takes the request, `route` says what it
//! asks for, `auth` who asks and what they may do, `body` turns the wire's bytes into payload, `sse` encrypts what is to be, `s3` and the catalog
//! (behind `iceberg`) carry it out, `render` answers.

pub mod limits;
pub mod memory;
pub mod scrub;
mod readiness;
pub mod process;
pub mod source;
pub mod listen;
mod hyper_io;
mod server;
mod trail;
mod gateway;
pub mod head_fuzz;
mod forms;
pub mod throttle;
pub mod audit;
pub mod route;
mod operations;
mod generations;
pub mod bucket_name;
pub mod copy_source;
pub mod tag_set;
pub mod auth;
pub mod identity;
pub mod body;
pub mod sse;
pub mod download;
pub mod s3;
mod iceberg;
pub mod query;
pub mod pages;
mod people;
pub mod admin;
pub mod render;
