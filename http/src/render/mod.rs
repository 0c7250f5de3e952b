//! Answers as bytes: XML, errors, times, addresses, and the body type that hyper takes.

pub mod error;
pub mod xml;
pub mod body;
pub mod time;
pub mod base_url;
