//! Who may do what: users, keys, policies and sessions, and what they are judged by.
//!
//! `session` seals and opens the tokens that carry a sender by themselves.

pub mod session;
