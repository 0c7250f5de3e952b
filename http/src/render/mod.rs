//! Answers as bytes: XML, errors, times, and the body type that hyper takes.

pub mod error;
pub mod xml;
pub mod body;
pub mod time;
