//! What is kept of a bucket besides its objects: who may keep values there, and under which keys.
//!
//! `shard::local_bucket` binds every caller to one owner's keys. Pure: nothing here reads or writes.

pub mod values;
