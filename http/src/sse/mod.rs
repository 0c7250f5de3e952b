//! Encryption of objects at rest: keys, and the frames that encrypted bytes lie in.
//!
//! In the order of a key's way down: `master` reads the keys that the operator gives, `keys` has the named keys that are sealed
//! under them, `store` keeps those among the store's own values, `seal` seals a key under another, `stored` is what is kept with an
//! object of how it is encrypted, `units` encrypts and opens its bytes. `s3::encryption` says by these what a request asks for;
//! `s3::writer` and `s3::reader` put them between payload and engine.
//!
//! I1. The engine never sees a plain byte of an encrypted object, and no key: drives, log, cache and scrub hold what is
//! sealed. I2. No byte is handed out that was not opened by its own key, in its own place of its own blob. I3. A customer's key is kept
//! nowhere; memory of keys is wiped.

pub mod master;
pub mod keys;
pub mod store;
pub mod seal;
pub mod stored;
pub mod units;
